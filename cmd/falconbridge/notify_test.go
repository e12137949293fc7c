package main

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/internal/testserver"
)

// notifications receives the datagrams that a service manager gets.
func notifications(t *testing.T, socket string) func() string {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return func() string {
		t.Helper()
		b := make([]byte, 4096)
		if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		n, err := conn.Read(b)
		if err != nil {
			t.Fatalf("no notification: %v", err)
		}
		return string(b[:n])
	}
}

func TestTheServiceManagerIsNotifiedOfReadinessLivenessAndTheDrain(t *testing.T) {
	t.Parallel()
	for name, prefix := range map[string]string{"a path": "", "an abstract name": "@"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			socket := filepath.Join(t.TempDir(), "notify")
			next := notifications(t, prefix+socket)
			p := testserver.NewProgram(t, with("NOTIFY_SOCKET", prefix+socket, "WATCHDOG_USEC", "400000"))
			if got := next(); got != "READY=1" {
				t.Errorf("first %q", got)
			}
			for range 3 {
				if got := next(); got != "WATCHDOG=1" {
					t.Errorf("while it lives: %q", got)
				}
			}
			if err := p.Stop(); err != nil {
				t.Fatal(err)
			}
			got := next()
			for got == "WATCHDOG=1" { // sent before the signal arrived
				got = next()
			}
			if !strings.HasPrefix(got, "STOPPING=1\nEXTEND_TIMEOUT_USEC=") {
				t.Errorf("at the end: %q", got)
			}
		})
	}
}

func TestTheWatchdogOfAnotherProcessIsIgnored(t *testing.T) {
	env := map[string]string{"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "7"}
	get := func(name string) string { return env[name] }
	if s := newSupervisor(get, 8, nil); s.watchdog != 0 {
		t.Errorf("watchdog %v", s.watchdog)
	}
	if s := newSupervisor(get, 7, nil); s.watchdog != time.Second {
		t.Errorf("its own watchdog: %v", s.watchdog)
	}
}

// A container must not be restarted because its database is unavailable.
func TestALiveHealthcheckDoesNotDependOnTheDatabase(t *testing.T) {
	t.Parallel()
	db := testserver.NewPostgres(t)
	p := testserver.NewProgram(t, with("DATABASE_URL", db.URL))
	if err := db.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, errs, code := finish(t, p.Command("healthcheck")); code != 1 || !strings.Contains(errs, "not ready") {
		t.Errorf("not ready: exit %d, %s", code, errs)
	}
	if _, errs, code := finish(t, p.Command("healthcheck", "--live")); code != 0 {
		t.Errorf("alive: exit %d, %s", code, errs)
	}
	if err := db.Start(); err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, errs, code := finish(t, p.Command("healthcheck", "--live")); code != 1 || !strings.Contains(errs, "not alive") {
		t.Errorf("stopped: exit %d, %s", code, errs)
	}
}
