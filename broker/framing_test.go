package broker

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"

	"github.com/falconalert/falconbridge/bridge/delivery"
)

// chunkedConn returns a stream in chunks.
type chunkedConn struct {
	net.Conn
	stream []byte
	piece  int
}

func (c *chunkedConn) Read(p []byte) (int, error) {
	if len(c.stream) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), c.piece)], c.stream)
	c.stream = c.stream[n:]
	return n, nil
}

func (c *chunkedConn) RemoteAddr() net.Addr { return &net.TCPAddr{} }

func (c *chunkedConn) SetReadDeadline(time.Time) error { return nil }

// FuzzNext checks that readPacket returns complete packets in order, however the network
// splits and joins them, and that an idle connection keeps only its small buffer.
func FuzzNext(f *testing.F) {
	f.Add([]byte{0, 1, 255, 0, 40, 255, 3}, uint8(0), false)
	f.Add([]byte{255, 255, 1}, uint8(7), true)
	f.Add([]byte{250, 250, 250, 250}, uint8(255), false)
	f.Fuzz(func(t *testing.T, sizes []byte, cut uint8, framed bool) {
		var want [][]byte
		var stream []byte
		for i, size := range sizes[:min(len(sizes), 64)] {
			p := packet(0x30, bytes.Repeat([]byte{byte(i)}, int(size)*9))
			want = append(want, p)
			if framed {
				p = clientFrame(0x82, p)
			}
			stream = append(stream, p...)
		}
		c := newConn(&Broker{}, &chunkedConn{stream: stream, piece: 1 + int(cut)*3}, "tcp", "")
		c.b.o = c.b.o.withDefaults()
		c.session, c.client = new(delivery.Conn), new(mqtt.Client) // logged in, so that any packet is accepted
		if framed {
			c.ws = &wsReader{}
		}
		for i, w := range want {
			p, err := c.readPacket(1 << 16)
			if err != nil || !bytes.Equal(p, w) {
				t.Fatalf("packet %d of %d bytes came as %d bytes, %v", i, len(w), len(p), err)
			}
		}
		if _, err := c.readPacket(1 << 16); err == nil {
			t.Fatal("a packet that was not sent")
		}
		if len(c.buf) > len(c.small) {
			t.Fatalf("an idle connection holds %d bytes", len(c.buf))
		}
	})
}
