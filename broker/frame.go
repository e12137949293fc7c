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
	errText     = &wsFault{wsUnsupported, "MQTT must be sent in binary frames"} // [MQTT-6.0.0-1]
	errMessage  = &wsFault{wsTooBig, "a message is too large"}
)

// maxMessage is the largest WebSocket message in bytes, all fragments together. MQTT
// packets need not align with messages ([MQTT-6.0.0-2]): one message may contain several
// packets, each of which has its own limit.
const maxMessage = 1 << 20

// wsReader removes the WebSocket framing from the bytes that a client sends. It decodes in
// place and stores only its position in the current frame, so announcing a long frame
// allocates nothing.
type wsReader struct {
	early []byte // received with the upgrade request, before the first read

	head    [14]byte // header of the current frame
	headLen int      // bytes of head received; 0: between frames, len(head): in the payload
	key     [4]byte  // masking key
	at      int      // bytes of the payload received
	size    int      // bytes of the payload
	op      byte
	message int    // bytes of the current fragmented message
	partial bool   // a fragmented message is not complete
	control []byte // payload of the current control frame
}

// read reads MQTT bytes into p. Like an [io.Reader] it may return bytes together with the
// error that follows them. The error is io.EOF once the client has closed the WebSocket.
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

// feed decodes the frames in b in place: the MQTT bytes end up in b[:out]. It calls handle
// for each ping, pong and empty data frame.
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

// inPayload reports whether the header of the current frame is complete.
func (w *wsReader) inPayload() bool { return w.headLen == len(w.head) }

// header is called for each further byte of a header. It refuses a malformed one at the
// first byte that shows it, and sets headLen to len(head) when the header is complete.
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

// finish handles a frame whose payload is complete.
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

// checkClose checks the payload of a close frame (RFC 6455 §5.5.1). It returns io.EOF if
// the frame is valid.
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

// wsFrame makes b[headroom:] the payload of one final, unmasked frame. It writes the header
// into the headroom and returns the frame.
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

// handleFrame handles a ping, a pong or an empty frame. It counts each as a packet, so that
// a flood of them runs into PacketRate, and responds to a ping (RFC 6455 §5.5.2). A pong
// needs no response: this server sends no pings.
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

// wsClose writes a close frame. Its status follows from err, which ended the connection, or
// from the MQTT reason code; it is 1000 if the client closed.
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
