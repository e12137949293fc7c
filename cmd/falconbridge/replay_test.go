package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/testserver"
)

// falconalert has the data that FalconAlert stored: reports with their statuses, the
// notifications it wrote, its users' settings.
type falconalert struct {
	Reports []struct {
		ID     int64  `json:"id"`
		Title  string `json:"title"`
		User   int    `json:"created_by"`
		Status int    `json:"status_id"`
	} `json:"reports"`
	Notifications []struct {
		ID      int64  `json:"id"`
		Title   string `json:"title"`
		Message string `json:"message"`
	} `json:"notifications"`
	Settings []struct {
		User   int `json:"user_id"`
		Review int `json:"is_review_enabled"`
	} `json:"user_settings"`
}

func readFalconalert(t *testing.T) falconalert {
	t.Helper()
	b, err := os.ReadFile("../../testdata/falconalert.json")
	if err != nil {
		t.Fatal(err)
	}
	var f falconalert
	if err := json.Unmarshal(b, &f); err != nil {
		t.Fatal(err)
	}
	if len(f.Reports) != 30 || len(f.Notifications) != 7 || len(f.Settings) != 12 {
		t.Fatalf("%d reports, %d notifications, %d settings", len(f.Reports), len(f.Notifications), len(f.Settings))
	}
	return f
}

// subscribe starts mosquitto_sub on a user's topic and waits for its SUBACK.
func subscribe(t *testing.T, p *testserver.Program, version, user, id string) *process {
	t.Helper()
	host, port, _ := strings.Cut(p.MQTT, ":")
	// With stdbuf, because to a pipe it prints its SUBACK only
	// in whole blocks.
	s := begin(t, exec.Command("stdbuf", "-oL", testserver.MosquittoSub(t), "-d", "-h", host, "-p", port, "-V", version, "-q", "1",
		"-i", id, "-u", "x", "-P", sign(t, user, 0), "-t", "users/"+user+"/reports/status"))
	s.says(t, "Subscribed (mid:")
	return s
}

// What FalconAlert did with its own broker, it now does with two calls per decision,
// and users read the same words. Third-party clients receive them.
func TestFalconAlertsDataArrivesUnchanged(t *testing.T) {
	t.Parallel()
	for name, env := range databases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := testserver.NewProgram(t, env(t))
			f := readFalconalert(t)
			for _, s := range f.Settings {
				caller{base: p.HTTP, token: sign(t, fmt.Sprint(s.User), 0)}.do(t, "PATCH", "/settings",
					map[string]any{"is_review_enabled": s.Review}, 200, nil)
			}
			subscribers := []*process{
				subscribe(t, p, "311", "1", "old"), subscribe(t, p, "mqttv5", "1", "new"),
				subscribe(t, p, "mqttv5", "9", "muted"),
			}
			replay(t, p, f)

			one := caller{base: p.HTTP, token: sign(t, "1", 0)}.raws(t)
			slices.Reverse(one)
			for _, s := range subscribers[:2] {
				if got := s.json(t, len(one)); !slices.Equal(got, one) {
					t.Errorf("mosquitto_sub received %q, REST lists %q", got, one)
				}
			}
			compareWords(t, f, one)
			checkMuted(t, p, subscribers[2])
		})
	}
}

// replay creates every report and sets its status, as FalconAlert does.
func replay(t *testing.T, p *testserver.Program, f falconalert) {
	t.Helper()
	app := caller{base: p.HTTP, token: sign(t, "falconalert", bridge.ScopeReports|bridge.ScopeWrite)}
	for _, r := range f.Reports {
		var made struct{ ReportID int64 }
		app.do(t, "POST", "/reports", map[string]any{"id": r.ID, "title": r.Title, "created_by": r.User}, 201, &made)
		if made.ReportID != r.ID {
			t.Fatalf("report %d became %d", r.ID, made.ReportID)
		}
		var changed struct {
			Notification *item `json:"notification"`
		}
		app.do(t, "PUT", fmt.Sprintf("/admin/reports/%d/status", r.ID), map[string]any{"status_id": r.Status}, 200, &changed)
		if notified := changed.Notification != nil; notified != (r.Status != int(bridge.Pending)) {
			t.Errorf("report %d with status %d: notified %v", r.ID, r.Status, notified)
		}
	}
	// The report of its notification 7 was deleted, but its words remain.
	app.do(t, "POST", "/reports", map[string]any{"id": 900, "title": "Ximena Me vendió una compo falsa", "created_by": 1}, 201, nil)
	app.do(t, "PUT", "/admin/reports/900/status", map[string]any{"status_id": 2}, 200, nil)
	// Its notification 6 went to a moderator about another user's report, too.
	app.do(t, "POST", "/reports", map[string]any{"id": 901, "title": "Plataforma de inversión fraudulenta", "created_by": 1}, 201, nil)
	app.do(t, "PUT", "/admin/reports/901/status", map[string]any{"status_id": 3}, 200, nil)
	app.do(t, "POST", "/reports", map[string]any{"id": 902, "title": "Página de phishing detectada", "created_by": 1}, 201, nil)
	app.do(t, "PUT", "/admin/reports/902/status", map[string]any{"status_id": 2}, 200, nil)
}

// compareWords requires each of FalconAlert's notifications to be among ours. Its oldest
// one quotes title and status, which the current texts do not.
func compareWords(t *testing.T, f falconalert, ours []string) {
	t.Helper()
	have := make(map[string]bool)
	for _, raw := range ours {
		var n item
		if err := json.Unmarshal([]byte(raw), &n); err != nil {
			t.Fatal(err)
		}
		have[n.Title+"\n"+n.Message] = true
	}
	quoted := 0
	for _, n := range f.Notifications {
		message := n.Message
		if strings.Contains(message, `"`) {
			quoted++
			message = strings.ReplaceAll(message, `"`, "")
		}
		if !have[n.Title+"\n"+message] {
			t.Errorf("FalconAlert's notification %d is not among ours: %s", n.ID, message)
		}
	}
	if quoted != 1 {
		t.Errorf("%d notifications quote, want 1", quoted)
	}
}

// checkMuted changes the status of a report of user 9, who has is_review_enabled 0.
func checkMuted(t *testing.T, p *testserver.Program, nine *process) {
	t.Helper()
	app := caller{base: p.HTTP, token: sign(t, "falconalert", bridge.ScopeReports|bridge.ScopeWrite)}
	user := caller{base: p.HTTP, token: sign(t, "9", 0)}
	app.do(t, "PUT", "/admin/reports/42/status", map[string]any{"status_id": 2}, 200, nil)
	if got := user.raws(t); len(got) != 0 {
		t.Errorf("muted user 9 sees %q", got)
	}
	// After unmuting, everything is listed; new notifications are delivered, those
	// that arrived while muted are not.
	user.do(t, "PATCH", "/settings", map[string]any{"is_review_enabled": 1}, 200, nil)
	app.do(t, "PUT", "/admin/reports/43/status", map[string]any{"status_id": 3}, 200, nil)
	got := nine.json(t, 1)
	if all := user.raws(t); len(all) != 2 || len(got) != 1 || got[0] != all[0] {
		t.Errorf("user 9 received %q of %q", got, all)
	}
}
