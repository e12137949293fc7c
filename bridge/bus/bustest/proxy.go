package bustest

import (
	"context"
	"net"
	"sync"
	"testing"
)

// Proxy is a TCP proxy on loopback that can disturb the connections through it.
type Proxy struct {
	Addr string

	upstream string
	listener net.Listener

	mu      sync.Mutex
	changed *sync.Cond // signalled when frozen or ended changes
	frozen  bool
	ended   bool
	conns   map[net.Conn]struct{}
}

// NewProxy returns a proxy that forwards everything to upstream until the test ends.
func NewProxy(t testing.TB, upstream string) *Proxy {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{Addr: l.Addr().String(), upstream: upstream, listener: l, conns: make(map[net.Conn]struct{})}
	p.changed = sync.NewCond(&p.mu)
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

// pass copies bytes in one direction until either connection ends.
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

// wait waits until bytes may be forwarded. It returns false at the end of the test.
func (p *Proxy) wait() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.frozen && !p.ended {
		p.changed.Wait()
	}
	return !p.ended
}

// Freeze stops forwarding without closing connections, as if a cable had been pulled. New
// connections are accepted, but stay silent.
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
	p.changed.Broadcast()
}

// Cut closes every connection.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.changed.Broadcast()
	for c := range p.conns {
		c.Close()
	}
}
