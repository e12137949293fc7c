package db

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/falconalert/falconbridge/bridge"
)

// storeReport inserts a pending report of u.
func storeReport(t testing.TB, d *DB, id int64, u bridge.UserID) {
	t.Helper()
	exec(t, d, "INSERT INTO falcon_reports (id, user_id, title, status_id, created_at, updated_at) VALUES (?, ?, 'r', 1, 5, 5)", id, u)
}

func change(report int64, u bridge.UserID, to bridge.Status) bridge.Command {
	n := draft(u, "changed to "+bridge.English.Status(to))
	n.Kind, n.ReportID, n.StatusID = bridge.KindReportStatus, report, to
	return bridge.Command{Drafts: []bridge.Draft{n}, Change: &bridge.StatusChange{Report: report, Status: to, Title: "r", User: u}}
}

func TestAStatusChangesTogetherWithItsNotification(t *testing.T) {
	each(t, func(t *testing.T, d *DB) {
		storeReport(t, d, 7, "u")
		res := mustAppend(t, d, change(7, "u", bridge.Approved))
		if len(res.Appended) != 1 || res.Appended[0].ReportID != 7 || res.Report == nil || res.Report.Status != bridge.Approved {
			t.Fatalf("changed: %+v", res)
		}
		if !res.Report.UpdatedAt.Equal(res.Appended[0].CreatedAt) || res.Report.CreatedAt.UnixMilli() != 5 {
			t.Errorf("the report's times: %+v", res.Report)
		}
		if n := number(t, d, "SELECT status_id FROM falcon_reports WHERE id = 7"); n != 2 {
			t.Errorf("the stored status is %d", n)
		}
		res = mustAppend(t, d, change(7, "u", bridge.Approved))
		if len(res.Appended) != 0 || res.Report == nil || res.Report.Status != bridge.Approved {
			t.Errorf("the same status again: %+v", res)
		}

		// The status change is rolled back with its notification.
		poison(t, d)
		bad := change(7, "u", bridge.Rejected)
		bad.Drafts[0].Title = "poison"
		if _, err := d.Append(testContext(t), bad); err == nil {
			t.Fatal("a change with a rejected notification was stored")
		}
		if n := number(t, d, "SELECT status_id FROM falcon_reports WHERE id = 7"); n != 2 {
			t.Errorf("the status changed without its notification, to %d", n)
		}
		if got := seqs(t, d, "u"); !slices.Equal(got, upTo(1)) {
			t.Errorf("the log has %v", got)
		}
	})
}

func TestAMissingReportFailsOnlyItsOwnCaller(t *testing.T) {
	each(t, func(t *testing.T, d *DB) {
		storeReport(t, d, 7, "u")
		other := change(7, "u", bridge.Approved)
		other.Change.Title = "another text"
		for name, c := range map[string]bridge.Command{
			"no such report": change(8, "u", bridge.Approved),
			"another owner":  change(7, "v", bridge.Approved),
			"another title":  other,
		} {
			var wg sync.WaitGroup
			wg.Go(func() {
				if _, err := d.Append(context.Background(), c); !errors.Is(err, bridge.ErrNotFound) {
					t.Errorf("%s: %v, want ErrNotFound", name, err)
				}
			})
			wg.Go(func() {
				if _, err := d.Append(context.Background(), one("w", "t")); err != nil {
					t.Errorf("in parallel with %s: %v", name, err)
				}
			})
			wg.Wait()
		}
		if n := number(t, d, "SELECT status_id FROM falcon_reports WHERE id = 7"); n != 1 {
			t.Errorf("the status is %d", n)
		}
	})
}

func TestConcurrentStatusChangesOfAReportAreSerialized(t *testing.T) {
	each(t, func(t *testing.T, d *DB) {
		storeReport(t, d, 7, "u")
		var wg sync.WaitGroup
		var mu sync.Mutex
		appended := 0
		for i := range 24 {
			wg.Go(func() {
				res, err := d.Append(context.Background(), change(7, "u", bridge.Approved+bridge.Status(i%2)))
				if err != nil {
					t.Errorf("change: %v", err)
				}
				mu.Lock()
				defer mu.Unlock()
				appended += len(res.Appended)
			})
		}
		wg.Wait()
		ns, err := d.After(testContext(t), "u", 0, 100)
		if err != nil || len(ns) != appended {
			t.Fatalf("%d rows, but the calls returned %d, %v", len(ns), appended, err)
		}
		last := bridge.Pending
		for _, n := range ns {
			if n.StatusID == last {
				t.Errorf("seq %d repeats status %d", n.Seq, n.StatusID)
			}
			last = n.StatusID
		}
		if n := number(t, d, "SELECT status_id FROM falcon_reports WHERE id = 7"); n != int64(last) {
			t.Errorf("the report has status %d, its last notification %d", n, last)
		}
	})
}
