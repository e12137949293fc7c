package main

import (
	"strings"
	"testing"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/testserver"
)

const sample = "../../testdata/falconalert.json"

// A server runs and a device listens while an application's past is loaded.
func TestAnImportIsListedAndNotDelivered(t *testing.T) {
	t.Parallel()
	for name, env := range databases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := testserver.NewProgram(t, env(t))
			one := caller{base: p.HTTP, token: sign(t, "1", 0)}
			tail := begin(t, p.Command("tail", "--user=1", "--persistent"))
			tail.says(t, "subscribed")

			run := func(want string) {
				t.Helper()
				out, errs, code := finish(t, p.Command("import", "--from="+sample))
				if code != 0 || !strings.Contains(out, want) {
					t.Fatalf("import: exit %d, %s%s; want %q", code, out, errs, want)
				}
			}
			run("notifications: 7 imported, 0 imported before")
			if got := one.raws(t); len(got) != 7 || !strings.Contains(got[0], `"seq":7,"kind":"report.status"`) {
				t.Fatalf("listed: %q", got)
			}
			var report struct {
				ID        int64  `json:"id"`
				Title     string `json:"title"`
				CreatedBy int64  `json:"created_by"`
				StatusID  int    `json:"status_id"`
			}
			admin := caller{base: p.HTTP, token: adminToken(t)}
			admin.do(t, "GET", "/reports/5", nil, 200, &report)
			if report.Title != "Plataforma de inversión fraudulenta" || report.CreatedBy != 2 || report.StatusID != 3 {
				t.Errorf("report 5 is %+v", report)
			}
			var settings struct {
				On int `json:"is_review_enabled"`
			}
			seven := caller{base: p.HTTP, token: sign(t, "7", 0)}
			if seven.do(t, "GET", "/settings", nil, 200, &settings); settings.On != 0 {
				t.Error("user 7 is not muted")
			}
			seven.do(t, "PATCH", "/settings", map[string]int{"is_review_enabled": 1}, 200, nil)
			one.do(t, "POST", "/notifications/read", map[string]any{}, 200, nil)

			run("notifications: 0 imported, 7 imported before")
			if seven.do(t, "GET", "/settings", nil, 200, &settings); settings.On != 1 {
				t.Error("a second import undid user 7's choice")
			}
			var count bridge.Count
			if one.do(t, "GET", "/notifications/count", nil, 200, &count); count != (bridge.Count{Total: 7, Last: 7}) {
				t.Errorf("after the second import: %+v", count)
			}
			if seq := notify(t, p.HTTP, "1", "live"); seq != 8 {
				t.Errorf("what follows has seq %d", seq)
			}
			if got := tail.json(t, 1); !strings.Contains(got[0], `"seq":8`) {
				t.Errorf("the device was given %q", got)
			}
		})
	}
}

func TestAFaultyImportChangesNothing(t *testing.T) {
	t.Parallel()
	p := testserver.NewProgram(t, production)
	caller{base: p.HTTP, token: adminToken(t)}.do(t, "POST", "/reports", map[string]any{"id": 7, "title": "Otro", "created_by": 3}, 201, nil)
	for name, tt := range map[string]struct{ from, want string }{
		"a file that is not there": {"nowhere.json", "--from (FALCON_FROM): no such file"},
		"two faults": {file(t, `{"reports": [{"id": 1, "title": "", "created_by": 1}], "notifications": [{"id": 1, "created_by": 1, "title": "T"}]}`),
			"reports[0].title is required\nfalconbridge: "},
		"an id that is another's": {sample, "reports[4].id already belongs to a report with another title or owner"},
	} {
		t.Run(name, func(t *testing.T) {
			out, errs, code := finish(t, p.Command("import", "--from="+tt.from))
			if code != 1 || out != "" || !strings.Contains(errs, tt.want) {
				t.Errorf("exit %d, %s%s; want 1 and %q", code, out, errs, tt.want)
			}
		})
	}
	if got := (caller{base: p.HTTP, token: sign(t, "1", 0)}).raws(t); len(got) != 0 {
		t.Errorf("listed: %q", got)
	}
	if out, _, code := finish(t, p.Command("import", "--dry-run", "--from="+sample)); code != 0 || !strings.Contains(out, "7 notifications can be imported") {
		t.Errorf("dry run: exit %d, %s", code, out)
	}
}
