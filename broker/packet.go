package broker

import (
	"errors"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// fault is a violation of the protocol or of a limit by the device. It ends the connection,
// in MQTT 5 with its reason code.
type fault struct {
	code   byte
	reason string // never repeats anything the client sent
}

func (f *fault) Error() string { return f.reason }

var (
	errTooLarge = &fault{codeTooLarge, "the packet is too large"}
	errLength   = &fault{codeMalformed, "the remaining length is malformed"}
	errNotFirst = &fault{codeProtocolError, "the first packet must be CONNECT"}
	errEnding   = errors.New("the server is ending the connection")
)

// packetLen returns the length in bytes of the first packet in b, including the fixed
// header, or 0 if b is too short to tell. It fails if the packet is longer than limit,
// before anything is allocated for it.
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

// readPacket blocks until a complete packet of at most limit bytes has arrived, and returns
// it. The bytes are valid until the next call. When the stream ends, readPacket first
// returns the packets received before or with the end, then the error: a DISCONNECT often
// arrives in the same read as the close.
func (c *conn) readPacket(limit int) ([]byte, error) {
	for {
		b := c.buf[c.r:c.w]
		if len(b) > 0 && c.session == nil && b[0]>>4 != packets.Connect { // MQTT 5 §3.1; checked before more is read
			return nil, errNotFirst
		}
		if len(b) > 0 && b[0]>>4 == packets.Reserved {
			return nil, errServerPacket
		}
		n, err := packetLen(b, limit)
		if err != nil {
			return nil, err
		}
		if n > 0 && len(b) >= n {
			c.r += n
			c.midPacket = false
			return b[:n], nil
		}
		if c.readErr != nil {
			return nil, c.readErr
		}
		c.grow(n)
		if c.session != nil {
			if err := c.extendDeadline(c.w > c.r); err != nil {
				return nil, err
			}
		}
		var m int
		if c.ws != nil {
			m, c.readErr = c.ws.read(c, c.buf[c.w:])
		} else {
			m, c.readErr = c.nc.Read(c.buf[c.w:])
		}
		c.w += m
		c.b.count.bytesIn.Add(int64(m))
	}
}

// grow makes room after c.w for more of a packet of n bytes; n is 0 if not yet known. The
// buffer doubles only as bytes arrive, so announcing a long packet allocates nothing. An
// idle connection is back at its small buffer.
func (c *conn) grow(n int) {
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

// extendDeadline sets the read deadline. Between packets it is one and a half keep alives
// from now (MQTT 5 §3.1.2.10); for the rest of a packet it is PacketTimeout at most.
// Between packets it is not renewed within a second, to save system calls, so a silent
// device is disconnected up to a second late.
func (c *conn) extendDeadline(within bool) error {
	now := time.Now()
	switch {
	case within && !c.midPacket:
		c.midPacket, c.deadlineSet = true, time.Time{}
		limit := c.b.o.PacketTimeout
		if k := c.keepAlive(); k > 0 {
			limit = min(limit, k*3/2)
		}
		_ = c.nc.SetReadDeadline(now.Add(limit))
	case within || now.Sub(c.deadlineSet) < time.Second:
	case c.keepAlive() == 0:
		if c.deadlineSet.IsZero() {
			_ = c.nc.SetReadDeadline(time.Time{})
		}
		c.deadlineSet = now
	default:
		c.deadlineSet = now
		_ = c.nc.SetReadDeadline(now.Add(c.keepAlive()*3/2 + time.Second))
	}
	if c.ending.Load() { // Close sets ending before its deadline, which ours may have replaced
		return errEnding
	}
	return nil
}

// keepAlive returns the keep alive in effect, of the CONNECT or the Server Keep Alive; 0
// means none.
func (c *conn) keepAlive() time.Duration {
	return time.Duration(c.client.State.Keepalive) * time.Second
}
