package broker

import (
	"io"
	"net"
	"testing"
	"time"
)

// FuzzDevice holds the walls and mochi's server together: whatever a device sends,
// before its login or after, nothing panics and the connection comes to its end.
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
		here, there := net.Pipe()
		if !w.broker.start(newConn(w.broker, there, "tcp", "")) {
			t.Skip()
		}
		if !first {
			stream = append(connect{id: "d", token: "7", clean: true}.packet(version), stream...)
		}
		go func() {
			_, _ = here.Write(stream)
			_, _ = here.Write([]byte{0xE0, 0})
			time.Sleep(time.Millisecond)
			_ = here.Close()
		}()
		_, _ = io.Copy(io.Discard, here)
		if n := w.broker.Stats().Panics; n != 0 {
			t.Fatalf("% X made something panic", stream)
		}
		if n := w.broker.mochi.Clients.Len(); n > 64 {
			t.Fatalf("mochi holds %d clients", n)
		}
	})
}
