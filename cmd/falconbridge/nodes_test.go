package main

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/internal/testserver"
)

// Two nodes on one database: a notification posted to one reaches a device on the other,
// and a device that moves between them is one device.
func TestTwoNodesActAsOne(t *testing.T) {
	t.Parallel()
	for name, extra := range map[string]func(t *testing.T) []string{
		"over Postgres": func(*testing.T) []string { return nil },
		"over Redis":    func(t *testing.T) []string { return []string{"--bus=" + testserver.NewRedis(t).URL} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := with("DATABASE_URL", testserver.Postgres(t))
			args := extra(t)
			a, b := testserver.NewProgram(t, env, args...), testserver.NewProgram(t, env, args...)
			device := subscribe(t, b, "mqttv5", "1", "phone")
			notify(t, a.HTTP, "1", "across")
			device.json(t, 1)
			begun := time.Now()
			for range 4 {
				notify(t, a.HTTP, "1", "across")
				device.json(t, 1)
			}
			// With the sweep alone each would take 5 s after the one before.
			if took := time.Since(begun); took > 15*time.Second {
				t.Errorf("four took %v from node to node: no hint came", took)
			}
			moved := subscribe(t, a, "mqttv5", "1", "phone")
			device.says(t, "Received DISCONNECT (142)") // 0x8E, taken over
			notify(t, b.HTTP, "1", "moved")
			if got := moved.json(t, 2); len(got) != 2 {
				t.Errorf("after the move: %q", got)
			}
			var nodes any
			caller{base: a.HTTP, token: adminToken(t)}.do(t, "GET", "/admin/stats", nil, 200, &nodes)
			if text := fmt.Sprint(nodes); text == "" {
				t.Error("no figures")
			}
		})
	}
}

// With --relay-url an external broker also gets every notification, retained, and
// the relay continues where it was when a node dies.
func TestAnExternalBrokerReceivesNotifications(t *testing.T) {
	t.Parallel()
	m := testserver.NewMosquitto(t, "allow_anonymous true")
	p := testserver.NewProgram(t, production, "--relay-url="+m.URL)
	notify(t, p.HTTP, "1", "before the kill")
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	notify(t, p.HTTP, "1", "after the kill")
	host, port, _ := strings.Cut(m.Addr, ":")
	latest := caller{base: p.HTTP, token: sign(t, "1", 0)}.raws(t)[0]
	testserver.Eventually(t, 20*time.Second, func() error {
		out, err := exec.CommandContext(t.Context(), testserver.MosquittoSub(t), "-h", host, "-p", port, "-q", "1",
			"-t", "users/1/reports/status", "--retained-only", "-C", "1", "-W", "1").Output()
		if got := strings.TrimSpace(string(out)); err != nil || got != latest {
			return fmt.Errorf("%v, %q, want %q", err, got, latest)
		}
		return nil
	})
}
