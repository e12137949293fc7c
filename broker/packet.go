package broker

import (
	"errors"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// fault ends a connection with a code of MQTT 5.
type fault struct {
	code   byte
	reason string // never anything the client sent
}

func (f *fault) Error() string { return f.reason }

var (
	errTooLarge = &fault{codeTooLarge, "the packet is too large"}
	errLength   = &fault{codeMalformed, "the remaining length is malformed"}
	errNotFirst = &fault{codeProtocolError, "the first packet must be CONNECT"}
	errEnding   = errors.New("the server ends the connection")
)

// packetLen is the length of the first packet in b, fixed header included, or 0
// where b does not tell yet. It fails before anything is allocated for a packet
// of more than limit bytes.
func packetLen(b []byte, limit int) (int, error) {
	n := 0
	for i := 1; i < len(b); i++ {
		n |= int(b[i]&0x7F) << (7 * (i - 1))
		if b[i]&0x80 == 0 {
			if i > 1 && b[i] == 0 { // not in its shortest form
				return 0, errLength
			}
			if 1+i+n > limit {
				return 0, errTooLarge
			}
			return 1 + i + n, nil
		}
		if i == 4 { // MQTT 5 §1.5.5: four bytes at most
			return 0, errLength
		}
	}
	return 0, nil
}

// next blocks until a whole packet has arrived, and returns it. The bytes are
// valid until the next call. What was received before the end of the stream, or with
// it, is returned before its error: a DISCONNECT may come in one read with the close.
func (c *conn) next(limit int) ([]byte, error) {
	for {
		b := c.buf[c.r:c.w]
		if len(b) > 0 && c.session == nil && b[0]>>4 != packets.Connect { // MQTT 5 §3.1: before more is read
			return nil, errNotFirst
		}
		if len(b) > 0 && b[0]>>4 == packets.Reserved {
			return nil, errForbidden
		}
		n, err := packetLen(b, limit)
		if err != nil {
			return nil, err
		}
		if n > 0 && len(b) >= n {
			c.r += n
			c.late = false
			return b[:n], nil
		}
		if c.end != nil {
			return nil, c.end
		}
		c.room(n)
		if c.session != nil {
			if err := c.arm(c.w > c.r); err != nil {
				return nil, err
			}
		}
		var m int
		if c.ws != nil {
			m, c.end = c.ws.read(c, c.buf[c.w:])
		} else {
			m, c.end = c.nc.Read(c.buf[c.w:])
		}
		c.w += m
		c.b.count.bytesIn.Add(int64(m))
	}
}

// room makes place behind c.w for more of a packet of n bytes, 0 where that is
// unknown. The buffer doubles as bytes arrive, so a length alone costs nothing, and
// an idle connection holds the small one only.
func (c *conn) room(n int) {
	have := c.w - c.r
	switch {
	case have == 0:
		c.buf, c.r, c.w = c.small[:], 0, 0
	case c.w < len(c.buf):
	case c.r > 0:
		copy(c.buf, c.buf[c.r:c.w])
		c.r, c.w = 0, have
	default:
		grown := make([]byte, min(2*len(c.buf), n))
		copy(grown, c.buf)
		c.buf = grown
	}
}

// arm sets the read deadline: one and a half keepalives between packets (MQTT 5
// §3.1.2.10), and at most PacketTimeout for the rest of a packet. It is set again
// only when a second has passed, which makes silence end up to a second late.
func (c *conn) arm(within bool) error {
	now := time.Now()
	switch {
	case within && !c.late:
		c.late, c.armed = true, time.Time{}
		limit := c.b.o.PacketTimeout
		if k := c.keepAlive(); k > 0 {
			limit = min(limit, k*3/2)
		}
		_ = c.nc.SetReadDeadline(now.Add(limit))
	case within || now.Sub(c.armed) < time.Second:
	case c.keepAlive() == 0:
		if c.armed.IsZero() {
			_ = c.nc.SetReadDeadline(time.Time{})
		}
		c.armed = now
	default:
		c.armed = now
		_ = c.nc.SetReadDeadline(now.Add(c.keepAlive()*3/2 + time.Second))
	}
	if c.ending.Load() { // after the deadline was set: end sets its own later
		return errEnding
	}
	return nil
}

// keepAlive is what was agreed on; 0: none.
func (c *conn) keepAlive() time.Duration {
	return time.Duration(c.client.State.Keepalive) * time.Second
}
