package broker

import (
	"crypto/tls"
	"io"
	"net"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge/delivery"
)

// coalescingConn is a connection that can buffer its writes, so that they leave in one
// segment.
type coalescingConn struct {
	net.Conn
	buffered  []byte
	buffering bool
}

func (c *coalescingConn) Write(b []byte) (int, error) {
	if !c.buffering {
		return c.Conn.Write(b)
	}
	c.buffered = append(c.buffered, b...)
	return len(b), nil
}

// The last packet, a DISCONNECT or PUBACK, may arrive in the same read as the end of the
// stream: in one segment with a Close frame, or with TLS's close_notify.
func TestPacketsThatArriveWithTheCloseAreProcessed(t *testing.T) {
	disconnect := []byte{0xE0, 7, 0, 5, 0x11, 0, 0, 0, 0} // Session Expiry Interval 0
	for name, end := range map[string]func(t *testing.T, d *device, p []byte){
		"before a Close frame": func(_ *testing.T, d *device, p []byte) {
			d.raw(append(clientFrame(0x82, p), clientFrame(0x88, nil)...))
		},
		"before a Close frame, unmasked by a key of zeros": func(t *testing.T, d *device, p []byte) {
			frame := append([]byte{0x82, 0x80 | byte(len(p)), 0, 0, 0, 0}, p...)
			d.raw(append(frame, 0x88, 0x80, 0, 0, 0, 0))
		},
		"before close_notify of TLS 1.2": func(t *testing.T, d *device, p []byte) {
			s := d.nc.(*tls.Conn)
			raw := s.NetConn().(*coalescingConn)
			raw.buffering = true
			d.raw(p)
			if err := s.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			raw.buffering = false
			_ = raw.SetWriteDeadline(time.Time{}) // CloseWrite has set one that has passed
			if _, err := raw.Write(raw.buffered); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, Options{})
			connect := func() (d *device, present bool) {
				if name == "before close_notify of TLS 1.2" {
					nc, err := net.Dial("tcp", w.tls)
					if err != nil {
						t.Fatal(err)
					}
					d = newDevice(t, tls.Client(&coalescingConn{Conn: nc}, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}))
				} else {
					d = w.dial(endpoint{"ws", 5})
				}
				d.send(connect{id: "a", token: "7", props: []byte{0x11, 0, 0, 0x0E, 0x10}}.packet(5))
				return d, d.expectConnack(0)[2] == 1
			}
			d, _ := connect()
			d.subscribe(1, []byte{1}, topic7)
			w.notify("7", "one")
			m := d.expectMessage()
			end(t, d, []byte{0x40, 2, byte(m.id >> 8), byte(m.id)})
			w.eventually("gone", func(s Stats) bool { return s.Connections == 0 })

			d, present := connect()
			if !present {
				t.Fatal("the session is gone")
			}
			d.alive() // "one" is not sent again
			end(t, d, disconnect)
			w.eventually("gone", func(s Stats) bool { return s.Connections == 0 })
			if _, present := connect(); present {
				t.Error("the session outlives a DISCONNECT that ended it")
			}
		})
	}
}

// faultyConn is a connection that panics once the device is logged in.
type faultyConn struct {
	net.Conn
	onRead, onClose func()
}

func (c *faultyConn) Read(b []byte) (int, error) {
	if c.onRead != nil {
		c.onRead()
	}
	return c.Conn.Read(b)
}

func (c *faultyConn) CloseWrite() error {
	if c.onClose != nil {
		c.onClose()
	}
	return nil
}

// A panic, in whatever state of a connection, ends only that connection, and nothing of it
// is left.
func TestAPanicInFramingOrFinishingEndsOneConnection(t *testing.T) {
	w := newWorld(t, Options{})
	other := w.login(endpoint{"tcp", 5}, "other", "8")
	for name, arrange := range map[string]func(nc *faultyConn, c *conn){
		"while it waits for a packet": func(nc *faultyConn, c *conn) { nc.onRead = func() { nc.onRead = nil; panic("reading") } },
		"while its session closes": func(nc *faultyConn, c *conn) {
			nc.onRead = func() {
				nc.onRead = nil
				c.session.Close()
				c.session = &delivery.Conn{} // without a hub
			}
		},
		"while it lingers": func(nc *faultyConn, c *conn) { nc.onClose = func() { panic("closing") } },
	} {
		t.Run(name, func(t *testing.T) {
			here, there := net.Pipe()
			nc := &faultyConn{Conn: there}
			c := newConn(w.broker, nc, "tcp", "")
			before := w.broker.Stats().Panics
			nc.onRead = func() {
				if c.session != nil {
					nc.onRead = nil
					arrange(nc, c)
					if nc.onRead != nil {
						nc.onRead()
					}
				}
			}
			if !w.broker.start(c) {
				t.Fatal("the connection was not accepted")
			}
			d := newDevice(t, here)
			d.send(connect{id: "a", token: "7", clean: true}.packet(5))
			d.expectConnack(0)
			_ = here.SetReadDeadline(time.Now().Add(testTimeout))
			go func() { _, _ = here.Write([]byte{0xE0, 0}) }()
			_, _ = io.Copy(io.Discard, here)
			w.eventually("only the other connection left", func(s Stats) bool {
				return s.Connections == 1 && s.Pending == 0 && s.Panics == before+1
			})
			if n := w.broker.mochi.Clients.Len(); n != 1 {
				t.Errorf("mochi has %d clients", n)
			}
			other.alive()
		})
	}
}
