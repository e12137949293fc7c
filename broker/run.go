package broker

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// start serves c on a goroutine of its own. It returns false where the broker drains or
// too many connections are pending; the caller then closes the socket.
func (b *Broker) start(c *conn) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.draining {
		b.count.turnedAway.Add(1)
		return false
	}
	evicted, ok := b.admission.addPending(c)
	if !ok || evicted != nil {
		b.count.turnedAway.Add(1)
		b.count.limited[LimitPending].Add(1)
	}
	if !ok {
		return false
	}
	if evicted != nil {
		evicted.drop()
	}
	b.count.accepted.Add(1)
	b.running.Add(1)
	go c.run()
	return true
}

// run serves the connection until it ends, and cleans up after it whatever happens.
//
// Its frame, and those of what it calls to wait for a packet, are kept small: together
// they must fit the smallest stack, 2 KiB, which an idle connection then keeps.
// TestAnIdleConnectionKeepsTheSmallestStack checks it.
func (c *conn) run() { c.finish(c.guard(c.serve)) }

// finish cleans up after the connection. A step that panics does not keep the next ones
// from running.
func (c *conn) finish(err error) {
	defer c.b.running.Done()
	defer c.b.admission.remove(c)
	defer c.close()
	fail := func() error { c.fail(err); return nil }
	for _, step := range []func() error{fail, c.closeSession, c.deregister, c.linger} {
		_ = c.guard(step)
	}
}

// talk serves the connection from its first byte to its last.
func (c *conn) serve() error {
	_ = c.nc.SetReadDeadline(time.Now().Add(c.b.o.ConnectTimeout)) // TLS handshake included
	if err := c.openTransport(); err != nil {
		return err
	}
	p, err := c.readConnect()
	if err == nil {
		err = c.isolate(func() error { return c.handshake(p) })
	}
	for ended := c.ending.Load(); err == nil && !ended; {
		if p, err = c.readPacket(c.b.o.MaxPacketSize); err == nil {
			ended, err = c.handlePacket(p)
		}
	}
	return err
}

// arrive handles what precedes the first byte of MQTT: the PROXY header and the TLS
// handshake.
func (c *conn) openTransport() error {
	if c.awaitingProxy {
		if err := c.isolate(c.readProxyHeader); err != nil {
			return err
		}
	}
	t, ok := c.nc.(*tls.Conn)
	switch {
	case !ok:
		return nil
	case !c.b.admission.handshakes.Allow(c.from):
		return errHandshakes
	}
	return c.isolate(t.Handshake)
}

// errHandshakes closes a connection before its TLS handshake: its signature costs more
// CPU than everything else before the login together.
var errHandshakes = errors.New("too many TLS handshakes from this address")

// AllowHandshake reports whether remote, a host with or without a port, may begin a
// TLS handshake now. It counts one, for an HTTPS listener that serves
// [Broker.WebSocket]; those of ServeTCP are counted by themselves.
func (b *Broker) AllowHandshake(remote string) bool {
	ok := b.admission.handshakes.Allow(address(remote))
	if !ok {
		b.count.limited[LimitHandshakesPerAddress].Add(1)
	}
	return ok
}

// serve has mochi process a packet that passes inspect; ended reports that it was the
// last.
func (c *conn) handlePacket(p []byte) (ended bool, err error) {
	if forMochi, err := c.inspect(p); !forMochi || err != nil {
		return false, err
	}
	err = c.isolate(func() error { return c.process(p) })
	return c.ending.Load(), err
}

// process has mochi decode and process one packet.
func (c *conn) process(p []byte) error {
	c.unread = p
	fh := new(packets.FixedHeader)
	if err := c.client.ReadFixedHeader(fh); err != nil {
		return err
	}
	pk, err := c.client.ReadPacket(fh)
	if err != nil {
		return err
	}
	return c.b.mochi.InjectPacket(c.client, pk)
}

// isolate runs f on a goroutine of its own and waits for it: f needs a deep stack,
// which the connection's goroutine would keep.
func (c *conn) isolate(f func() error) (err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		err = c.guard(f)
	}()
	<-done
	return err
}

// errPanic ends a connection after a packet that made the engine panic, which strict
// should have refused.
var errPanic = &fault{codeMalformed, "the packet is malformed"}

// guard runs f. A panic ends this connection, not the process; it is counted, and
// logged without its text, which may quote the packet.
func (c *conn) guard(f func() error) (err error) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		c.b.count.panics.Add(1)
		what := fmt.Sprintf("%T", p)
		if re, ok := p.(runtime.Error); ok {
			what = re.Error()
		}
		c.b.log.Warn("a packet made the engine panic", "panic", what, "remote", c.remote)
		err = errPanic
	}()
	return f()
}

// leaveSession closes the session, with the expiry that a DISCONNECT may have changed.
func (c *conn) closeSession() error {
	if c.session == nil {
		return nil
	}
	if c.version == 5 {
		c.session.SetExpiry(seconds(c.client.Properties.Props.SessionExpiryInterval))
	}
	c.session.Close()
	return nil
}

// leaveBroker removes the connection from mochi's clients and from the limits.
func (c *conn) deregister() error {
	defer c.b.admission.release(c)
	if c.client != nil {
		c.b.mochi.Clients.Delete(c.client.ID)
	}
	return nil
}

// codeOf returns the DISCONNECT for what ended the connection; code 0 where the device
// or the network did. A faulty packet gets its code alone, without a reason.
func codeOf(err error) (code byte, reason string) {
	var f *fault
	var r *refusal
	var m packets.Code // of mochi
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return codeKeepAlive, ""
	case errors.As(err, &r):
		return r.code, r.reason
	case errors.As(err, &f):
		return f.code, ""
	case errors.As(err, &m) && m.Code >= codeUnspecified:
		return m.Code, ""
	}
	return 0, ""
}

// linger closes the writing side, and waits for the peer to do so within
// Options.Linger: closing a socket with unread bytes resets it, and the peer would
// never see the last packet.
func (c *conn) linger() error {
	if c.closed.Load() {
		return nil
	}
	c.ending.Store(true)
	if c.ws != nil {
		c.wsClose(c.cause)
	}
	half, ok := c.nc.(interface{ CloseWrite() error })
	if !ok || !c.b.admission.addLingering(c) {
		return nil
	}
	if err := half.CloseWrite(); err != nil {
		return err
	}
	_ = c.nc.SetReadDeadline(time.Now().Add(c.b.o.Linger))
	for range 256 { // enough to read what the peer had sent before it saw the last packet
		if _, err := c.nc.Read(c.small[:]); err != nil {
			return err
		}
	}
	return nil
}
