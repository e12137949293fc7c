package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/delivery"
)

// conn is one device's connection: the [net.Conn] that mochi serves, and the
// [delivery.Link] that the hub drives. mochi reads one checked packet at a time from it
// (see inspect.go). Writers hold wmu.
//
// Its size matters: an idle device costs little more than its conn, and a node has
// 100,000 of them.
type conn struct {
	b             *Broker
	nc            net.Conn
	ws            *wsReader  // nil: the bytes of nc are MQTT
	kind          string     // "tcp", "tls", "ws", "wss"
	remote        string     // the peer's address, as logs and operators see it
	from          netip.Addr // the address that the limits count it under
	awaitingProxy bool       // its trusted proxy has not sent the header yet

	buf         []byte // received bytes; those from r to w are not handled yet
	r, w        int
	small       [256]byte     // backs buf as long as packets are short
	unread      []byte        // the part of the current packet that mochi has not read yet
	readErr     error         // why reading ended; returned after the packets received before it
	deadlineSet time.Time     // when the read deadline was last set
	midPacket   bool          // part of a packet has arrived; the read deadline is for its rest
	due         time.Duration // see allowPacket

	// Set by the login and not changed afterwards.
	client  *mqtt.Client
	device  bridge.Device
	session *delivery.Conn
	version byte // 4 (3.1.1) or 5; 0 before CONNECT

	login *login // the CONNECT in progress; nil after the CONNACK
	ack   *ack   // the SUBACK or UNSUBACK in progress; nil: none
	cause error  // what ended the connection

	ending atomic.Bool // no further packet is read or sent
	closed atomic.Bool // the socket is closed

	wmu      sync.Mutex
	loggedIn bool // a CONNACK that accepts was written
	endCode  byte // reason code of the DISCONNECT or refusal that ended it; 0: none
}

func newConn(b *Broker, nc net.Conn, kind, remote string) *conn {
	c := &conn{b: b, nc: nc, kind: kind, remote: remote, from: address(remote)}
	c.buf = c.small[:]
	return c
}

func (c *conn) self() *conn { return c }

// headroom is how many bytes callers of [conn.send] leave free at the start of the buffer,
// for the header of a WebSocket frame (RFC 6455 §5.2: at most 10 bytes from a server).
const headroom = 10

// send writes b[headroom:] in one write, within Options.WriteTimeout. On an error it
// closes the connection, because part of a packet may have been sent.
func (c *conn) send(b []byte) error {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	if c.ending.Load() {
		return net.ErrClosed
	}
	return c.sendLocked(b, wsBinary, c.b.o.WriteTimeout)
}

// sendLocked is send with wmu held and another timeout. op is the opcode of the frame on a
// WebSocket.
func (c *conn) sendLocked(b []byte, op byte, timeout time.Duration) error {
	c.b.count.bytesOut.Add(int64(len(b) - headroom))
	if c.ws != nil {
		b = wsFrame(b, op)
	} else {
		b = b[headroom:]
	}
	err := c.nc.SetWriteDeadline(time.Now().Add(timeout))
	if err == nil {
		_, err = c.nc.Write(b)
	}
	if err != nil {
		c.close()
	}
	return err
}

// Read returns the current packet to mochi, and then io.EOF, so that mochi never reads
// past what was checked.
func (c *conn) Read(p []byte) (int, error) {
	if len(c.unread) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.unread)
	c.unread = c.unread[n:]
	return n, nil
}

// Write is called by mochi with one packet at a time. It refuses packets before the
// CONNACK and after a DISCONNECT. A CONNACK that accepts marks the connection as logged
// in under the same lock, so that a DISCONNECT on another goroutine cannot precede it.
func (c *conn) Write(p []byte) (int, error) {
	f := frames.get()
	defer frames.put(f)
	f.b = append(f.b, p...)
	c.wmu.Lock()
	defer c.wmu.Unlock()
	kind, timeout := p[0]>>4, c.b.o.WriteTimeout
	if c.ending.Load() || !c.loggedIn && kind != packets.Connack {
		return 0, net.ErrClosed
	}
	if kind == packets.Disconnect {
		c.ending.Store(true)
		timeout = endTimeout
	}
	if err := c.sendLocked(f.b, wsBinary, timeout); err != nil {
		return 0, err
	}
	c.loggedIn = c.loggedIn || p[3] == codeSuccess
	return len(p), nil
}

// Close is called by mochi when it stops the client. It only ends reading: run closes the
// socket, once the device has had time to read the last packet.
func (c *conn) Close() error {
	c.ending.Store(true)
	return c.nc.SetReadDeadline(time.Unix(1, 0))
}

// Deadlines that mochi sets are ignored, because its 1.5 × keep alive overflows 16 bits.
// See extendDeadline for ours.

func (c *conn) SetDeadline(time.Time) error      { return nil }
func (c *conn) SetReadDeadline(time.Time) error  { return nil }
func (c *conn) SetWriteDeadline(time.Time) error { return nil }
func (c *conn) LocalAddr() net.Addr              { return c.nc.LocalAddr() }
func (c *conn) RemoteAddr() net.Addr             { return c.nc.RemoteAddr() }

// close closes the socket at once.
func (c *conn) close() {
	c.ending.Store(true)
	if !c.closed.Swap(true) {
		_ = c.nc.Close()
	}
}

// drop closes the socket without sending TLS's close_notify, which could block.
func (c *conn) drop() {
	c.ending.Store(true)
	if !c.closed.Swap(true) {
		_ = underlying(c.nc).Close()
	}
}

// End ends the connection, in MQTT 5 with a DISCONNECT that gives the reason. It returns
// at once.
func (c *conn) End(r bridge.EndReason) {
	code, reason := disconnectReason(r)
	go func() {
		_ = c.guard(func() error {
			_ = c.nc.SetWriteDeadline(time.Now().Add(endTimeout)) // unblocks a writer
			return c.b.mochi.DisconnectClient(c.client, packets.Code{Code: code, Reason: reason})
		})
	}()
}

// endTimeout is how long a blocked write may delay the last packet.
const endTimeout = time.Second

// fail ends the connection because of err, in MQTT 5 with the DISCONNECT for it. It is
// called on the connection's own goroutine only.
func (c *conn) fail(err error) {
	c.cause = err
	if l, ok := c.limitOf(err); ok {
		c.b.count.limited[l].Add(1)
	}
	code, reason := codeOf(err)
	switch {
	case c.client == nil:
	case code != 0:
		_ = c.b.mochi.DisconnectClient(c.client, packets.Code{Code: code, Reason: reason})
	default:
		c.client.Stop(err)
	}
}

// debug logs what became of the connection: with a reason code, and err for more. A user
// and client id are named once a token proved them.
func (c *conn) debug(what string, code byte, err error) {
	if !c.b.log.Enabled(context.Background(), slog.LevelDebug) {
		return
	}
	args := []any{"remote", c.remote, "transport", c.kind, "protocol", c.version, "code", fmt.Sprintf("0x%02X", code)}
	if c.device.User != "" {
		args = append(args, "user", c.device.User, "client_id", c.device.ClientID)
	}
	if err != nil {
		args = append(args, "error", err)
	}
	c.b.log.Debug(what, args...)
}

// logEnd logs how the connection ended. Code 0x00: the device or the network ended it.
func (c *conn) logEnd() error {
	c.wmu.Lock()
	code := c.endCode
	c.wmu.Unlock()
	switch {
	case c.session != nil:
		c.debug("a device's connection ended", code, c.cause)
	case !errors.Is(c.cause, errRefused) && !errors.Is(c.cause, io.EOF): // not a balancer that only connects
		c.debug("a connection ended before its login", code, c.cause)
	}
	return nil
}

// recordCode records the reason code that the connection ends with. The first one counts.
func (c *conn) recordCode(code byte) {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	if c.endCode == 0 && c.loggedIn {
		c.b.count.ended.Add(1)
	}
	if c.endCode == 0 {
		c.endCode = code
	}
}
