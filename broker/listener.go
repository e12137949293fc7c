package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/falconalert/falconbridge/internal/edge"
)

// Waits after a failed accept: it is retried for ever, as descriptors that ran out
// come back, and a listener that gives up needs a restart to be heard again.
const (
	acceptWait    = 5 * time.Millisecond
	acceptWaitMax = time.Second
)

// ServeTCP serves devices that connect to l until ctx ends or the broker drains; it
// then closes l and returns nil. kind is "tcp", or "tls" where l is one of
// [tls.NewListener]. It fails only where l is closed by somebody else.
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
				b.log.Warn("accepting fails and is tried again", "listener", l.Addr().String(), "error", err)
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
		// Go's default of 15 s would keep a phone's radio awake. TCP_NODELAY is on.
		_ = t.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 5 * time.Minute, Interval: 30 * time.Second, Count: 4})
	}
	c := newConn(b, nc, kind, nc.RemoteAddr().String())
	c.awaitingProxy = b.o.TrustedProxies.Trusts(edge.ParseRemote(nc.RemoteAddr().String()))
	if !b.start(c) {
		_ = raw.Close() // without TLS's close_notify, which could block
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

// unlisten closes l, once.
func (b *Broker) removeListener(l net.Listener) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.listeners[l]; ok {
		delete(b.listeners, l)
		_ = l.Close()
	}
}
