package broker

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// conn is one device's connection, and the bridge.Link the hub drives. Its reading
// side belongs to its goroutine (see run.go); the writing side to whoever holds wmu.
// There is one for every idle device: each field is paid for 100,000 times.
type conn struct {
	b      *Broker
	nc     net.Conn
	ws     *wsReader // nil: the bytes of nc are MQTT
	kind   string    // "tcp", "tls", "ws", "wss"
	remote string    // address, as logs and operators see it
	from   netip.Prefix
	behind bool // a trusted proxy, whose header has not come yet

	buf   []byte // received, from r to w not yet handled
	r, w  int
	small [256]byte     // what buf is while little arrives
	armed time.Time     // when the read deadline was last set
	late  bool          // the read deadline is that of a packet under way
	due   time.Duration // see pace

	// Set by the login, and not changed after.
	device    bridge.Device
	session   *bridge.Conn
	version   byte          // 4 (3.1.1) or 5; 0 before CONNECT
	keepAlive time.Duration // 0: none
	maxPacket int           // the device's Maximum Packet Size; 0: no limit
	jwt       bool          // CONNECT named the authentication method
	forgets   bool          // MQTT 5: CONNECT asked for no session
	terse     bool          // MQTT 5: Request Problem Information 0

	leaving bool // the device sent DISCONNECT

	ending atomic.Bool // the server ends it: nothing more is read or sent
	closed atomic.Bool

	wmu      sync.Mutex
	loggedIn bool // the CONNACK was written
	told     byte // the code of the DISCONNECT that ended it; 0: none
}

func newConn(b *Broker, nc net.Conn, kind, remote string) *conn {
	c := &conn{b: b, nc: nc, kind: kind, remote: remote, from: address(remote)}
	c.buf = c.small[:]
	return c
}

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

// close closes the socket at once.
func (c *conn) close() {
	c.ending.Store(true)
	if !c.closed.Swap(true) {
		_ = c.nc.Close()
	}
}

// drop closes the socket without the farewell of TLS, which could block.
func (c *conn) drop() {
	c.ending.Store(true)
	if !c.closed.Swap(true) {
		_ = below(c.nc).Close()
	}
}

// End tells the device why, if its version can be told, and makes its goroutine
// close the connection.
func (c *conn) End(r bridge.EndReason) {
	code, reason := farewell(r)
	go c.end(code, reason)
}

// endWithin is how long a blocked write may still hold up the farewell.
const endWithin = time.Second

func (c *conn) end(code byte, reason string) {
	_ = c.nc.SetWriteDeadline(time.Now().Add(endWithin)) // frees a writer that is blocked
	c.wmu.Lock()
	defer c.wmu.Unlock()
	if c.ending.Swap(true) {
		return
	}
	c.disconnect(code, reason)
	_ = c.nc.SetReadDeadline(time.Unix(1, 0)) // wakes its goroutine, which lingers and closes
}

// disconnect writes a DISCONNECT to an MQTT 5 device that has its CONNACK: 3.1.1
// knows none from a server, and nothing may precede a CONNACK. wmu is held.
func (c *conn) disconnect(code byte, reason string) {
	c.told = code
	if !c.loggedIn {
		return
	}
	c.b.count.ended.Add(1)
	if c.version != 5 {
		return
	}
	f := frames.get()
	defer frames.put(f)
	f.b = appendDisconnect(f.b, code, reason, c.maxPacket)
	_ = c.sendLocked(f.b, wsBinary, endWithin)
}
