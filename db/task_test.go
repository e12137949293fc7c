package db

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/testserver"
	"github.com/uptrace/bun"
)

// breaker is a query hook that cancels a context before the nth statement of a kind.
type breaker struct {
	of     string
	left   atomic.Int64
	cancel context.CancelFunc
}

func (b *breaker) BeforeQuery(ctx context.Context, e *bun.QueryEvent) context.Context {
	if strings.HasPrefix(e.Query, b.of) || strings.HasPrefix(e.Query, "WITH") && strings.Contains(e.Query, b.of) {
		if b.left.Add(-1) == 0 {
			b.cancel()
		}
	}
	return ctx
}

func (b *breaker) AfterQuery(context.Context, *bun.QueryEvent) {}

// inSteps runs f on each kind of database with steps of 10 rows. The context that f gets is
// cancelled before the nth statement that begins with of. other closes the database and
// opens it again, as another node would.
func inSteps(t *testing.T, of string, nth int64, f func(t *testing.T, ctx context.Context, d *DB, other func() *DB)) {
	for name, url := range map[string]string{"SQLite": filepath.Join(t.TempDir(), "falcon.db"), "Postgres": testserver.Postgres(t)} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(testContext(t))
			defer cancel()
			b := &breaker{of: of, cancel: cancel}
			b.left.Store(nth)
			d := openTest(t, Options{URL: url, Hooks: []bun.QueryHook{b}})
			d.stepRows = 10
			f(t, ctx, d, func() *DB {
				must(t, d.Close())
				return openTest(t, Options{URL: url})
			})
		})
	}
}

// finish runs the remaining steps, calling between after each Continue, and returns how
// many steps there were.
func finish(t *testing.T, d *DB, between func()) (steps int) {
	t.Helper()
	for {
		n, err := d.Continue(testContext(t), 10)
		must(t, err)
		between()
		if steps += n; n == 0 {
			break
		}
	}
	if n := number(t, d, "SELECT count(*) FROM falcon_tasks"); n != 0 {
		t.Errorf("%d tasks are left", n)
	}
	return steps
}

func TestReadUpToIsFinishedAfterAnInterruption(t *testing.T) {
	inSteps(t, `UPDATE "falcon_notifications"`, 4, func(t *testing.T, ctx context.Context, d *DB, other func() *DB) {
		u := fresh()
		seed(t, d, u, 100)
		unread, done, err := d.ReadUpTo(ctx, u, 0)
		if err != nil || done || unread != 70 {
			t.Fatalf("ReadUpTo interrupted in the fourth step: %d unread, done %v, %v", unread, done, err)
		}
		checkCounts(t, d, u)
		d = other()
		mustAppend(t, d, one(u, "appended meanwhile")) // must stay unread
		if steps := finish(t, d, func() { checkCounts(t, d, u) }); steps != 7 {
			t.Errorf("finished in %d steps, want 7", steps)
		}
		c, err := d.Count(testContext(t), u)
		if want := (bridge.Count{Total: 101, Unread: 1, Last: 101}); err != nil || c != want {
			t.Errorf("counts %+v, %v; want %+v", c, err, want)
		}
	})
}

func TestReadUpToOfManyRowsIsDoneWhenItReturns(t *testing.T) {
	inSteps(t, "none", -1, func(t *testing.T, ctx context.Context, d *DB, _ func() *DB) {
		u := fresh()
		seed(t, d, u, 100)
		if unread, done, err := d.ReadUpTo(ctx, u, 55); err != nil || !done || unread != 45 {
			t.Errorf("up to 55: %d unread, done %v, %v", unread, done, err)
		}
		checkCounts(t, d, u)
		if unread, done, err := d.ReadUpTo(ctx, u, 0); err != nil || !done || unread != 0 {
			t.Errorf("all: %d unread, done %v, %v", unread, done, err)
		}
		checkCounts(t, d, u)
		finish(t, d, func() {})
	})
}

// manyOf gives u more rows in every table than fit in one step.
func manyOf(t *testing.T, d *DB, u bridge.UserID) (ns []bridge.Notification, reports []bridge.Report) {
	t.Helper()
	ctx := testContext(t)
	for i := range 25 {
		reports = append(reports, newReport(t, d, bridge.NewReport{Title: "T", User: u}))
		_, err := d.Append(ctx, bridge.Command{Key: &bridge.IdempotencyKey{Caller: u, Key: fmt.Sprint(i)}, Drafts: []bridge.Draft{draft(fresh(), "by u")}})
		must(t, err)
	}
	ns = seed(t, d, u, 100)
	subscribe(t, d, dev(u, "phone"), open(t, d, dev(u, "phone")).Generation)
	return ns, reports
}

// invisible checks that no call returns anything that manyOf created, but that all return
// the notifications that were appended since.
func invisible(t *testing.T, d *DB, u bridge.UserID, ns []bridge.Notification, reports []bridge.Report, start bridge.Position, appended ...bridge.Seq) {
	t.Helper()
	ctx := testContext(t)
	page, err := d.List(ctx, bridge.Query{User: u})
	must(t, err)
	if len(page.Items) != len(appended) || page.Count.Total != int64(len(appended)) || page.Count.Unread != page.Count.Total {
		t.Errorf("listed: %d of %+v", len(page.Items), page.Count)
	}
	unread, err := d.List(ctx, bridge.Query{User: u, Unread: true, Forward: true})
	must(t, err)
	if got := seqs(t, d, u); len(unread.Items) != len(appended) || !slices.Equal(got, appended) {
		t.Errorf("unread: %d; delivered: %v, want %v", len(unread.Items), got, appended)
	}
	starts, err := d.Starts(ctx, []bridge.UserID{u}, new(bridge.Seq), 1000)
	must(t, err)
	head, err := d.Head(ctx, u)
	must(t, err)
	again := subscribe(t, d, dev(u, "new"), open(t, d, dev(u, "new")).Generation)
	at, err := d.LatestAt(ctx, []bridge.UserID{u}, now(t, d))
	must(t, err)
	for name, latest := range map[string]*bridge.Notification{"Head": head.Latest, "Starts": starts[u].Latest, "Subscribe": again.Latest} {
		if (latest != nil) != (len(appended) > 0) {
			t.Errorf("%s returns the latest notification %v", name, latest)
		}
	}
	if len(at) != len(appended) {
		t.Errorf("the relay retains %v", at)
	}
	fed, _, _, err := d.Since(ctx, start, 1000)
	must(t, err)
	for _, n := range fed {
		if n.User == u && !slices.Contains(appended, n.Seq) {
			t.Errorf("the feed has seq %d", n.Seq)
		}
	}
	for _, n := range []bridge.Notification{ns[0], ns[99]} {
		_, err1 := d.Find(ctx, n.ID)
		_, err2 := d.Read(ctx, u, n.ID)
		if err3 := d.Delete(ctx, u, n.ID); !errors.Is(err1, bridge.ErrNotFound) || !errors.Is(err2, bridge.ErrNotFound) || !errors.Is(err3, bridge.ErrNotFound) {
			t.Errorf("seq %d: find %v, read %v, delete %v", n.Seq, err1, err2, err3)
		}
	}
	listed, _, err := d.ListReports(ctx, bridge.ReportQuery{User: u})
	must(t, err)
	last := reports[24]
	_, err1 := d.Report(ctx, last.ID)
	_, err2 := d.Append(ctx, bridge.Command{Change: &bridge.StatusChange{Report: last.ID, Status: bridge.Approved, Title: last.Title, User: u},
		Drafts: []bridge.Draft{draft(u, "T")}})
	if len(listed) != 0 || !errors.Is(err1, bridge.ErrNotFound) || !errors.Is(err2, bridge.ErrNotFound) {
		t.Errorf("reports: %d listed, find %v, change %v", len(listed), err1, err2)
	}
	checkCounts(t, d, u)
}

// now returns the current position of the feed.
func now(t *testing.T, d *DB) bridge.Position {
	t.Helper()
	p, err := d.Now(testContext(t))
	must(t, err)
	return p
}

func TestErasedRowsAreInvisibleAtOnceAndRemovedAfterAnInterruption(t *testing.T) {
	for name, grows := range map[string]bool{"without an append meanwhile": false, "with an append meanwhile": true} {
		t.Run(name, func(t *testing.T) {
			inSteps(t, `DELETE FROM "falcon_notifications"`, 4, func(t *testing.T, ctx context.Context, d *DB, reopen func() *DB) {
				u, other := fresh(), fresh()
				start := now(t, d)
				ns, reports := manyOf(t, d, u)
				seed(t, d, other, 3)
				if done, err := d.Erase(ctx, u); err != nil || done {
					t.Fatalf("Erase interrupted in the fourth step: done %v, %v", done, err)
				}
				if n := number(t, d, "SELECT count(*) FROM falcon_notifications WHERE user_id = ?", u); n <= 50 || n >= 100 {
					t.Errorf("%d rows are left", n)
				}
				invisible(t, d, u, ns, reports, start)
				var appended []bridge.Seq
				if grows {
					appended = append(appended, mustAppend(t, d, one(u, "meanwhile")).Appended[0].Seq)
				}
				d = reopen()
				finish(t, d, func() { invisible(t, d, u, ns, reports, start, appended...) })
				for table, column := range userColumns {
					n := number(t, d, "SELECT count(*) FROM "+table+" WHERE "+column+" = ?", u)
					if n > 0 && table != "falcon_sessions" && !(grows && (table == "falcon_inboxes" || table == "falcon_notifications") && n == 1) {
						t.Errorf("%s has %d rows of the erased user", table, n)
					}
				}
				want := bridge.Seq(1)
				if grows {
					want = 102
				}
				if got := mustAppend(t, d, one(u, "after")).Appended[0].Seq; got != want {
					t.Errorf("the next seq is %d, want %d", got, want)
				}
				checkCounts(t, d, u)
				checkCounts(t, d, other)
			})
		})
	}
}

// A device that connects during an erasure gets a cursor in the log that is being erased.
// The end of the erasure must therefore end its connection and session.
func TestAnErasureEndsSessionsThatWereOpenedMeanwhile(t *testing.T) {
	inSteps(t, `DELETE FROM "falcon_notifications"`, 4, func(t *testing.T, ctx context.Context, d *DB, other func() *DB) {
		u := fresh()
		seed(t, d, u, 100)
		_, err := d.Erase(ctx, u)
		must(t, err)
		s := open(t, d, dev(u, "phone"))
		subscribe(t, d, dev(u, "phone"), s.Generation)
		d = other()
		finish(t, d, func() {})
		orders, _, err := d.Poll(testContext(t), "n1", time.Time{})
		must(t, err)
		if !slices.ContainsFunc(orders, func(o bridge.Order) bool {
			return o.User == u && o.Reason == bridge.EndErased && o.Before > s.Generation
		}) {
			t.Errorf("the orders are %+v, the connection's generation is %d", orders, s.Generation)
		}
		if s := open(t, d, dev(u, "phone")); s.Present {
			t.Errorf("a session in the erased log is still there: %+v", s)
		}
	})
}

func TestASecondErasureErasesWhatWasAppendedDuringTheFirst(t *testing.T) {
	inSteps(t, `DELETE FROM "falcon_notifications"`, 4, func(t *testing.T, ctx context.Context, d *DB, _ func() *DB) {
		u := fresh()
		seed(t, d, u, 100)
		_, err := d.Erase(ctx, u)
		must(t, err)
		seed(t, d, u, 30)
		if done, err := d.Erase(testContext(t), u); err != nil || !done {
			t.Errorf("the second erasure: done %v, %v", done, err)
		}
		if n := number(t, d, "SELECT count(*) FROM falcon_notifications WHERE user_id = ?", u); n != 0 {
			t.Errorf("%d rows are left", n)
		}
		if got := mustAppend(t, d, one(u, "after")).Appended[0].Seq; got != 1 {
			t.Errorf("the next seq is %d, want 1", got)
		}
	})
}

func TestRetentionDuringAnErasureKeepsCountsExact(t *testing.T) {
	inSteps(t, `DELETE FROM "falcon_notifications"`, 4, func(t *testing.T, ctx context.Context, d *DB, _ func() *DB) {
		u := fresh()
		seed(t, d, u, 100)
		_, err := d.Erase(ctx, u)
		must(t, err)
		seed(t, d, u, 20)
		for range 20 {
			_, err := d.Retain(testContext(t), time.Now().Add(time.Hour), 10)
			must(t, err)
			checkCounts(t, d, u)
		}
		finish(t, d, func() { checkCounts(t, d, u) })
	})
}

// The rows that an erasure deletes have been invisible since it began, so it needs no lock
// of the inbox: it does not wait for appends, nor they for it.
func TestTheStepsOfAnErasureNeedNoLockOfTheInbox(t *testing.T) {
	d := openTest(t, Options{URL: testserver.Postgres(t)})
	u, ctx := fresh(), testContext(t)
	seed(t, d, u, 30)
	d.stepRows = 10
	must(t, d.beginErase(ctx, u))
	release := lockInbox(t, d, u)
	defer release()
	for want := int64(20); want >= 0; want -= 10 {
		_, err := d.stepTask(ctx, eraseTask, u, 10, false)
		must(t, err)
		if n := number(t, d, "SELECT count(*) FROM falcon_notifications WHERE user_id = ?", u); n != want {
			t.Errorf("%d rows are left, want %d", n, want)
		}
	}
}
