package bench

import (
	"bytes"
	"io"
	"net"
	"testing"
)

// pipe returns a WebSocket and the other end of its connection, for the test.
func pipe(t *testing.T) (*WebSocket, net.Conn) {
	t.Helper()
	a, b := net.Pipe()
	t.Cleanup(func() { _ = a.Close(); _ = b.Close() })
	return &WebSocket{Conn: a, op: 2}, b
}

func TestAWebSocketReadsTheContentOfItsFrames(t *testing.T) {
	w, peer := pipe(t)
	long := bytes.Repeat([]byte("x"), 300)
	frames := append([]byte{0x82, 3, 'a', 'b', 'c', 0x82, 126, 1, 44}, long...)
	frames = append(frames, 0x82, 1, 'd', 0x88, 0)
	go func() {
		for _, c := range frames { // one byte at a time, so that headers arrive in parts
			if _, err := peer.Write([]byte{c}); err != nil {
				return
			}
		}
	}()
	got, err := io.ReadAll(w)
	if want := "abc" + string(long) + "d"; err != nil || string(got) != want {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestAWebSocketMasksWhatItWrites(t *testing.T) {
	for name, size := range map[string]int{"a short message": 5, "one of two length bytes": 300} {
		t.Run(name, func(t *testing.T) {
			w, peer := pipe(t)
			sent := bytes.Repeat([]byte("m"), size)
			go func() { _, _ = w.Write(sent) }()
			head := 2
			if size > 125 {
				head = 4
			}
			b := make([]byte, head+4+size)
			if _, err := io.ReadFull(peer, b); err != nil {
				t.Fatal(err)
			}
			if b[0] != 0x82 || b[1]&0x80 == 0 {
				t.Fatalf("the frame begins with %x", b[:2])
			}
			key, payload := b[head:head+4], b[head+4:]
			if bytes.Equal(payload, sent) {
				t.Fatal("the payload is not masked")
			}
			for i := range payload {
				payload[i] ^= key[i&3]
			}
			if !bytes.Equal(payload, sent) {
				t.Error("the unmasked payload is not what was written")
			}
		})
	}
}
