package broker

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// pipeConn is a connection of two pipes, so that each side can close its direction alone.
type pipeConn struct {
	net.Conn // what is read from
	out      net.Conn
}

func (h *pipeConn) Write(b []byte) (int, error)        { return h.out.Write(b) }
func (h *pipeConn) SetWriteDeadline(t time.Time) error { return h.out.SetWriteDeadline(t) }
func (h *pipeConn) Close() error {
	_ = h.out.Close()
	return h.Conn.Close()
}

// FuzzDevice runs the whole broker over a pipe. Whatever a device sends, before or after
// its login, nothing panics, the connection ends, and mochi has no client left.
func FuzzDevice(f *testing.F) {
	for _, p := range corpus() {
		f.Add(false, true, p)
		f.Add(true, true, p)
		f.Add(true, false, p)
	}
	w := newWorld(f, Options{MaxConnectionsPerUser: 1 << 20, Linger: time.Millisecond})
	f.Fuzz(func(t *testing.T, five, first bool, stream []byte) {
		version := byte(4)
		if five {
			version = 5
		}
		if !first {
			stream = append(connect{id: "d", token: "7", clean: true}.packet(version), stream...)
		}
		in, toServer := net.Pipe()
		fromServer, out := net.Pipe()
		if !w.broker.start(newConn(w.broker, &pipeConn{in, out}, "tcp", "")) {
			t.Fatal("the connection was not accepted")
		}
		go func() {
			_, _ = toServer.Write(stream)
			_ = toServer.Close()
		}()
		_, _ = io.Copy(io.Discard, fromServer)
		if n := w.broker.Stats().Panics; n != 0 {
			t.Fatalf("% X caused a panic", stream)
		}
		if n := w.broker.mochi.Clients.Len(); n > 64 {
			t.Fatalf("mochi has %d clients", n)
		}
	})
}

// FuzzProcess gives packets that strict accepts to mochi's decoder and server. Nothing
// panics, each request gets one response, and an error that ends the connection has a
// reason code.
func FuzzProcess(f *testing.F) {
	for _, p := range corpus() {
		f.Add(false, p)
		f.Add(true, p)
	}
	w := newWorld(f, Options{MaxConnectionsPerUser: 1 << 20})
	var conns [2]*conn // one of each version, until a packet ends it
	f.Fuzz(func(t *testing.T, five bool, p []byte) {
		n, err := packetLen(p, w.broker.o.MaxPacketSize)
		if err != nil || n == 0 || n > len(p) {
			return
		}
		p = p[:n]
		i, version := 0, byte(4)
		if five {
			i, version = 1, 5
		}
		if _, err := strict(version, p); err != nil {
			return
		}
		c := conns[i]
		if c == nil || c.ending.Load() {
			c = newConn(w.broker, &recordingConn{}, "tcp", "")
			c.version = version
			if err := c.handshake(connect{id: string('0' + version), token: "7", clean: true, props: []byte{0x15, 0, 3, 'j', 'w', 't'}}.packet(version)); err != nil {
				t.Fatal(err)
			}
			conns[i] = c
		}
		_ = c.nc.(*recordingConn).drain()
		if forMochi, err := c.acknowledge(p); !forMochi || err != nil {
			return
		}
		err = c.process(p)
		if code, _ := codeOf(err); err != nil && code < codeUnspecified {
			t.Fatalf("% X ends the connection without a code: %v", p, err)
		}
		answer := map[byte]byte{0x80: 0x90, 0xA0: 0xB0, 0xC0: 0xD0}[p[0]&0xF0]
		if b := c.nc.(*recordingConn).drain(); err == nil && answer != 0 && (len(b) == 0 || b[0] != answer) {
			t.Fatalf("% X gets the response % X", p, b)
		}
	})
}

// recordingConn is a connection that records what is written.
type recordingConn struct {
	net.TCPConn
	mu sync.Mutex
	b  []byte
}

func (w *recordingConn) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.b = append(w.b, b...)
	return len(b), nil
}

func (w *recordingConn) drain() []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	b := w.b
	w.b = nil
	return b
}

func (*recordingConn) Close() error                     { return nil }
func (*recordingConn) SetReadDeadline(time.Time) error  { return nil }
func (*recordingConn) SetWriteDeadline(time.Time) error { return nil }
func (*recordingConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
