package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/testserver"
)

// waitLimit is how long a test waits for a program to end.
const waitLimit = 30 * time.Second

// The guarantee of retained messages: a new subscription gets the latest notification,
// whatever happened to the server in between.
func TestAKilledServerStillHasTheLatestNotification(t *testing.T) {
	t.Parallel()
	for name, env := range databases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := testserver.NewProgram(t, env(t))
			for i := range 3 {
				notify(t, p.HTTP, "1", fmt.Sprintf("n%d", i+1))
			}
			if err := p.Kill(); err != nil {
				t.Fatal(err)
			}
			if err := p.Start(); err != nil {
				t.Fatal(err)
			}
			latest := caller{base: p.HTTP, token: sign(t, "1", 0)}.raws(t)[0]
			for _, version := range []string{"311", "mqttv5"} {
				s := subscribe(t, p, version, "1", "late-"+version)
				if got := s.json(t, 1); got[0] != latest || !strings.Contains(latest, `"n3"`) {
					t.Errorf("%s: %q, want %q", version, got, latest)
				}
				if !strings.Contains(s.out.String(), "r1") {
					t.Errorf("%s: no retain flag in %q", version, s.out.String())
				}
			}
		})
	}
}

// A drain first ends readiness, then finishes requests in flight, sends devices 0x8B,
// and ends with exit code 0.
func TestADrainLosesNothing(t *testing.T) {
	t.Parallel()
	p := testserver.NewProgram(t, production, "--drain-delay=3s")
	device := subscribe(t, p, "mqttv5", "1", "device")
	notify(t, p.HTTP, "1", "before")
	device.json(t, 1)

	// A request whose body arrives while the server drains.
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.HTTP, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	body := `{"created_by":1,"title":"during","message":"M"}`
	if _, err := fmt.Fprintf(conn, "POST /notifications HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		sign(t, "app", bridge.ScopeWrite), len(body), body[:10]); err != nil {
		t.Fatal(err)
	}
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	testserver.Eventually(t, 5*time.Second, func() error {
		resp, err := http.Get(p.HTTP + "/readyz")
		if err != nil {
			return err
		}
		_ = resp.Body.Close()
		if resp.StatusCode != 503 {
			return fmt.Errorf("/readyz returned %d", resp.StatusCode)
		}
		return nil
	})
	notify(t, p.HTTP, "1", "still served") // until balancers notice
	if _, err := io.WriteString(conn, body[10:]); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	answer := make([]byte, 4096)
	n, err := conn.Read(answer)
	if err != nil || !strings.HasPrefix(string(answer[:n]), "HTTP/1.1 201") {
		t.Errorf("the request in flight: %q, %v", answer[:n], err)
	}
	device.json(t, 3)
	device.says(t, "Received DISCONNECT (139)")
	if code, err := p.Wait(waitLimit); err != nil || code != 0 {
		t.Errorf("exit code %d, %v", code, err)
	}
}

func TestASecondSignalEndsTheProgramAtOnce(t *testing.T) {
	t.Parallel()
	p := testserver.NewProgram(t, production, "--drain-delay=1m")
	if err := p.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	testserver.Eventually(t, 5*time.Second, func() error {
		if !strings.Contains(p.Log(), "draining") {
			return fmt.Errorf("not draining: %s", p.Log())
		}
		return nil
	})
	if err := p.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Wait(waitLimit); err != nil { // half the drain's delay
		t.Errorf("after the second signal: %v", err)
	}
}

func TestAPortInUseIsNamed(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, setting := range []string{"http-addr", "mqtt-addr", "admin-addr"} {
		p := testserver.Prepare(t, nil, fmt.Sprintf("--%s=%s", setting, l.Addr()))
		if err := p.Begin(); err != nil {
			t.Fatal(err)
		}
		code, err := p.Wait(waitLimit)
		if err != nil || code != 1 || !strings.Contains(p.Log(), "falconbridge: --"+setting) || !strings.Contains(p.Log(), "is in use by another program") {
			t.Errorf("%s: exit %d, %v, %s", setting, code, err, p.Log())
		}
	}
}

// The database may start later than the program, or never.
func TestStartWaitsForAnUnavailableDatabase(t *testing.T) {
	t.Parallel()
	pg := testserver.NewPostgres(t)
	if err := pg.Stop(); err != nil {
		t.Fatal(err)
	}
	never := testserver.Prepare(t, with("DATABASE_URL", pg.URL), "--start-timeout=1s")
	if err := never.Begin(); err != nil {
		t.Fatal(err)
	}
	code, err := never.Wait(waitLimit)
	if err != nil || code != 1 || !strings.Contains(never.Log(), "trying again") || !strings.Contains(never.Log(), "falconbridge: --database-url") {
		t.Errorf("never: exit %d, %v, %s", code, err, never.Log())
	}
	late := testserver.Prepare(t, with("DATABASE_URL", pg.URL))
	if err := late.Begin(); err != nil {
		t.Fatal(err)
	}
	testserver.Eventually(t, 10*time.Second, func() error {
		if !strings.Contains(late.Log(), "trying again") {
			return fmt.Errorf("it does not wait: %s", late.Log())
		}
		return nil
	})
	if err := pg.Start(); err != nil {
		t.Fatal(err)
	}
	if err := late.WaitReady(waitLimit); err != nil {
		t.Fatal(err)
	}
	if notify(t, late.HTTP, "1", "after all") != 1 {
		t.Error("the first seq is not 1")
	}
}

func TestASignalDuringTheStartEndsIt(t *testing.T) {
	t.Parallel()
	p := testserver.Prepare(t, with("DATABASE_URL", fmt.Sprintf("postgres://u@127.0.0.1:%d/d", testserver.FreePort(t))))
	if err := p.Begin(); err != nil {
		t.Fatal(err)
	}
	testserver.Eventually(t, 10*time.Second, func() error {
		if !strings.Contains(p.Log(), "trying again") {
			return fmt.Errorf("it does not wait: %s", p.Log())
		}
		return nil
	})
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code, err := p.Wait(10 * time.Second); err != nil || code != 0 {
		t.Errorf("exit code %d, %v", code, err)
	}
}

// Development mode listens on loopback only, whatever the addresses are.
func TestDevelopmentModeListensOnLoopbackOnly(t *testing.T) {
	t.Parallel()
	port := testserver.FreePort(t)
	p := testserver.NewProgram(t, nil, fmt.Sprintf("--mqtt-addr=0.0.0.0:%d", port), fmt.Sprintf("--http-addr=:%d", testserver.FreePort(t)))
	out, err := exec.Command("sh", "-c", fmt.Sprintf("cat /proc/%d/net/tcp /proc/%d/net/tcp6", p.PID(), p.PID())).Output()
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("0100007F:%04X", port); !strings.Contains(string(out), want) {
		t.Errorf("not listening on 127.0.0.1:%d", port)
	}
	if bad := fmt.Sprintf("00000000:%04X", port); strings.Contains(string(out), " "+bad) {
		t.Errorf("listening on every address at port %d", port)
	}
}
