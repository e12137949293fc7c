package broker

import (
	"encoding/binary"
	"errors"
	"io"
	"unicode/utf8"
)

// Opcodes of RFC 6455 §5.2.
const (
	wsContinuation = 0x0
	wsText         = 0x1
	wsBinary       = 0x2
	wsClosing      = 0x8
	wsPing         = 0x9
	wsPong         = 0xA
)

// Status codes of RFC 6455 §7.4.1.
const (
	wsNormal      = 1000
	wsGoingAway   = 1001
	wsProtocol    = 1002
	wsUnsupported = 1003
	wsInvalid     = 1007
	wsPolicy      = 1008
	wsTooBig      = 1009
)

// wsFault ends a WebSocket with a status code.
type wsFault struct {
	status int
	reason string
}

func (f *wsFault) Error() string { return f.reason }

var (
	errUnmasked = &wsFault{wsProtocol, "a frame from the client is not masked"}
	errReserved = &wsFault{wsProtocol, "a frame has reserved bits or an unknown opcode"}
	errControl  = &wsFault{wsProtocol, "a control frame is fragmented or too long"}
	errSequence = &wsFault{wsProtocol, "a fragment is out of sequence"}
	errFrameLen = &wsFault{wsProtocol, "a frame's length is malformed"}
	errClosing  = &wsFault{wsProtocol, "a close frame is malformed"}
	errCloseUTF = &wsFault{wsInvalid, "a close reason is not UTF-8"}
	errText     = &wsFault{wsUnsupported, "MQTT goes in binary frames"} // [MQTT-6.0.0-1]
	errMessage  = &wsFault{wsTooBig, "a message is too large"}
)

// maxMessage bounds a WebSocket message, fragments together, in bytes. MQTT packets
// need not align with frames, so one may hold several; each has its own cap.
const maxMessage = 1 << 20

// wsReader takes the frames off what a client sends. It keeps nothing of a frame
// but where it stands in it, so a length alone costs nothing.
type wsReader struct {
	early []byte // came with the upgrade, before the first read

	head    [14]byte // of the frame under way
	headLen int      // bytes of head that have come
	key     [4]byte
	at      int // bytes of the payload that have come
	size    int // of the payload; with headLen 0: no frame is under way
	op      byte
	message int  // bytes of the fragmented message under way
	partial bool // a fragmented message is under way
	control []byte
}

// read fills p with MQTT bytes. Like an [io.Reader] it may return some together with
// the error that follows them; io.EOF where the client closed the WebSocket.
func (w *wsReader) read(c *conn, p []byte) (int, error) {
	for {
		var n int
		var end error
		if len(w.early) > 0 {
			n = copy(p, w.early)
			if w.early = w.early[n:]; len(w.early) == 0 {
				w.early = nil
			}
		} else {
			n, end = c.nc.Read(p)
		}
		out, err := w.feed(p[:n], c.handleFrame)
		if err == nil {
			err = end
		}
		if out > 0 || err != nil {
			return out, err
		}
	}
}

// feed takes the frames in b off, in place: it returns how many payload bytes stand
// at the start of b. Each ping, pong and empty frame is given to handle.
func (w *wsReader) feed(b []byte, handle func(op byte, payload []byte) error) (out int, err error) {
	for in := 0; in < len(b); {
		if !w.inPayload() {
			w.head[w.headLen] = b[in]
			w.headLen++
			in++
			if err := w.header(); err != nil {
				return out, err
			}
		}
		if !w.inPayload() {
			continue
		}
		n := min(len(b)-in, w.size-w.at)
		for i := in; i < in+n; i++ {
			b[i] ^= w.key[w.at&3]
			w.at++
		}
		if w.op >= wsClosing {
			w.control = append(w.control, b[in:in+n]...)
		} else {
			out += copy(b[out:], b[in:in+n])
		}
		if in += n; w.at == w.size {
			if err := w.finish(handle); err != nil {
				return out, err
			}
		}
	}
	return out, nil
}

// inPayload reports whether the header of the frame under way is complete.
func (w *wsReader) inPayload() bool { return w.headLen == len(w.head) }

// header looks at the header as far as it has come, and refuses what is wrong as
// early as it shows. Once complete, headLen is set to its largest value.
func (w *wsReader) header() error {
	h := w.head[:w.headLen]
	final, op := h[0]&0x80 != 0, h[0]&0x0F
	if len(h) == 1 {
		switch {
		case h[0]&0x70 != 0:
			return errReserved
		case op == wsText:
			return errText
		case op == wsContinuation && !w.partial, op == wsBinary && w.partial:
			return errSequence
		case op > wsBinary && op < wsClosing, op > wsPong:
			return errReserved
		case op >= wsClosing && !final:
			return errControl
		}
		return nil
	}
	if h[1]&0x80 == 0 {
		return errUnmasked
	}
	size, ext := uint64(h[1]&0x7F), 0
	switch size {
	case 126:
		ext = 2
	case 127:
		ext = 8
	}
	if op >= wsClosing && ext > 0 {
		return errControl
	}
	if len(h) < 2+ext {
		return nil
	}
	if len(h) == 2+ext {
		switch ext {
		case 2:
			size = uint64(binary.BigEndian.Uint16(h[2:]))
		case 8:
			size = binary.BigEndian.Uint64(h[2:])
		}
		if ext == 2 && size < 126 || ext == 8 && (size <= 0xFFFF || size>>63 != 0) {
			return errFrameLen
		}
		if size > maxMessage || op < wsClosing && w.message+int(size) > maxMessage {
			return errMessage
		}
		w.size = int(size)
		return nil
	}
	if len(h) < 2+ext+4 {
		return nil
	}
	copy(w.key[:], h[2+ext:])
	w.op, w.at, w.headLen = op, 0, len(w.head)
	if op < wsClosing {
		w.message += w.size
		if w.partial = !final; final {
			w.message = 0
		}
	}
	return nil
}

// finish handles the frame whose last byte has come.
func (w *wsReader) finish(handle func(op byte, payload []byte) error) error {
	op, size, control := w.op, w.size, w.control
	w.headLen, w.at, w.size, w.control = 0, 0, 0, nil
	switch {
	case op == wsClosing:
		return checkClose(control)
	case op > wsClosing, size == 0:
		return handle(op, control)
	}
	return nil
}

// closing checks the payload of a close frame (RFC 6455 §5.5.1); io.EOF where it is
// in order.
func checkClose(b []byte) error {
	if len(b) == 0 {
		return io.EOF
	}
	if len(b) == 1 {
		return errClosing
	}
	status := int(b[0])<<8 | int(b[1])
	switch {
	case status < 1000, status == 1004, status == 1005, status == 1006, status > 1014 && status < 3000, status >= 5000:
		return errClosing
	case !utf8.Valid(b[2:]):
		return errCloseUTF
	}
	return io.EOF
}

// wsFrame writes the header of one final, unmasked frame of b[headroom:] into the
// headroom before it, and returns the frame.
func wsFrame(b []byte, op byte) []byte {
	n := len(b) - headroom
	var at int
	switch {
	case n < 126:
		at = headroom - 2
		b[at+1] = byte(n)
	case n <= 0xFFFF:
		at = headroom - 4
		b[at+1] = 126
		binary.BigEndian.PutUint16(b[at+2:], uint16(n))
	default:
		at = headroom - 10
		b[at+1] = 127
		binary.BigEndian.PutUint64(b[at+2:], uint64(n))
	}
	b[at] = 0x80 | op
	return b[at:]
}

// handleFrame counts a frame without MQTT bytes like a packet, and answers a ping (RFC
// 6455 §5.5.2). A pong is unsolicited: this server sends no pings.
func (c *conn) handleFrame(op byte, payload []byte) error {
	if !c.allowPacket() {
		return errFlood
	}
	if op != wsPing {
		return nil
	}
	f := frames.get()
	defer frames.put(f)
	f.b = append(f.b, payload...)
	c.wmu.Lock()
	defer c.wmu.Unlock()
	if c.ending.Load() {
		return errEnding
	}
	return c.sendLocked(f.b, wsPong, c.b.o.WriteTimeout)
}

// wsClose writes the close frame that answers the client's, or whose status says what
// err was.
func (c *conn) wsClose(err error) {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	status := wsNormal
	var f *wsFault
	switch {
	case errors.As(err, &f):
		status = f.status
	case c.endCode == codeShuttingDown:
		status = wsGoingAway
	case c.endCode == codeTooLarge:
		status = wsTooBig
	case c.endCode == codeMalformed, c.endCode == codeProtocolError:
		status = wsProtocol
	case c.endCode != 0:
		status = wsPolicy
	}
	b := append(make([]byte, headroom, headroom+2), byte(status>>8), byte(status))
	_ = c.sendLocked(b, wsClosing, endTimeout)
}
