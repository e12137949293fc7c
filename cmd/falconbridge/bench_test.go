package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/falconalert/falconbridge/internal/bench"
	"github.com/falconalert/falconbridge/internal/testserver"
)

// load runs a load on p and decodes its JSON into out.
func load(t *testing.T, p *testserver.Program, out any, args ...string) {
	t.Helper()
	cmd := p.Command(append([]string{"bench"}, append(args, "--json")...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	b, err := cmd.Output()
	if err != nil {
		t.Fatalf("bench %v: %v: %s%s", args, err, b, stderr.String())
	}
	if err := json.Unmarshal(b, out); err != nil {
		t.Fatalf("%v in %s", err, b)
	}
}

func TestALoadCountsEveryDelivery(t *testing.T) {
	p := testserver.NewProgram(t, nil) // development mode: the load signs with its key
	for name, args := range map[string][]string{
		"over TCP":         {},
		"over a WebSocket": {"--mqtt-url", p.WS},
		"at a rate":        {"--rate", "100"},
		"by --url alone":   {"--url", p.HTTP},
	} {
		t.Run(name, func(t *testing.T) {
			var r bench.PostResult
			load(t, p, &r, append([]string{"post", "--posters=4", "--users=5", "--devices=2", "--max-posts=60", "--warm=0s", "--duration=20s"}, args...)...)
			if want := (bench.Delivery{Expected: 120, Received: 120}); r.Delivery != want {
				t.Errorf("%+v", r)
			}
			if r.Delivered.Count == 0 || r.Delivered.P99 < r.Delivered.P50 || r.PerSecond <= 0 {
				t.Errorf("nothing was measured: %+v", r)
			}
		})
	}
}

func TestALoadReplaysWhatDevicesMissed(t *testing.T) {
	p := testserver.NewProgram(t, nil)
	var r bench.ReplayResult
	load(t, p, &r, "replay", "--devices=3", "--missed=100")
	if want := (bench.Delivery{Expected: 300, Received: 300}); r.Delivery != want || r.Disorder != 0 || r.Device.Count != 3 {
		t.Errorf("%+v", r)
	}
}

func TestALoadKeepsConnectionsOpenAndLogsIn(t *testing.T) {
	p := testserver.NewProgram(t, map[string]string{"FALCON_CONNECT_RATE_PER_IP": "off"})
	var idle bench.IdleResult
	load(t, p, &idle, "idle", "--connections=20", "--hold=0s", "--settle=100ms", "--waves=2")
	if len(idle.Waves) != 2 || idle.Fault() != nil {
		t.Errorf("%+v", idle)
	}
	var logins bench.ConnectResult
	load(t, p, &logins, "connect", "--workers=4", "--max-logins=30", "--subscribe")
	if logins.Logins != 30 || logins.Refused+logins.Failed != 0 {
		t.Errorf("%+v", logins)
	}
}

func TestALoadStaysWithinItsLimits(t *testing.T) {
	p := testserver.Prepare(t, nil) // never started, because a refusal connects nowhere
	for name, tt := range map[string]struct {
		args []string
		says string
	}{
		"more devices than allowed":    {[]string{"post", "--users=30000"}, "--max-devices"},
		"longer than ever allowed":     {[]string{"post", "--duration=2h"}, "--duration"},
		"more posts than ever allowed": {[]string{"post", "--max-posts=999999999"}, "--max-posts"},
		"more posters than sensible":   {[]string{"post", "--posters=0"}, "--posters"},
		"more missed than is replayed": {[]string{"replay", "--missed=1001"}, "--missed"},
		"no server there":              {[]string{"connect", "--duration=1s"}, "is the server running"},
		"no such process":              {[]string{"idle", "--pid=99999999"}, "99999999"},
	} {
		t.Run(name, func(t *testing.T) {
			var stderr bytes.Buffer
			cmd := p.Command(append([]string{"bench"}, tt.args...)...)
			cmd.Stderr = &stderr
			err := cmd.Run()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != 1 {
				t.Errorf("ends with %v", err)
			}
			if !strings.Contains(stderr.String(), tt.says) || strings.Count(stderr.String(), "\n") > 2 {
				t.Errorf("says %s", stderr.String())
			}
		})
	}
}
