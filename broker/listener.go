package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/falconalert/falconbridge/internal/edge"
)

// How long to wait after a failed accept, doubled up to the maximum. Accept fails when the
// process is out of file descriptors, which recovers by itself as connections end. It is
// therefore retried forever: a listener that gave up would need a restart of the process.
const (
	acceptWait    = 5 * time.Millisecond
	acceptWaitMax = time.Second
)

// ServeTCP serves devices that connect to l until ctx ends or the broker drains, then
// closes l and returns nil. kind is "tcp", or "tls" if l was made by [tls.NewListener].
// ServeTCP fails only if l is closed by other code.
func (b *Broker) ServeTCP(ctx context.Context, l net.Listener, kind string) error {
	if !b.addListener(l) {
		_ = l.Close()
		return nil
	}
	stop := context.AfterFunc(ctx, func() { b.removeListener(l) })
	defer stop()
	defer b.removeListener(l)
	wait := time.Duration(0)
	for {
		nc, err := l.Accept()
		switch {
		case err == nil:
			wait = 0
			b.accept(nc, kind)
		case !b.hasListener(l):
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accept on %s: %w", l.Addr(), err)
		default:
			b.count.acceptErrors.Add(1)
			if wait == 0 {
				b.log.Warn("accept failed, will be retried", "listener", l.Addr().String(), "error", err)
			}
			wait = min(max(2*wait, acceptWait), acceptWaitMax)
			select {
			case <-ctx.Done():
			case <-time.After(wait):
			}
		}
	}
}

func (b *Broker) accept(nc net.Conn, kind string) {
	raw := underlying(nc)
	if t, ok := raw.(*net.TCPConn); ok {
		// Go's default of 15 s would keep a phone's radio awake. TCP_NODELAY is set by default.
		_ = t.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 5 * time.Minute, Interval: 30 * time.Second, Count: 4})
	}
	c := newConn(b, nc, kind, nc.RemoteAddr().String())
	c.awaitingProxy = b.o.TrustedProxies.Trusts(edge.ParseRemote(nc.RemoteAddr().String()))
	if !b.start(c) {
		_ = raw.Close() // without sending TLS's close_notify, which could block
	}
}

func (b *Broker) addListener(l net.Listener) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.draining {
		b.listeners[l] = struct{}{}
	}
	return !b.draining
}

func (b *Broker) hasListener(l net.Listener) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, ok := b.listeners[l]
	return ok
}

// removeListener closes l, unless it was closed before.
func (b *Broker) removeListener(l net.Listener) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.listeners[l]; ok {
		delete(b.listeners, l)
		_ = l.Close()
	}
}
