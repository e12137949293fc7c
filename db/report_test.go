package db

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

func TestReports(t *testing.T) {
	together(t, map[string]func(*testing.T, *DB){
		"a report is found as it was stored":                testReportRoundTrip,
		"an id that is in use is a conflict":                testReportConflict,
		"generated ids skip the ids that callers gave":      testReportIdentity,
		"given and generated ids can be added concurrently": testReportIdentityRace,
		"reports are listed in pages":                       testReportPages,
		"a report that does not exist is not found":         testReportMissing,
		"the title keeps every character":                   testReportTitle,
		"erasing a user removes only that user's reports":   testReportErase,
		"a report can be added with any status":             testReportStatus,
	})
}

func newReport(t testing.TB, d *DB, r bridge.NewReport) bridge.Report {
	t.Helper()
	r, err := r.Check()
	must(t, err)
	out, err := d.AddReport(testContext(t), r)
	must(t, err)
	return out
}

// freeReport returns a report ID far above all existing ones.
func freeReport(t testing.TB, d *DB) int64 {
	t.Helper()
	return number(t, d, "SELECT coalesce(max(id), 0) FROM falcon_reports") + 1000
}

func testReportRoundTrip(t *testing.T, d *DB) {
	u := fresh()
	begun := time.Now().Add(-time.Millisecond)
	added := newReport(t, d, bridge.NewReport{Title: "Página de phishing", User: u})
	found, err := d.Report(testContext(t), added.ID)
	if err != nil || found != added {
		t.Errorf("found %+v, %v; added %+v", found, err, added)
	}
	if added.ID == 0 || added.Status != bridge.Pending || added.User != u || added.Title != "Página de phishing" ||
		!added.CreatedAt.Equal(added.UpdatedAt) || added.CreatedAt.Before(begun) {
		t.Errorf("added %+v", added)
	}
}

func testReportConflict(t *testing.T, d *DB) {
	id := freeReport(t, d)
	first := newReport(t, d, bridge.NewReport{ID: id, Title: "One", User: fresh()})
	if first.ID != id {
		t.Fatalf("stored as %d", first.ID)
	}
	_, err := d.AddReport(testContext(t), bridge.NewReport{ID: id, Title: "Two", User: fresh(), Status: bridge.Pending})
	if !errors.Is(err, bridge.ErrConflict) {
		t.Errorf("a second report with the ID: %v, want ErrConflict", err)
	}
	if found, err := d.Report(testContext(t), id); err != nil || found != first {
		t.Errorf("the first is now %+v, %v", found, err)
	}
}

func testReportIdentity(t *testing.T, d *DB) {
	u := fresh()
	id := freeReport(t, d)
	newReport(t, d, bridge.NewReport{ID: id, Title: "Given", User: u})
	if next := newReport(t, d, bridge.NewReport{Title: "Automatic", User: u}); next.ID != id+1 {
		t.Errorf("after id %d the next is %d", id, next.ID)
	}
	newReport(t, d, bridge.NewReport{ID: id + 2, Title: "Given", User: u}) // the ID that would be generated next
	newReport(t, d, bridge.NewReport{ID: id - 5, Title: "Given", User: u}) // a lower ID
	if next := newReport(t, d, bridge.NewReport{Title: "Automatic", User: u}); next.ID != id+3 {
		t.Errorf("after id %d the next is %d", id+2, next.ID)
	}
}

func testReportIdentityRace(t *testing.T, d *DB) {
	u, ctx := fresh(), testContext(t)
	from := freeReport(t, d)
	var wg sync.WaitGroup
	errs := make([]error, 4)
	for w := range errs {
		wg.Go(func() {
			for i := range int64(15) {
				r := bridge.NewReport{Title: "T", User: u, Status: bridge.Pending}
				if w%2 == 0 {
					r.ID = from + 2*i + int64(w/2)
				}
				_, err := d.AddReport(ctx, r)
				if r.ID != 0 && errors.Is(err, bridge.ErrConflict) {
					err = nil // the ID was generated before
				}
				errs[w] = errors.Join(errs[w], err)
			}
		})
	}
	wg.Wait()
	must(t, errors.Join(errs...))
	if n := number(t, d, "SELECT count(*) FROM falcon_reports WHERE user_id = ?", u); n < 30 || n > 60 {
		t.Errorf("%d reports", n)
	}
}

func testReportPages(t *testing.T, d *DB) {
	u, other, ctx := fresh(), fresh(), testContext(t)
	from := freeReport(t, d)
	for i := range int64(5) {
		newReport(t, d, bridge.NewReport{ID: from + 2*i, Title: "Own", User: u})
		newReport(t, d, bridge.NewReport{ID: from + 2*i + 1, Title: "Other's", User: other})
	}
	for name, tt := range map[string]struct {
		q    bridge.ReportQuery
		want []int64
		more bool
	}{
		"a user's newest":       {bridge.ReportQuery{User: u, Limit: 2}, []int64{8, 6}, true},
		"a user's next":         {bridge.ReportQuery{User: u, Before: from + 6, Limit: 3}, []int64{4, 2, 0}, false},
		"all users', newest":    {bridge.ReportQuery{Limit: 3}, []int64{9, 8, 7}, true},
		"all users', next":      {bridge.ReportQuery{Before: from + 2, Limit: 2}, []int64{1, 0}, true},
		"of a user without any": {bridge.ReportQuery{User: fresh(), Limit: 2}, []int64{}, false},
		"no limit: the default": {bridge.ReportQuery{User: other}, []int64{9, 7, 5, 3, 1}, false},
		"a page that fits all":  {bridge.ReportQuery{User: u, Limit: 5}, []int64{8, 6, 4, 2, 0}, false},
		"before the first":      {bridge.ReportQuery{User: u, Before: from, Limit: 5}, []int64{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			page, more, err := d.ListReports(ctx, tt.q)
			must(t, err)
			ids := []int64{}
			for _, r := range page {
				ids = append(ids, r.ID-from)
			}
			if fmt.Sprint(ids) != fmt.Sprint(tt.want) || more != tt.more && tt.q.User != "" || page == nil {
				t.Errorf("got %v, more %v", ids, more)
			}
		})
	}
}

func testReportMissing(t *testing.T, d *DB) {
	if _, err := d.Report(testContext(t), 1<<50); !errors.Is(err, bridge.ErrNotFound) {
		t.Errorf("got %v", err)
	}
}

func testReportTitle(t *testing.T, d *DB) {
	title := `It's "a" \ ? $1 %s {x} -- ; 🦅`
	added := newReport(t, d, bridge.NewReport{Title: title, User: fresh()})
	if found, err := d.Report(testContext(t), added.ID); err != nil || found.Title != title {
		t.Errorf("found %q, %v", found.Title, err)
	}
}

func testReportStatus(t *testing.T, d *DB) {
	added := newReport(t, d, bridge.NewReport{Title: "T", User: fresh(), Status: bridge.Rejected})
	if added.Status != bridge.Rejected {
		t.Errorf("added %+v", added)
	}
}

func testReportErase(t *testing.T, d *DB) {
	u := fresh()
	gone := newReport(t, d, bridge.NewReport{Title: "T", User: u})
	kept := newReport(t, d, bridge.NewReport{Title: "T", User: fresh()})
	must(t, second(d.Erase(testContext(t), u)))
	if _, err := d.Report(testContext(t), gone.ID); !errors.Is(err, bridge.ErrNotFound) {
		t.Errorf("the erased user's report: %v, want ErrNotFound", err)
	}
	if found, err := d.Report(testContext(t), kept.ID); err != nil || found != kept {
		t.Errorf("the other user's report: %+v, %v", found, err)
	}
}
