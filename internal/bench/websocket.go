package bench

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
)

// WebSocket is the client's end of a WebSocket (RFC 6455), as a stream of the messages' content.
// It neither answers pings nor fragments messages, which no measured server requires.
type WebSocket struct {
	net.Conn
	op   byte // the opcode of written frames
	in   []byte
	left int // how many payload bytes of the current frame are unread
	out  []byte
	mask uint32
}

// maskStep is added to the mask for each frame. The masks may be predictable here, because they
// only protect intermediaries from scripts in a browser (§10.3).
const maskStep = 0x9E3779B9

// Upgrade upgrades nc to a WebSocket to u. With a subprotocol, Write sends binary messages,
// otherwise text messages.
func Upgrade(nc net.Conn, u *url.URL, protocol string) (*WebSocket, error) {
	offer, op := "", byte(1)
	if protocol != "" {
		offer, op = "Sec-WebSocket-Protocol: "+protocol+"\r\n", 2
	}
	_, err := fmt.Fprintf(nc, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAECAwQFBgcICQoLDA0ODw==\r\n%s\r\n", u.RequestURI(), u.Host, offer)
	if err != nil {
		return nil, err
	}
	r := bufio.NewReaderSize(nc, 1024)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return nil, fmt.Errorf("upgrade: %w", err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return nil, fmt.Errorf("upgrade: the server returned %d", resp.StatusCode)
	}
	early, err := r.Peek(r.Buffered())
	return &WebSocket{Conn: nc, op: op, in: append([]byte(nil), early...), mask: maskStep}, err
}

// fill reads more into w.in.
func (w *WebSocket) fill() error {
	var chunk [2048]byte
	n, err := w.Conn.Read(chunk[:])
	w.in = append(w.in, chunk[:n]...)
	if n > 0 {
		return nil
	}
	return err
}

var errFrame = errors.New("the server sent a malformed WebSocket frame")

// header removes the header of the next frame from w.in and returns the length of the frame's
// payload. It returns io.EOF for a close frame.
func (w *WebSocket) header() (int, error) {
	for {
		b := w.in
		need := 2
		if len(b) >= 2 {
			switch {
			case b[1]&0x80 != 0:
				return 0, errFrame
			case b[1] == 127:
				need = 10
			case b[1] == 126:
				need = 4
			}
		}
		if len(b) < need {
			if err := w.fill(); err != nil {
				return 0, err
			}
			continue
		}
		var size int
		switch need {
		case 2:
			size = int(b[1])
		case 4:
			size = int(binary.BigEndian.Uint16(b[2:]))
		default:
			size = int(binary.BigEndian.Uint64(b[2:]) & (1<<31 - 1))
		}
		op := b[0] & 0x0F
		w.in = b[need:]
		if op == 8 {
			return 0, io.EOF
		}
		return size, nil
	}
}

// Read reads the content of the messages as one stream.
func (w *WebSocket) Read(p []byte) (int, error) {
	for w.left == 0 {
		size, err := w.header()
		if err != nil {
			return 0, err
		}
		w.left = size
	}
	if len(w.in) == 0 {
		n, err := w.Conn.Read(p[:min(len(p), w.left)])
		w.left -= n
		return n, err
	}
	n := copy(p[:min(len(p), w.left)], w.in)
	w.in, w.left = w.in[n:], w.left-n
	if len(w.in) == 0 {
		w.in = nil // an idle connection keeps no buffer
	}
	return n, nil
}

// Message reads one message into b, which grows if it is too small.
func (w *WebSocket) Message(b []byte) ([]byte, error) {
	size, err := w.header()
	if err != nil {
		return b, err
	}
	for len(w.in) < size {
		if err := w.fill(); err != nil {
			return b, err
		}
	}
	b = append(b[:0], w.in[:size]...)
	if w.in = w.in[size:]; len(w.in) == 0 {
		w.in = nil
	}
	return b, nil
}

// Write sends p as one message.
func (w *WebSocket) Write(p []byte) (int, error) {
	b := append(w.out[:0], 0x80|w.op)
	switch n := len(p); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n <= 0xFFFF:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	w.mask += maskStep
	var key [4]byte
	binary.BigEndian.PutUint32(key[:], w.mask)
	b = append(b, key[:]...)
	for i, c := range p {
		b = append(b, c^key[i&3])
	}
	w.out = b
	if _, err := w.Conn.Write(b); err != nil {
		return 0, err
	}
	return len(p), nil
}
