package main

import (
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/testserver"
)

// stall opens a connection to addr, sends text, and neither reads nor closes.
func stall(t *testing.T, addr, text string) {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	if _, err := nc.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

// The bound is the one that docs/operations.md states for process managers.
func TestADrainIsBoundedWhateverClientsDo(t *testing.T) {
	t.Parallel()
	const delay, drain = time.Second, 2 * time.Second
	p := testserver.NewProgram(t, production, "--drain-delay="+delay.String(), "--drain-time="+drain.String())
	http := strings.TrimPrefix(p.HTTP, "http://")
	post := fmt.Sprintf("POST /notifications HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{",
		sign(t, "app", bridge.ScopeWrite))
	for what, c := range map[string]struct{ addr, text string }{
		"a POST that never finishes": {http, post},
		"headers that never finish":  {http, "GET / HTTP/1.1\r\n"},
		"HTTP without a request":     {http, ""},
		"MQTT without a CONNECT":     {p.MQTT, ""},
		"half a CONNECT":             {p.MQTT, "\x10\x7f"},
		"a profile under way":        {strings.TrimPrefix(p.Admin, "http://"), "GET /debug/pprof/profile?seconds=60 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"},
	} {
		t.Log(what)
		stall(t, c.addr, c.text)
	}
	for _, id := range []string{"a", "b"} { // devices that read no DISCONNECT and never close
		nc := dial(t, p.MQTT)
		write(t, nc, connectPacket(5, id, sign(t, "1", 0)))
		if code, err := connack(nc); err != nil || code != 0 {
			t.Fatalf("the login of %s: code %d, %v", id, code, err)
		}
	}
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code, err := p.Wait(delay + drain + 5*time.Second); err != nil || code != 0 {
		t.Errorf("exit %d, %v; want 0 within --drain-delay, --drain-time and %v", code, err, 5*time.Second)
	}
	if !strings.Contains(p.Log(), "requests were cut") {
		t.Errorf("the log does not mention the request that was cut: %s", p.Log())
	}
}

func TestADrainOfTwoDevicesIsShort(t *testing.T) {
	t.Parallel()
	p := testserver.NewProgram(t, production, "--drain-time=1h")
	one, two := subscribe(t, p, "mqttv5", "1", "one"), subscribe(t, p, "mqttv5", "2", "two")
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	one.says(t, "Received DISCONNECT (139)")
	two.says(t, "Received DISCONNECT (139)")
	if code, err := p.Wait(waitLimit); err != nil || code != 0 {
		t.Errorf("exit %d, %v", code, err)
	}
}
