package db

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// under returns a draft that supersedes u's earlier notifications with the key.
func under(u bridge.UserID, key, title string) bridge.Draft {
	n := draft(u, title)
	n.Replaces = key
	return n
}

// expire moves the expiry of a notification of u into the past.
func expire(t *testing.T, d *DB, u bridge.UserID, seq bridge.Seq) {
	t.Helper()
	exec(t, d, "UPDATE falcon_notifications SET expires_at = 1 WHERE user_id = ? AND seq = ?", u, seq)
}

// stones returns why each of u's removed notifications was removed, by seq.
func stones(t *testing.T, d *DB, u bridge.UserID) map[bridge.Seq]why {
	t.Helper()
	var rows []tombstone
	must(t, d.read.NewSelect().Model(&rows).Where("user_id = ?", u).Scan(testContext(t)))
	out := make(map[bridge.Seq]why)
	for _, r := range rows {
		if r.At == 0 || r.CommittedAt == 0 || r.Kind == "" || r.ID == 0 {
			t.Errorf("a tombstone lacks a field: %+v", r)
		}
		out[r.Seq] = r.Why
	}
	return out
}

// hasSeqs checks that the replay and the history have exactly the notifications want, and
// that every call that returns counts or the latest notification agrees with them.
func hasSeqs(t *testing.T, d *DB, u bridge.UserID, want ...bridge.Seq) {
	t.Helper()
	if got := seqs(t, d, u); !slices.Equal(got, want) {
		t.Errorf("the replay has %v, want %v", got, want)
	}
	ctx := testContext(t)
	page, err := d.List(ctx, bridge.Query{User: u, Limit: 100, Forward: true})
	must(t, err)
	if int(page.Count.Total) != len(want) || len(page.Items) != len(want) {
		t.Errorf("the history has %d items and counts %+v, want %d", len(page.Items), page.Count, len(want))
	}
	count, err := d.Count(ctx, u)
	must(t, err)
	if count != page.Count {
		t.Errorf("Count returns %+v, List %+v", count, page.Count)
	}
	state, err := d.Changes(ctx, u, 0)
	must(t, err)
	if got := (bridge.Count{Total: state.Total, Unread: state.Unread, Last: state.Last}); got != page.Count || state.Rev != page.Rev {
		t.Errorf("Changes returns %+v at rev %d, List %+v at rev %d", got, state.Rev, page.Count, page.Rev)
	}
	revs, err := d.Revs(ctx, []bridge.UserID{u, "nobody"})
	must(t, err)
	if revs[u] != page.Rev || revs["nobody"] != 0 {
		t.Errorf("Revs returns %v, List rev %d", revs, page.Rev)
	}
	head, err := d.Head(ctx, u)
	must(t, err)
	switch {
	case len(want) == 0 && head.Latest != nil, len(want) > 0 && (head.Latest == nil || head.Latest.Seq != want[len(want)-1]):
		t.Errorf("the latest is %+v, want the last of %v", head.Latest, want)
	}
}

func TestSupersessionLeavesOnlyTheLastOfAKey(t *testing.T) {
	together(t, map[string]func(t *testing.T, d *DB){
		"a superseded notification is in no history, count, replay or retained message": func(t *testing.T, d *DB) {
			u := fresh()
			first := mustAppend(t, d, bridge.Command{Drafts: []bridge.Draft{under(u, "k", "1"), draft(u, "2"), under(u, "other", "3")}})
			mustAppend(t, d, bridge.Command{Drafts: []bridge.Draft{under(u, "k", "4")}})
			hasSeqs(t, d, u, 2, 3, 4)
			if got := stones(t, d, u); len(got) != 1 || got[1] != superseded {
				t.Errorf("tombstones %v", got)
			}
			if _, err := d.Read(testContext(t), u, first.Appended[0].ID); !errors.Is(err, bridge.ErrNotFound) {
				t.Errorf("marking a superseded notification as read: %v, want ErrNotFound", err)
			}
			checkCounts(t, d, u)
		},
		"the last of a batch supersedes the others, and each has a seq": func(t *testing.T, d *DB) {
			u, v := fresh(), fresh()
			res := mustAppend(t, d, bridge.Command{Drafts: []bridge.Draft{under(u, "k", "1"), under(v, "k", "1"), under(u, "k", "2"), draft(u, "3"), under(u, "k", "4")}})
			for i, want := range []bridge.Seq{1, 1, 2, 3, 4} {
				if got := res.Appended[i]; got.Seq != want || got.ID == 0 {
					t.Errorf("draft %d has seq %d, want %d", i, got.Seq, want)
				}
			}
			hasSeqs(t, d, u, 3, 4)
			hasSeqs(t, d, v, 1) // another user's notification with the key stays
			if got := stones(t, d, u); len(got) != 2 || got[1] != superseded || got[2] != superseded {
				t.Errorf("tombstones %v", got)
			}
			mustAppend(t, d, one(u, "5"))
			hasSeqs(t, d, u, 3, 4, 5)
			checkCounts(t, d, u)
		},
		"commands of one transaction supersede each other": func(t *testing.T, d *DB) {
			u := fresh()
			done := make(chan error)
			for range 20 {
				go func() {
					_, err := d.Append(testContext(t), bridge.Command{Drafts: []bridge.Draft{under(u, "k", "t")}})
					done <- err
				}()
			}
			for range 20 {
				must(t, <-done)
			}
			hasSeqs(t, d, u, 20)
			if got := stones(t, d, u); len(got) != 19 {
				t.Errorf("%d tombstones, want 19", len(got))
			}
			checkCounts(t, d, u)
		},
		"superseding a read notification keeps the unread count": func(t *testing.T, d *DB) {
			u := fresh()
			res := mustAppend(t, d, bridge.Command{Drafts: []bridge.Draft{under(u, "k", "1")}})
			if _, err := d.Read(testContext(t), u, res.Appended[0].ID); err != nil {
				t.Fatal(err)
			}
			mustAppend(t, d, bridge.Command{Drafts: []bridge.Draft{under(u, "k", "2")}})
			hasSeqs(t, d, u, 2)
			checkCounts(t, d, u)
		},
		"Withdraw deletes the notification of a key": func(t *testing.T, d *DB) {
			u := fresh()
			mustAppend(t, d, bridge.Command{Drafts: []bridge.Draft{under(u, "k", "1"), draft(u, "2")}})
			for want, key := range []string{"none", "k"} {
				if n, err := d.Withdraw(testContext(t), u, key); err != nil || n != int64(want) {
					t.Errorf("withdrawing %s deleted %d, %v", key, n, err)
				}
			}
			if n, err := d.Withdraw(testContext(t), fresh(), "k"); err != nil || n != 0 {
				t.Errorf("withdrawing from a user without an inbox: %d, %v", n, err)
			}
			hasSeqs(t, d, u, 2)
			if got := stones(t, d, u); got[1] != deleted {
				t.Errorf("tombstones %v", got)
			}
			checkCounts(t, d, u)
		},
		"an erasure removes the tombstones": func(t *testing.T, d *DB) {
			u := fresh()
			mustAppend(t, d, bridge.Command{Drafts: []bridge.Draft{under(u, "k", "1"), under(u, "k", "2")}})
			if done, err := d.Erase(testContext(t), u); err != nil || !done {
				t.Fatal(done, err)
			}
			if got := stones(t, d, u); len(got) != 0 {
				t.Errorf("tombstones %v", got)
			}
			mustAppend(t, d, bridge.Command{Drafts: []bridge.Draft{under(u, "k", "1")}})
			hasSeqs(t, d, u, 1)
		},
		"imported notifications supersede each other": func(t *testing.T, d *DB) {
			u := fresh()
			ns := past(u, pastID(), 3)
			ns[0].Replaces, ns[2].Replaces = "k", "k"
			ns[1].ExpiresAt = time.Now().Add(-time.Hour)
			if _, err := d.ImportNotifications(testContext(t), ns); err != nil {
				t.Fatal(err)
			}
			if n := number(t, d, "SELECT count(*) FROM falcon_notifications WHERE user_id = ?", u); n != 2 {
				t.Errorf("%d rows, want 2", n)
			}
			if page, err := d.List(testContext(t), bridge.Query{User: u}); err != nil || len(page.Items) != 1 || page.Items[0].By != bridge.ByImport {
				t.Errorf("the history has %+v, %v", page.Items, err)
			}
			checkCounts(t, d, u)
		},
	})
}

func TestAnExpiredNotificationIsInvisibleToEveryCall(t *testing.T) {
	together(t, map[string]func(t *testing.T, d *DB){
		"before and after it is removed": func(t *testing.T, d *DB) {
			ctx, u := testContext(t), fresh()
			drafts := []bridge.Draft{draft(u, "1"), draft(u, "2"), draft(u, "3"), draft(u, "4")}
			for i := range drafts {
				drafts[i].ExpiresIn = time.Hour
			}
			res := mustAppend(t, d, bridge.Command{Drafts: drafts})
			if left := time.Until(res.Appended[0].ExpiresAt); left < 58*time.Minute || left > 62*time.Minute {
				t.Errorf("the first expires in %v", left)
			}
			hasSeqs(t, d, u, 1, 2, 3, 4)
			if _, err := d.Read(ctx, u, res.Appended[1].ID); err != nil {
				t.Fatal(err)
			}
			for _, gone := range []bridge.Seq{2, 4} {
				expire(t, d, u, gone)
			}
			check := func() {
				t.Helper()
				hasSeqs(t, d, u, 1, 3)
				id := res.Appended[3].ID
				if _, err := d.Find(ctx, id); !errors.Is(err, bridge.ErrNotFound) {
					t.Errorf("Find of an expired one: %v, want ErrNotFound", err)
				}
				if _, err := d.Read(ctx, u, id); !errors.Is(err, bridge.ErrNotFound) {
					t.Errorf("Read of an expired one: %v, want ErrNotFound", err)
				}
				if err := d.Delete(ctx, u, id); !errors.Is(err, bridge.ErrNotFound) {
					t.Errorf("Delete of an expired one: %v, want ErrNotFound", err)
				}
				items, err := d.Retained(ctx, before1(u), 1)
				must(t, err)
				if len(items) == 1 && items[0].User == u && items[0].Seq != 3 {
					t.Errorf("the retained message has seq %d, want 3", items[0].Seq)
				}
				starts, err := d.Starts(ctx, []bridge.UserID{u}, new(bridge.Seq(0)), 1)
				must(t, err)
				if s := starts[u]; s.After != 1 || s.Latest == nil || s.Latest.Seq != 3 {
					t.Errorf("a subscription starts at %+v", s)
				}
				if s, err := d.Skip(ctx, u, 0, 1); err != nil || s != 1 {
					t.Errorf("a replay of one starts after %d, %v", s, err)
				}
				if unread, err := d.Read(ctx, u, res.Appended[0].ID); err != nil || unread != 1 {
					t.Errorf("%d are unread, %v; want 1", unread, err)
				}
			}
			check()
			var changed []bridge.UserID
			for {
				n, users, err := d.ExpireNotifications(ctx, 3)
				must(t, err)
				changed = append(changed, users...)
				if n == 0 {
					break
				}
			}
			if !slices.Contains(changed, u) {
				t.Errorf("ExpireNotifications reports changes of %v, want also %s", changed, u)
			}
			check()
			if got := stones(t, d, u); len(got) != 2 || got[2] != expired || got[4] != expired {
				t.Errorf("tombstones %v", got)
			}
			checkCounts(t, d, u)
		},
		"an expired notification is not superseded": func(t *testing.T, d *DB) {
			ctx, u := testContext(t), fresh()
			n := under(u, "k", "1")
			n.ExpiresIn = time.Hour
			mustAppend(t, d, bridge.Command{Drafts: []bridge.Draft{n}})
			expire(t, d, u, 1)
			mustAppend(t, d, bridge.Command{Drafts: []bridge.Draft{under(u, "k", "2")}})
			hasSeqs(t, d, u, 2)
			for n := 1; n > 0; {
				var err error
				n, _, err = d.ExpireNotifications(ctx, 100)
				must(t, err)
			}
			if got := stones(t, d, u); got[1] != expired {
				t.Errorf("tombstones %v", got)
			}
			checkCounts(t, d, u)
		},
		"tombstones are removed after 30 days": func(t *testing.T, d *DB) {
			ctx, u := testContext(t), fresh()
			mustAppend(t, d, bridge.Command{Drafts: []bridge.Draft{under(u, "k", "1"), under(u, "k", "2"), under(u, "k", "3")}})
			exec(t, d, "UPDATE falcon_tombstones SET at = ? WHERE user_id = ? AND seq = 1", time.Now().Add(-30*24*time.Hour-time.Minute).UnixMilli(), u)
			exec(t, d, "UPDATE falcon_tombstones SET at = ? WHERE user_id = ? AND seq = 2", time.Now().Add(-30*24*time.Hour+time.Minute).UnixMilli(), u)
			for n := 1; n > 0; {
				var err error
				n, err = d.ExpireTombstones(ctx, 10)
				must(t, err)
			}
			if got := stones(t, d, u); len(got) != 1 || got[2] != superseded {
				t.Errorf("tombstones %v", got)
			}
		},
	})
}

// before1 returns a user ID that sorts before u: u with its last character replaced.
func before1(u bridge.UserID) bridge.UserID { return u[:len(u)-1] + "!" }
