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

// start serves c on a new goroutine. It returns false if the broker is draining or too many
// connections are pending; the caller then closes the socket.
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

// run serves the connection until it ends, then cleans up, even after a panic.
//
// The frames of run and of the functions that it calls to wait for a packet must together
// fit the smallest stack, 2 KiB, because that is what an idle connection keeps.
// TestAnIdleConnectionKeepsTheSmallestStack checks it.
func (c *conn) run() { c.finish(c.guard(c.serve)) }

// finish cleans up after the connection, which ended with err. If a step panics, the next
// ones run nevertheless.
func (c *conn) finish(err error) {
	defer c.b.running.Done()
	defer c.b.admission.remove(c)
	defer c.close()
	fail := func() error { c.fail(err); return nil }
	for _, step := range []func() error{fail, c.logEnd, c.closeSession, c.deregister, c.linger} {
		_ = c.guard(step)
	}
}

// serve serves the connection from its first byte to its last, and returns why it ended.
func (c *conn) serve() error {
	_ = c.nc.SetReadDeadline(time.Now().Add(c.b.o.ConnectTimeout)) // includes the TLS handshake
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

// openTransport handles what precedes the first byte of MQTT: the PROXY header and the TLS
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

// errHandshakes closes a connection before its TLS handshake, whose signature costs more
// CPU than everything else before the login.
var errHandshakes = errors.New("too many TLS handshakes from this address")

// AllowHandshake counts one TLS handshake of remote, a host with or without a port, and
// reports whether it may begin. It is for the HTTPS listener that serves
// [Broker.WebSocket]: with it, handshakes there and on ServeTCP share one limit.
func (b *Broker) AllowHandshake(remote string) bool {
	ok := b.admission.handshakes.Allow(address(remote))
	if !ok {
		b.count.limited[LimitHandshakesPerAddress].Add(1)
	}
	return ok
}

// handlePacket handles one packet, with mochi unless inspect handles it alone. ended reports
// that it was the last.
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

// isolate runs f on a new goroutine and waits for it. f needs a deep stack, which would
// stay with the connection's goroutine if that ran f itself.
func (c *conn) isolate(f func() error) (err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		err = c.guard(f)
	}()
	<-done
	return err
}

// errPanic ends a connection whose packet made mochi panic. strict should have refused the
// packet.
var errPanic = &fault{codeMalformed, "the packet is malformed"}

// guard runs f and returns errPanic if it panics, so that a panic ends one connection and
// not the process. The panic is counted, and logged without its text, which may quote the
// packet.
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
		c.b.log.Warn("a connection caused a panic and was closed", "panic", what, "remote", c.remote)
		err = errPanic
	}()
	return f()
}

// closeSession closes the session, with the expiry that a DISCONNECT may have changed.
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

// deregister removes the connection from mochi's clients and from the limits.
func (c *conn) deregister() error {
	defer c.b.admission.release(c)
	if c.client != nil {
		c.b.mochi.Clients.Delete(c.client.ID)
	}
	return nil
}

// codeOf returns the reason code and reason string of the DISCONNECT for err; code 0 means
// none, because the device or the network ended the connection. A faulty packet gets no
// reason string.
func codeOf(err error) (code byte, reason string) {
	var f *fault
	var r *refusal
	var m packets.Code // mochi's errors
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

// linger closes the connection for writing, and waits up to Options.Linger for the peer to
// close it. Closing a socket that has unread bytes resets it, and the peer would not
// receive the last packet.
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
	for range 256 { // 64 KiB: enough for what the peer sent before it received the last packet
		if _, err := c.nc.Read(c.small[:]); err != nil {
			return err
		}
	}
	return nil
}
