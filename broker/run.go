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

// start takes c in, as long as there is a place before login, and serves it on a
// goroutine of its own.
func (b *Broker) start(c *conn) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.draining {
		b.count.turnedAway.Add(1)
		return false
	}
	out, ok := b.gate.enter(c)
	if !ok || out != nil {
		b.count.turnedAway.Add(1)
		b.count.limited[LimitPending].Add(1)
	}
	if !ok {
		return false
	}
	if out != nil {
		out.drop()
	}
	b.count.accepted.Add(1)
	b.live.Add(1)
	go c.run()
	return true
}

// run serves the connection until it ends, and cleans up after it whatever happens.
func (c *conn) run() {
	defer c.b.live.Done()
	defer c.b.gate.gone(c)
	defer c.close()
	_ = c.nc.SetReadDeadline(time.Now().Add(c.b.o.ConnectTimeout)) // TLS handshake included
	err := c.arrive()
	var hello []byte
	if err == nil {
		hello, err = c.first()
	}
	if err == nil {
		err = c.beside(func() error { return c.greet(hello) })
	}
	for err == nil && !c.ending.Load() {
		err = c.serve()
	}
	c.fail(err)
	c.finish()
}

// arrive is what comes before the first byte of MQTT.
func (c *conn) arrive() error {
	if c.behind {
		if err := c.beside(c.introduce); err != nil {
			return err
		}
	}
	if t, ok := c.nc.(*tls.Conn); ok {
		return c.beside(t.Handshake)
	}
	return nil
}

// serve has mochi handle the next packet that passes the walls.
func (c *conn) serve() error {
	p, err := c.pass()
	if err != nil {
		return err
	}
	return c.beside(func() error {
		pk, err := c.decode(p)
		if err != nil {
			return err
		}
		return c.b.mochi.InjectPacket(c.client, pk)
	})
}

// decode has mochi read one packet.
func (c *conn) decode(p []byte) (pk packets.Packet, err error) {
	c.passed = p
	fh := new(packets.FixedHeader)
	if err = c.client.ReadFixedHeader(fh); err == nil {
		pk, err = c.client.ReadPacket(fh)
	}
	return pk, err
}

// errPanic stands for a panic in the decoder: strict should have refused the packet.
var errPanic = &fault{codeMalformed, "the packet is malformed"}

// beside runs f on a goroutine of its own and waits: mochi needs a deep stack, which
// an idle connection would keep. A panic ends the connection only.
func (c *conn) beside(f func() error) (err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				err = c.panicked(p)
			}
		}()
		err = f()
	}()
	<-done
	return err
}

// panicked counts a panic; its text may quote the packet.
func (c *conn) panicked(p any) error {
	c.b.count.panics.Add(1)
	what := fmt.Sprintf("%T", p)
	if re, ok := p.(runtime.Error); ok {
		what = re.Error()
	}
	c.b.log.Warn("a packet made the decoder panic", "panic", what, "remote", c.remote)
	return errPanic
}

// finish ends the session and lingers: closing a socket with unread bytes resets it,
// and the peer would never see the last packet.
func (c *conn) finish() {
	if c.session != nil {
		if c.version == 5 { // a DISCONNECT may have changed it
			c.session.SetExpiry(seconds(c.client.Properties.Props.SessionExpiryInterval))
		}
		c.session.Close()
	}
	if c.client != nil {
		c.b.mochi.Clients.Delete(c.client.ID)
	}
	c.b.gate.dismiss(c)
	if c.closed.Load() {
		return
	}
	c.wmu.Lock()
	c.ending.Store(true)
	if c.ws != nil {
		c.wsClose(c.cause)
	}
	c.wmu.Unlock()
	if c.b.gate.part(c) {
		c.linger()
	}
}

// codeOf is the DISCONNECT for what ended the reading; code 0 where the device or
// the network did. What is wrong with a packet is told by its code alone.
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

// linger waits for the peer to close, within Options.Linger.
func (c *conn) linger() {
	half, ok := c.nc.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	_ = c.nc.SetReadDeadline(time.Now().Add(c.b.o.Linger))
	for range 256 { // enough of what the peer sent before it read that this is the end
		if _, err := c.nc.Read(c.small[:]); err != nil {
			return
		}
	}
}
