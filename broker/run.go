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
	err := c.login()
	if err == nil {
		err = c.serve()
	}
	if l, ok := c.limitOf(err); ok {
		c.b.count.limited[l].Add(1)
	}
	c.finish(err)
}

// login reads and answers CONNECT.
func (c *conn) login() error {
	if c.behind {
		if err := c.beside(c.introduce); err != nil {
			return err
		}
	}
	if t, ok := c.nc.(*tls.Conn); ok {
		if err := c.beside(t.Handshake); err != nil {
			return err
		}
	}
	p, err := c.next(c.b.o.MaxConnectSize)
	var f *fault
	switch {
	case errors.As(err, &f):
		return c.beside(func() error { return c.refuseFault(c.buf[c.r:c.w], f) })
	case err != nil:
		return err
	}
	return c.beside(func() error { return c.connect(p) })
}

// serve handles packets until the connection ends.
func (c *conn) serve() error {
	for {
		p, err := c.next(c.b.o.MaxPacketSize)
		if err != nil {
			return err
		}
		if p[0] == packets.Puback<<4 && len(p) == 4 && p[2]|p[3] != 0 { // by far the most frequent
			if !c.session.Ack(uint16(p[2])<<8|uint16(p[3])) && !c.pace() {
				return errFlood
			}
			continue
		}
		if p[0]>>4 != packets.Puback && !c.pace() {
			return errFlood
		}
		if err := c.beside(func() error { return c.process(p) }); err != nil || c.leaving {
			return err
		}
	}
}

// errPanic stands for a panic in the decoder: strict should have refused the packet.
var errPanic = &fault{codeMalformed, "the packet is malformed"}

// beside runs f on a goroutine of its own and waits: decoding needs a deep stack,
// which an idle connection would keep. A panic ends the connection only.
func (c *conn) beside(f func() error) (err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				c.b.count.panics.Add(1)
				what := fmt.Sprintf("%T", p) // its text may quote the packet
				if re, ok := p.(runtime.Error); ok {
					what = re.Error()
				}
				c.b.log.Warn("a packet made the decoder panic", "panic", what, "remote", c.remote)
				err = errPanic
			}
		}()
		err = f()
	}()
	<-done
	return err
}

// finish ends the session, tells the device what was wrong with its packet, and
// lingers: closing a socket with unread bytes resets it, and the peer would never
// see the last packet.
func (c *conn) finish(err error) {
	if c.session != nil {
		c.session.Close()
	}
	c.b.gate.dismiss(c)
	if c.closed.Load() {
		return
	}
	c.wmu.Lock()
	if !c.ending.Swap(true) && !c.leaving {
		if code, reason := codeOf(err); code != 0 {
			c.disconnect(code, reason)
		}
	}
	if c.ws != nil {
		c.wsClose(err)
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
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return codeKeepAlive, ""
	case errors.As(err, &r):
		return r.code, r.reason
	case errors.As(err, &f):
		return f.code, ""
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
