package broker

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/internal/mqttwire"
)

// device is a client that sends raw bytes, including what no library would send.
type device struct {
	t       testing.TB
	nc      net.Conn
	r       *bufio.Reader
	ws      bool
	version byte
	message []byte // what is left of the current WebSocket message
	closed  int    // status of the WebSocket's close frame
}

// newDevice returns a device that speaks MQTT 5 over nc.
func newDevice(t testing.TB, nc net.Conn) *device {
	t.Cleanup(func() { _ = nc.Close() })
	return &device{t: t, nc: nc, r: bufio.NewReader(nc), version: 5}
}

func (w *world) dial(at endpoint) *device { return w.dialBehind(at, nil) }

// dialBehind is dial through a proxy, which sends header before the TLS handshake.
func (w *world) dialBehind(at endpoint, header []byte) *device {
	w.Helper()
	addr := map[string]string{"tcp": w.tcp, "tls": w.tls, "ws": w.ws}[at.transport]
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = nc.Close() })
	if len(header) > 0 {
		if _, err := nc.Write(header); err != nil {
			w.Fatal(err)
		}
	}
	if at.transport == "tls" {
		nc = tls.Client(nc, &tls.Config{InsecureSkipVerify: true}) // the certificate is the test's own
	}
	d := &device{t: w.TB, nc: nc, r: bufio.NewReader(nc), ws: at.transport == "ws", version: at.version}
	if d.ws {
		d.raw([]byte(upgradeRequest(addr)))
		res, err := http.ReadResponse(d.r, nil)
		if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
			w.Fatalf("upgrade: %v %v", res, err)
		}
	}
	return d
}

// upgradeRequest returns a request for MQTT over WebSocket.
func upgradeRequest(host string) string {
	return "GET /mqtt HTTP/1.1\r\nHost: " + host + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
}

// login connects with a token and a clean session.
func (w *world) login(at endpoint, clientID, tok string) *device {
	w.Helper()
	d := w.dial(at)
	d.send(connect{id: clientID, token: tok, clean: true}.packet(at.version))
	d.expectConnack(0)
	return d
}

func (d *device) raw(b []byte) {
	d.t.Helper()
	if _, err := d.nc.Write(b); err != nil && !errors.Is(err, net.ErrClosed) {
		d.t.Logf("write: %v", err) // the server may have closed the connection, which the next read shows
	}
}

// send sends MQTT bytes, over a WebSocket as one binary message.
func (d *device) send(b []byte) {
	d.t.Helper()
	if d.ws {
		b = clientFrame(0x82, b)
	}
	d.raw(b)
}

// clientFrame returns a masked frame.
func clientFrame(first byte, payload []byte) []byte {
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n <= 0xFFFF:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	key := [4]byte{1, 2, 3, 4}
	b = append(b, key[:]...)
	for i, c := range payload {
		b = append(b, c^key[i&3])
	}
	return b
}

// frame reads one frame of the server, which is unmasked.
func (d *device) frame() (op byte, payload []byte, err error) {
	var h [2]byte
	if _, err := io.ReadFull(d.r, h[:]); err != nil {
		return 0, nil, err
	}
	n := int(h[1])
	switch {
	case h[1]&0x80 != 0:
		return 0, nil, errors.New("a masked frame from the server")
	case n == 126:
		var e [2]byte
		_, err = io.ReadFull(d.r, e[:])
		n = int(binary.BigEndian.Uint16(e[:]))
	case n == 127:
		return 0, nil, errors.New("a frame over 64 KiB")
	}
	if err != nil {
		return 0, nil, err
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(d.r, payload)
	return h[0] & 0x0F, payload, err
}

// Read reads MQTT bytes.
func (d *device) Read(p []byte) (int, error) {
	if !d.ws {
		return d.r.Read(p)
	}
	for len(d.message) == 0 {
		op, payload, err := d.frame()
		if err != nil {
			return 0, err
		}
		switch op {
		case wsClosing:
			if len(payload) >= 2 {
				d.closed = int(payload[0])<<8 | int(payload[1])
			}
			return 0, io.EOF
		case wsBinary:
			d.message = payload
		}
	}
	n := copy(p, d.message)
	d.message = d.message[n:]
	return n, nil
}

const testTimeout = 5 * time.Second

// next reads one packet. It fails if the connection ends first.
func (d *device) next(within time.Duration) ([]byte, error) {
	_ = d.nc.SetReadDeadline(time.Now().Add(within))
	p, err := mqttwire.ReadPacket(d)
	if len(p) == 4 && p[0] == mqttwire.Disconnect && p[3] == 0 { // the property length 0 may also be left out
		p = []byte{p[0], 1, p[2]}
	}
	return p, err
}

// expect reads one packet and compares it with hex, which may end in .. for any rest.
func (d *device) expect(hex string) []byte {
	d.t.Helper()
	p, err := d.next(testTimeout)
	if err != nil {
		d.t.Fatalf("no packet, but %v; want %s", err, hex)
	}
	got := fmt.Sprintf("% X", p)
	want, open := strings.CutSuffix(hex, "..")
	want = strings.TrimSpace(want)
	if got != want && !(open && strings.HasPrefix(got, want)) {
		d.t.Fatalf("got %s, want %s", got, hex)
	}
	return p
}

func (d *device) expectConnack(code byte) []byte {
	d.t.Helper()
	p, err := d.next(testTimeout)
	if err != nil || p[0] != 0x20 || p[3] != code {
		d.t.Fatalf("got % X, %v; want CONNACK %#x", p, err, code)
	}
	return p
}

// expectEnd waits for the end of the connection. It fails on any packet before it, except
// in MQTT 5 a DISCONNECT with that code, which is required unless code is 0.
func (d *device) expectEnd(code byte) {
	d.t.Helper()
	if code != 0 && d.version == 5 {
		p := d.expect("E0 ..")
		if p[2] != code {
			d.t.Fatalf("DISCONNECT % X, want code %#x", p, code)
		}
	}
	p, err := d.next(testTimeout)
	var ne net.Error
	if err == nil || errors.As(err, &ne) && ne.Timeout() {
		d.t.Fatalf("got % X, %v; want the end of the connection", p, err)
	}
}

// expectEndAfter is expectEnd, but the packet hex may come first.
func (d *device) expectEndAfter(hex string, code byte) {
	d.t.Helper()
	p, err := d.next(testTimeout)
	switch {
	case err != nil:
		d.t.Fatalf("no packet, but %v", err)
	case fmt.Sprintf("% X", p) == hex:
		d.expectEnd(code)
	case p[0] != 0xE0 || p[2] != code:
		d.t.Fatalf("got % X, want %s or DISCONNECT %#x", p, hex, code)
	default:
		d.expectEnd(0)
	}
}

// closesWithin waits until the server closes the socket, without sending anything, not
// even a TLS handshake.
func (d *device) closesWithin(limit time.Duration) {
	d.t.Helper()
	nc := underlying(d.nc)
	_ = nc.SetReadDeadline(time.Now().Add(limit))
	n, err := io.Copy(io.Discard, nc)
	if n > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		d.t.Fatalf("%d bytes, %v; want the end of the connection", n, err)
	}
}

// alive sends a PINGREQ and fails unless the next packet is the PINGRESP.
func (d *device) alive() {
	d.t.Helper()
	d.send([]byte{0xC0, 0})
	d.expect("D0 00")
}

// subscribe subscribes and expects codes in the SUBACK, one for each filter.
func (d *device) subscribe(qos byte, codes []byte, filters ...string) {
	d.t.Helper()
	d.send(subscribe(d.version, 9, qos, nil, filters...))
	p, err := d.next(testTimeout)
	if err != nil || p[0] != 0x90 || !bytes.HasSuffix(p, codes) {
		d.t.Fatalf("got % X, %v; want SUBACK % X", p, err, codes)
	}
}

// message is a received PUBLISH.
type message struct {
	head  byte
	topic string
	id    int
	props string // undecoded
	body  string
}

func (d *device) expectMessage() message {
	d.t.Helper()
	p, err := d.next(testTimeout)
	if err != nil || p[0]>>4 != 3 {
		d.t.Fatalf("got % X, %v; want PUBLISH", p, err)
	}
	m, err := mqttwire.ParsePublish(p, d.version)
	if err != nil {
		d.t.Fatalf("PUBLISH % X: %v", p, err)
	}
	return message{head: p[0], topic: string(m.Topic), id: int(m.ID), props: string(m.Properties), body: string(m.Payload)}
}

func (d *device) ack(m message) { d.send(mqttwire.AppendPuback(nil, uint16(m.id))) }

// connect builds CONNECT packets.
type connect struct {
	id, token, user string
	clean           bool
	keepAlive       int
	props           []byte // MQTT 5
	will            []byte // encoded topic and payload, in MQTT 5 after the properties
	willFlags       byte
}

func (c connect) packet(version byte) []byte {
	flags := c.willFlags
	if c.clean {
		flags |= 2
	}
	b := append([]byte{0, 4}, "MQTT"...)
	if c.user != "" || version == 4 && c.token != "" {
		flags |= 0x80
	}
	if c.token != "" {
		flags |= 0x40
	}
	if c.will != nil {
		flags |= 4
	}
	b = append(b, version, flags)
	b = appendUint16(b, c.keepAlive)
	if version == 5 {
		b = append(mqttwire.AppendVarint(b, len(c.props)), c.props...)
	}
	b = appendText(b, c.id)
	b = append(b, c.will...)
	if flags&0x80 != 0 {
		b = appendText(b, c.user)
	}
	if c.token != "" {
		b = appendText(b, c.token)
	}
	return packet(0x10, b)
}

func appendText(b []byte, s string) []byte { return mqttwire.AppendString(b, s) }

func packet(first byte, body []byte) []byte { return mqttwire.AppendPacket(nil, first, body) }

func subscribe(version byte, id int, options byte, props []byte, filters ...string) []byte {
	b := appendUint16(nil, id)
	if version == 5 {
		b = append(mqttwire.AppendVarint(b, len(props)), props...)
	}
	for _, f := range filters {
		b = append(appendText(b, f), options)
	}
	return packet(0x82, b)
}
