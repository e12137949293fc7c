package bustest

import (
	"context"
	"net"
	"sync"
	"testing"
)

// Proxy is a TCP proxy on loopback that can break what runs through it.
type Proxy struct {
	Addr string

	upstream string
	listener net.Listener

	mu     sync.Mutex
	moving *sync.Cond // signalled when frozen or ended change
	frozen bool
	ended  bool
	conns  map[net.Conn]struct{}
}

// NewProxy listens until the test ends and passes everything to upstream.
func NewProxy(t testing.TB, upstream string) *Proxy {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{Addr: l.Addr().String(), upstream: upstream, listener: l, conns: make(map[net.Conn]struct{})}
	p.moving = sync.NewCond(&p.mu)
	var running sync.WaitGroup
	ctx := t.Context()
	running.Go(func() { p.accept(ctx, &running) })
	t.Cleanup(func() {
		l.Close()
		p.mu.Lock()
		p.ended = true
		p.mu.Unlock()
		p.Cut()
		running.Wait()
	})
	return p
}

func (p *Proxy) accept(ctx context.Context, running *sync.WaitGroup) {
	for {
		front, err := p.listener.Accept()
		if err != nil {
			return
		}
		back, err := (&net.Dialer{}).DialContext(ctx, "tcp", p.upstream)
		if err != nil {
			front.Close()
			continue
		}
		p.mu.Lock()
		p.conns[front], p.conns[back] = struct{}{}, struct{}{}
		p.mu.Unlock()
		running.Go(func() { p.pass(front, back) })
		running.Go(func() { p.pass(back, front) })
	}
}

func (p *Proxy) pass(from, to net.Conn) {
	defer func() {
		from.Close()
		to.Close()
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.conns, from)
	}()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if !p.wait() {
			return
		}
		if _, werr := to.Write(buf[:n]); err != nil || werr != nil {
			return
		}
	}
}

// wait returns when bytes may move, false at the end of the test.
func (p *Proxy) wait() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.frozen && !p.ended {
		p.moving.Wait()
	}
	return !p.ended
}

// Freeze lets no more bytes through and closes nothing: to each side the other
// looks as after a cable was pulled. New connections are accepted and silent.
func (p *Proxy) Freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.frozen = true
}

// Thaw ends Freeze.
func (p *Proxy) Thaw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.frozen = false
	p.moving.Broadcast()
}

// Cut closes every connection.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.moving.Broadcast()
	for c := range p.conns {
		c.Close()
	}
}
