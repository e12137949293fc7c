package bench

import (
	"bytes"
	"io"
	"net"
	"testing"
)

func TestAPublishIsReadBack(t *testing.T) {
	payload := bytes.Repeat([]byte("p"), 300)
	p := appendPublish(nil, "users/7/reports/status", 258, payload)
	for n := range p {
		if packetLen(p[:n]) != 0 {
			t.Fatalf("%d of %d bytes are a whole packet", n, len(p))
		}
	}
	if n := packetLen(append(p, 0x40, 2, 0, 1)); n != len(p) {
		t.Fatalf("the packet has %d bytes, not %d", n, len(p))
	}
	m, err := publishOf(p)
	if err != nil || m.id != 258 || m.retain || !bytes.Equal(m.payload, payload) {
		t.Errorf("%+v, %v", m, err)
	}
}

func TestAHalfPublishIsMalformed(t *testing.T) {
	whole := bodyOf(appendPublish(nil, "users/7", 1, nil))
	for n := range whole {
		if _, err := publishOf(appendPacket(nil, typePublish|2, whole[:n])); err == nil {
			t.Errorf("%d of %d bytes of the body were read", n, len(whole))
		}
	}
}

// pipe is a WebSocket whose peer's bytes are written by the test.
func pipe(t *testing.T) (*webSocket, net.Conn) {
	t.Helper()
	a, b := net.Pipe()
	t.Cleanup(func() { _ = a.Close(); _ = b.Close() })
	return &webSocket{Conn: a, op: 2}, b
}

func TestAWebSocketReadsWhatItsFramesHold(t *testing.T) {
	w, peer := pipe(t)
	long := bytes.Repeat([]byte("x"), 300)
	frames := append([]byte{0x82, 3, 'a', 'b', 'c', 0x82, 126, 1, 44}, long...)
	frames = append(frames, 0x82, 1, 'd', 0x88, 0)
	go func() {
		for _, c := range frames { // one byte each: no header comes whole
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
				t.Error("unmasked, the payload is another one")
			}
		})
	}
}
