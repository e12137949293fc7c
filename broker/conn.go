package broker

import (
	"io"
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
// [delivery.Link] that the hub drives. What mochi reads from it is one checked packet at
// a time (see inspect.go); the writing side belongs to whoever holds wmu.
// There is one for every idle device: each field is paid for 100,000 times.
type conn struct {
	b             *Broker
	nc            net.Conn
	ws            *wsReader // nil: the bytes of nc are MQTT
	kind          string    // "tcp", "tls", "ws", "wss"
	remote        string    // address, as logs and operators see it
	from          netip.Addr
	awaitingProxy bool // a trusted proxy, whose header has not come yet

	buf         []byte // received, from r to w not yet handled
	r, w        int
	small       [256]byte     // backs buf while little arrives
	unread      []byte        // of the packet under way, what mochi has not read yet
	readErr     error         // of the stream: what ended reading, once all that was received is handled
	deadlineSet time.Time     // when the read deadline was last set
	midPacket   bool          // a packet has arrived in part; the read deadline is for its rest
	due         time.Duration // see allowPacket

	// Set by the login, and not changed after.
	client  *mqtt.Client
	device  bridge.Device
	session *delivery.Conn
	version byte // 4 (3.1.1) or 5; 0 before CONNECT

	login *login // until CONNACK
	ack   *ack   // until SUBACK or UNSUBACK
	cause error  // what ended the connection

	ending atomic.Bool // nothing more is read or sent
	closed atomic.Bool

	wmu      sync.Mutex
	loggedIn bool // the CONNACK was written
	endCode  byte // of the DISCONNECT that ended it, or of the refusal; 0: none
}

func newConn(b *Broker, nc net.Conn, kind, remote string) *conn {
	c := &conn{b: b, nc: nc, kind: kind, remote: remote, from: address(remote)}
	c.buf = c.small[:]
	return c
}

func (c *conn) self() *conn { return c }

// headroom is left free at the start of what [conn.send] is given, for the header
// of a WebSocket frame (RFC 6455 §5.2: at most 10 bytes from a server).
const headroom = 10

// send writes b[headroom:] in one write, within the write timeout. After an error
// the connection is closed: half a packet may be out.
func (c *conn) send(b []byte) error {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	if c.ending.Load() {
		return net.ErrClosed
	}
	return c.sendLocked(b, wsBinary, c.b.o.WriteTimeout)
}

// sendLocked is send with wmu held; op is the frame's opcode on a WebSocket.
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

// Read gives mochi the packet it is to decode, and nothing after it.
func (c *conn) Read(p []byte) (int, error) {
	if len(c.unread) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.unread)
	c.unread = c.unread[n:]
	return n, nil
}

// Write is called by mochi with one packet at a time. Nothing precedes a CONNACK, and
// nothing follows a DISCONNECT. With a granting CONNACK the connection counts as
// logged in, under the same lock: from then on a DISCONNECT may be written.
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

// Close is called by mochi when it stops the client. The socket itself is closed by run,
// once the device has had time to read the last packet.
func (c *conn) Close() error {
	c.ending.Store(true)
	return c.nc.SetReadDeadline(time.Unix(1, 0))
}

// mochi's deadlines are ignored: its keep alive × 1.5 overflows. See extendDeadline for
// ours.

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

// drop closes the socket without TLS's close_notify, which could block.
func (c *conn) drop() {
	c.ending.Store(true)
	if !c.closed.Swap(true) {
		_ = underlying(c.nc).Close()
	}
}

// End ends the connection, in MQTT 5 with a DISCONNECT that gives the reason. It does not
// wait for either.
func (c *conn) End(r bridge.EndReason) {
	code, reason := disconnectReason(r)
	go func() {
		_ = c.guard(func() error {
			_ = c.nc.SetWriteDeadline(time.Now().Add(endTimeout)) // frees a writer that is blocked
			return c.b.mochi.DisconnectClient(c.client, packets.Code{Code: code, Reason: reason})
		})
	}()
}

// endWithin is how long a blocked write may delay the last packet.
const endTimeout = time.Second

// fail ends the connection because of err, in MQTT 5 with the DISCONNECT for it. Only the
// connection's own goroutine calls it.
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

// recordCode records the code that the connection ends with.
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
