package main

import (
	"bufio"
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
	"github.com/falconalert/falconbridge/internal/testserver"
)

// connectPacket returns a CONNECT with a clean session and the token as the password.
func connectPacket(version byte, id, token string) []byte {
	b := append(mqttwire.AppendString(nil, "MQTT"), version, 0xC2, 0, 60)
	if version == 5 {
		b = append(b, 0)
	}
	for _, s := range []string{id, "u", token} {
		b = mqttwire.AppendString(b, s)
	}
	return mqttwire.AppendPacket(nil, mqttwire.Connect, b)
}

// connack reads the response to CONNECT: its code, or the error of a connection that
// ended without one.
func connack(nc io.Reader) (code int, err error) {
	var head [4]byte
	if _, err := io.ReadFull(nc, head[:]); err != nil {
		return 0, err
	}
	if head[0] != 0x20 {
		return 0, fmt.Errorf("got % X, no CONNACK", head)
	}
	return int(head[3]), nil
}

// dial connects to addr. Reads and writes on the connection end within 20 s.
func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	return dialFrom(t, "127.0.0.1", addr)
}

// dialFrom is dial from another address of loopback.
func dialFrom(t *testing.T, from, addr string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	nc, err := d.DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	if err := nc.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return nc
}

// write fails the test unless all of b is sent or the other end hung up. What a hang-up
// means, only a read can show.
func write(t *testing.T, nc net.Conn, b []byte) {
	t.Helper()
	if _, err := nc.Write(b); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
}

// upgrade turns nc into a WebSocket.
func upgrade(t *testing.T, nc net.Conn, headers ...string) {
	t.Helper()
	write(t, nc, []byte("GET /mqtt HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\n"+strings.Join(append(headers, "\r\n"), "\r\n")))
	res, err := http.ReadResponse(bufio.NewReaderSize(nc, 16), nil)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		body, _ := io.ReadAll(io.LimitReader(res.Body, 200))
		t.Errorf("the response to the upgrade is %s: %s", res.Status, body)
	}
	_ = res.Body.Close()
}

// framed is a binary WebSocket frame of 126 to 65535 bytes.
func framed(b []byte) []byte {
	out := []byte{0x82, 0xFE, byte(len(b) >> 8), byte(len(b)), 0, 0, 0, 0} // a mask of zeros changes nothing
	return append(out, b...)
}

func httpsClient(t *testing.T, f testserver.CertificateFiles) *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: f.Trust(t)}}
}
