package db

import (
	"fmt"
	"slices"
	"testing"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/testserver"
)

// drain reads the feed from p to its end, at most limit rows at a time, and returns each
// row as its user and seq, and the new position.
func drain(t *testing.T, d *DB, p bridge.Position, limit int) ([]string, bridge.Position) {
	t.Helper()
	var out []string
	for {
		ns, next, more, err := d.Since(testContext(t), p, limit)
		if err != nil {
			t.Fatalf("since: %v", err)
		}
		if len(ns) > limit {
			t.Fatalf("a call returned %d rows, want at most %d", len(ns), limit)
		}
		for _, n := range ns {
			out = append(out, fmt.Sprintf("%s%d", n.User, n.Seq))
		}
		if p = next; !more {
			return out, p
		}
	}
}

func TestTheFeedReturnsEveryRowOnceInSeqOrder(t *testing.T) {
	each(t, func(t *testing.T, d *DB) {
		var want []string
		for i := range 12 {
			u := bridge.UserID([]string{"a", "b", "c"}[i%3])
			mustAppend(t, d, one(u, "t"))
			want = append(want, fmt.Sprintf("%s%d", u, i/3+1))
		}
		for _, limit := range []int{1, 5, 12, 100} {
			if got, _ := drain(t, d, "", limit); !slices.Equal(got, want) {
				t.Errorf("in steps of %d: %v, want %v", limit, got, want)
			}
		}
		now, err := d.Now(testContext(t))
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := drain(t, d, now, 5); len(got) != 0 {
			t.Errorf("after now: %v", got)
		}
		exec(t, d, "UPDATE falcon_inboxes SET review_enabled = ? WHERE user_id = 'b'", false)
		mustAppend(t, d, bridge.Command{Drafts: []bridge.Draft{draft("b", "muted"), draft("a", "t")}})
		got, end := drain(t, d, now, 5)
		if !slices.Equal(got, []string{"a5"}) {
			t.Errorf("since now: %v, want a5 only", got)
		}
		changes, _, _, err := d.Changed(testContext(t), now, 10)
		if err != nil || !slices.Equal(changes, []bridge.Change{{User: "a", Last: 5}}) {
			t.Errorf("changed: %v, %v", changes, err)
		}
		if changes, _, _, err = d.Changed(testContext(t), end, 10); err != nil || len(changes) != 0 {
			t.Errorf("changed after the end: %v, %v", changes, err)
		}
	})
}

func TestRetainedReturnsEveryUsersLatestRow(t *testing.T) {
	each(t, func(t *testing.T, d *DB) {
		for _, u := range []bridge.UserID{"d", "b", "a", "c", "b"} {
			mustAppend(t, d, one(u, "t"))
		}
		exec(t, d, "UPDATE falcon_inboxes SET review_enabled = ? WHERE user_id = 'c'", false)
		exec(t, d, "DELETE FROM falcon_notifications WHERE user_id = 'd'")
		var got []string
		for after := bridge.UserID(""); ; {
			ns, err := d.Retained(testContext(t), after, 1)
			if err != nil {
				t.Fatal(err)
			}
			if len(ns) == 0 {
				break
			}
			after = ns[0].User
			got = append(got, fmt.Sprintf("%s%d", ns[0].User, ns[0].Seq))
		}
		if !slices.Equal(got, []string{"a1", "b2"}) {
			t.Errorf("retained: %v, want a1 b2", got)
		}
	})
}

// An application's transaction may get its ID long before it notifies a user, so that its
// row has a lower xid but a higher seq than rows of later transactions. The feed must not
// lose such a row, and must not return a user's seqs out of order.
func TestTheFeedNeitherLosesNorReordersALongTransaction(t *testing.T) {
	d := openTest(t, Options{URL: testserver.Postgres(t)})
	ctx := testContext(t)
	mustAppend(t, d, one("a", "t"))
	_, p := drain(t, d, "", 10)
	tx := idle(t, d, "SELECT pg_current_xact_id()")
	mustAppend(t, d, one("a", "t"))
	mustAppend(t, d, one("b", "t"))
	if got, _ := drain(t, d, p, 10); len(got) != 0 {
		t.Errorf("while an older transaction is open the feed shows %v", got)
	}
	changes, _, _, err := d.Changed(ctx, p, 10)
	if err != nil || len(changes) != 2 {
		t.Errorf("the sweep waits for it: %v, %v", changes, err)
	}
	if _, err := tx.ExecContext(ctx, "SELECT falcon_notify('a', 'late', 'm')"); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, d, one("a", "t"))
	for _, limit := range []int{1, 2, 10} {
		if got, _ := drain(t, d, p, limit); !slices.Equal(got, []string{"a2", "b1", "a3", "a4"}) && !slices.Equal(got, []string{"a2", "a3", "b1", "a4"}) {
			t.Errorf("in steps of %d the feed shows %v", limit, got)
		}
	}
}

// Starts returns for many users at once what Head and Skip return for one.
func TestStartsAgreesWithHeadAndSkip(t *testing.T) {
	each(t, func(t *testing.T, d *DB) {
		ctx := testContext(t)
		users := []bridge.UserID{fresh(), fresh(), fresh(), fresh()}
		for i, u := range users[:3] {
			seed(t, d, u, 4+i)
		}
		must(t, set(ctx, d, users[1], bridge.Settings{}))
		exec(t, d, "DELETE FROM falcon_notifications WHERE user_id = ? AND seq IN (4, 6)", users[2])
		for _, since := range []bridge.Seq{-1, 0, 1, 3, 6, 99} {
			starts, err := d.Starts(ctx, users, &since, 3)
			must(t, err)
			for _, u := range users {
				head, err := d.Head(ctx, u)
				must(t, err)
				after, err := d.Skip(ctx, u, max(0, min(since, head.Last)), 3)
				must(t, err)
				got := starts[u]
				if got.Last != head.Last || got.After != after || (got.Latest == nil) != (head.Latest == nil) ||
					got.Latest != nil && got.Latest.ID != head.Latest.ID {
					t.Errorf("since %d of %s: %+v, want after %d of %+v", since, u, got, after, head)
				}
			}
		}
		starts, err := d.Starts(ctx, users, nil, 3)
		must(t, err)
		if got := starts[users[0]]; got.Last != 4 || got.After != 4 || got.Latest == nil || len(starts) != 3 {
			t.Errorf("without since: %+v of %d", got, len(starts))
		}
	})
}

func TestHeadAndSkip(t *testing.T) {
	each(t, func(t *testing.T, d *DB) {
		ctx := testContext(t)
		if h, err := d.Head(ctx, "nobody"); err != nil || h.Last != 0 || h.Latest != nil {
			t.Errorf("the head of a user without an inbox: %+v, %v", h, err)
		}
		for range 10 {
			mustAppend(t, d, one("u", "t"))
		}
		if h, err := d.Head(ctx, "u"); err != nil || h.Last != 10 || h.Latest == nil || h.Latest.Seq != 10 {
			t.Errorf("head: %+v, %v", h, err)
		}
		for name, tt := range map[string]struct {
			after bridge.Seq
			limit int
			want  bridge.Seq
		}{
			"fewer missed than the cap": {after: 6, limit: 5, want: 6},
			"as many as the cap":        {after: 5, limit: 5, want: 5},
			"one more than the cap":     {after: 4, limit: 5, want: 5},
			"all missed":                {after: 0, limit: 3, want: 7},
			"nothing missed":            {after: 10, limit: 3, want: 10},
		} {
			if got, err := d.Skip(ctx, "u", tt.after, tt.limit); err != nil || got != tt.want {
				t.Errorf("%s: %d, %v, want %d", name, got, err, tt.want)
			}
		}
		exec(t, d, "DELETE FROM falcon_notifications WHERE seq IN (8, 10)")
		if got, err := d.Skip(ctx, "u", 0, 3); err != nil || got != 5 {
			t.Errorf("with deleted rows: %d, %v, want 5", got, err)
		}
		if h, err := d.Head(ctx, "u"); err != nil || h.Last != 10 || h.Latest == nil || h.Latest.Seq != 9 {
			t.Errorf("the head after the last row was deleted: %+v, %v", h, err)
		}
	})
}

// changedUsers reads the sweep from p to its end and returns the users it found, each
// once. It fails if a call returns more than two steps of limit rows.
func changedUsers(t *testing.T, d *DB, p bridge.Position, limit int) (users []bridge.UserID, next bridge.Position) {
	t.Helper()
	for more := true; more; {
		var cs []bridge.Change
		var err error
		cs, p, more, err = d.Changed(testContext(t), p, limit)
		must(t, err)
		if len(cs) > 2*limit {
			t.Fatalf("a call returned %d users, but a step has %d rows", len(cs), limit)
		}
		for _, c := range cs {
			if !slices.Contains(users, c.User) {
				users = append(users, c.User)
			}
		}
	}
	return users, p
}

// A busy cluster appends more between two sweeps than one call reads. Without an open
// transaction, reading it in several calls must not read any of it again, or the sweep of a
// busy cluster would cost as much as a second one that never ends.
func TestTheSweepReadsEachRowOnce(t *testing.T) {
	each(t, func(t *testing.T, d *DB) {
		p, err := d.Now(testContext(t))
		must(t, err)
		var found []string
		want := 0
		for range 3 {
			for i := range 25 {
				mustAppend(t, d, one(bridge.UserID(fmt.Sprint("u", i)), "t"))
			}
			want += 25
			for more := true; more; {
				var cs []bridge.Change
				cs, p, more, err = d.Changed(testContext(t), p, 10)
				must(t, err)
				for _, c := range cs {
					found = append(found, fmt.Sprint(c.User, "/", c.Last))
				}
			}
		}
		if len(found) != want {
			t.Errorf("the sweep returned %d changes of %d: %v", len(found), want, found)
		}
	})
}

// While a transaction stays idle, the horizon below which all rows are final does not
// advance. The sweep still finds what others append and rereads a bounded number of rows
// per call. Once the transaction commits, the sweep finds its rows too, however many other
// rows there are by then.
func TestTheSweepIsBoundedUnderALongTransaction(t *testing.T) {
	for _, limit := range []int{1, 2, 3, 5, 10, 26} { // laps that end with a full page, and others
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			d := openTest(t, Options{URL: testserver.Postgres(t)})
			ctx := testContext(t)
			mustAppend(t, d, one("late", "t"))
			mustAppend(t, d, one("first", "t"))
			p, err := d.Now(ctx)
			must(t, err)
			tx := idle(t, d, "SELECT falcon_notify('late', 'late', 'm')")
			for i := range 25 {
				mustAppend(t, d, one(bridge.UserID(fmt.Sprint("u", i)), "t"))
			}
			got, p := changedUsers(t, d, p, limit)
			if len(got) != 25 {
				t.Errorf("the sweep found %d of 25 users: %v", len(got), got)
			}
			mustAppend(t, d, one("first", "t"))
			if got, p = changedUsers(t, d, p, limit); !slices.Contains(got, "first") {
				t.Errorf("with 25 rows above the horizon the sweep found %v", got)
			}
			must(t, tx.Commit())
			for calls := 0; !slices.Contains(got, "late"); calls++ { // at most what is left of one lap, and another
				if calls > 2*27/limit+3 {
					t.Fatal("the sweep does not find what the long transaction appended")
				}
				got, p = changedUsers(t, d, p, limit)
			}
			for range 2*27/limit + 3 {
				_, p = changedUsers(t, d, p, limit)
			}
			if got, _ = changedUsers(t, d, p, limit); len(got) != 0 {
				t.Errorf("with nothing new the sweep still finds %v", got)
			}
		})
	}
}

// A lap may end with a full page, just where the sweep is. What has become visible behind it
// meanwhile must still be found.
func TestALapThatEndsWithAFullPageIsFollowedByAnother(t *testing.T) {
	d := openTest(t, Options{URL: testserver.Postgres(t)})
	ctx := testContext(t)
	mustAppend(t, d, one("late", "t"))
	p, err := d.Now(ctx)
	must(t, err)
	tx := idle(t, d, "SELECT falcon_notify('late', 'late', 'm')")
	mustAppend(t, d, one("a", "t"))
	_, p, _, err = d.Changed(ctx, p, 1) // reads it ahead
	must(t, err)
	_, p, _, err = d.Changed(ctx, p, 1) // reads it again, as a lap
	must(t, err)
	must(t, tx.Commit())
	var found []bridge.Change
	for range 4 {
		var cs []bridge.Change
		cs, p, _, err = d.Changed(ctx, p, 1)
		must(t, err)
		found = append(found, cs...)
	}
	if !slices.ContainsFunc(found, func(c bridge.Change) bool { return c.User == "late" }) {
		t.Errorf("the sweep does not find what the long transaction appended: %v", found)
	}
}
