package db

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/uptrace/bun"
	"pgregory.net/rapid"
)

func TestState(t *testing.T) {
	together(t, map[string]func(*testing.T, *DB){
		"a change names what was read, marked unread and deleted":    testChanges,
		"a call that changes nothing does not raise the rev":         testNoRev,
		"an append does not raise the rev":                           testAppendTakesNoRev,
		"after a mute the list must be fetched again":                testMuteRefetches,
		"after an unknown rev the list must be fetched again":        testUnknownRev,
		"after more than 200 changes the list must be fetched again": testManyChanges,
		"a bounded number of changes is kept per user":               testChangesAreBounded,
		"a removal across several users is recorded for each":        testManyUsersGone,
		"an erasure removes the user's changes":                      testErasedChanges,
		"a muted kind is neither listed nor counted":                 testMutedKind,
		"at most 64 kinds have settings":                             testManyKinds,
		"a page of few kinds reads a bounded number of rows":         testKindPages,
		"DeleteRead deletes what is read and not muted":              testDeleteRead,
	})
}

// revOf returns the current rev of u's inbox.
func revOf(t *testing.T, d *DB, u bridge.UserID) bridge.Rev {
	t.Helper()
	s, err := d.Changes(testContext(t), u, 0)
	must(t, err)
	return s.Rev
}

// changedSince describes what changed in u's inbox since a rev.
func changedSince(t *testing.T, d *DB, u bridge.UserID, since bridge.Rev) string {
	t.Helper()
	s, err := d.Changes(testContext(t), u, since)
	must(t, err)
	if s.From == nil {
		return fmt.Sprintf("rev %d: fetch, %d of %d unread", s.Rev, s.Unread, s.Total)
	}
	return fmt.Sprintf("rev %d: up to %d, read %v, unread %v, deleted %v, %d of %d unread", s.Rev, s.ReadUpTo, s.Read, s.UnreadIDs, s.Deleted, s.Unread, s.Total)
}

func testChanges(t *testing.T, d *DB) {
	u, ctx := fresh(), testContext(t)
	ns := seed(t, d, u, 4)
	id := func(i int) int64 { return ns[i-1].ID }
	check := func(since bridge.Rev, want string, args ...any) {
		t.Helper()
		if got := changedSince(t, d, u, since); got != fmt.Sprintf(want, args...) {
			t.Errorf("since %d: got %s, want "+want, append([]any{since, got}, args...)...)
		}
	}
	check(0, "rev 0: up to 0, read [], unread [], deleted [], 4 of 4 unread")
	must(t, second(d.Read(ctx, u, id(1))))
	must(t, second(d.Read(ctx, u, id(2))))
	must(t, second(d.Unread(ctx, u, id(1))))
	must(t, d.Delete(ctx, u, id(4)))
	check(0, "rev 4: up to 0, read [%d], unread [%d], deleted [%d], 2 of 3 unread", id(2), id(1), id(4))
	check(2, "rev 4: up to 0, read [], unread [%d], deleted [%d], 2 of 3 unread", id(1), id(4))
	check(4, "rev 4: up to 0, read [], unread [], deleted [], 2 of 3 unread")
	if _, _, err := d.ReadUpTo(ctx, u, 0); err != nil {
		t.Fatal(err)
	}
	must(t, second(d.Unread(ctx, u, id(3))))
	check(0, "rev 6: up to 4, read [%d %d], unread [%d], deleted [%d], 1 of 3 unread", id(1), id(2), id(3), id(4))
	check(5, "rev 6: up to 0, read [], unread [%d], deleted [], 1 of 3 unread", id(3))
	checkCounts(t, d, u)
}

func testNoRev(t *testing.T, d *DB) {
	u, ctx := fresh(), testContext(t)
	ns := seed(t, d, u, 1)
	must(t, second(d.Unread(ctx, u, ns[0].ID)))
	must(t, second(d.Read(ctx, u, ns[0].ID)))
	must(t, second(d.Read(ctx, u, ns[0].ID)))
	_, _, err := d.ReadUpTo(ctx, u, 0)
	must(t, err)
	must(t, set(ctx, d, u, unmuted))
	if _, err := d.Unread(ctx, u, 1<<40); err == nil {
		t.Error("marking an unknown notification as unread succeeded")
	}
	if rev := revOf(t, d, u); rev != 1 {
		t.Errorf("the rev is %d, want 1", rev)
	}
}

func testAppendTakesNoRev(t *testing.T, d *DB) {
	u := fresh()
	seed(t, d, u, 3)
	if got := changedSince(t, d, u, 0); got != "rev 0: up to 0, read [], unread [], deleted [], 3 of 3 unread" {
		t.Error(got)
	}
}

func testMuteRefetches(t *testing.T, d *DB) {
	u, ctx := fresh(), testContext(t)
	ns := seed(t, d, u, 2)
	must(t, second(d.Read(ctx, u, ns[0].ID)))
	must(t, set(ctx, d, u, muted))
	if got := changedSince(t, d, u, 1); got != "rev 2: fetch, 0 of 0 unread" {
		t.Error(got)
	}
	if got := changedSince(t, d, u, 2); got != "rev 2: up to 0, read [], unread [], deleted [], 0 of 0 unread" {
		t.Error(got)
	}
	must(t, set(ctx, d, u, unmuted))
	if got := changedSince(t, d, u, 2); got != "rev 3: fetch, 1 of 2 unread" {
		t.Error(got)
	}
}

func testUnknownRev(t *testing.T, d *DB) {
	u := fresh()
	if got := changedSince(t, d, u, 0); got != "rev 0: up to 0, read [], unread [], deleted [], 0 of 0 unread" {
		t.Error(got)
	}
	seed(t, d, u, 1)
	if got := changedSince(t, d, u, 7); got != "rev 0: fetch, 1 of 1 unread" {
		t.Error(got)
	}
}

func testManyChanges(t *testing.T, d *DB) {
	u, ctx := fresh(), testContext(t)
	ns := seed(t, d, u, 201)
	for _, n := range ns[:200] {
		must(t, second(d.Read(ctx, u, n.ID)))
	}
	if s, err := d.Changes(ctx, u, 0); err != nil || s.From == nil || len(s.Read) != 200 {
		t.Errorf("after 200: %+v, %v", s, err)
	}
	must(t, second(d.Read(ctx, u, ns[200].ID)))
	if s, err := d.Changes(ctx, u, 0); err != nil || s.From != nil || len(s.Read) != 0 {
		t.Errorf("after 201: %+v, %v", s, err)
	}
}

func testChangesAreBounded(t *testing.T, d *DB) {
	u, ctx := fresh(), testContext(t)
	n := seed(t, d, u, 1)[0]
	for range 150 {
		must(t, second(d.Read(ctx, u, n.ID)))
		must(t, second(d.Unread(ctx, u, n.ID)))
	}
	if kept := number(t, d, "SELECT count(*) FROM falcon_changes WHERE user_id = ?", u); kept != keptChanges {
		t.Errorf("%d changes are kept, want %d", kept, keptChanges)
	}
	if s, err := d.Changes(ctx, u, 300-keptChanges); err != nil || s.From == nil {
		t.Errorf("since the oldest kept change: %+v, %v", s, err)
	}
	if s, err := d.Changes(ctx, u, 299-keptChanges); err != nil || s.From != nil {
		t.Errorf("since the change before that: %+v, %v", s, err)
	}
}

func testManyUsersGone(t *testing.T, d *DB) {
	u, v, ctx := fresh(), fresh(), testContext(t)
	a, b := seed(t, d, u, 3), seed(t, d, v, 2)
	must(t, second(d.Read(ctx, u, a[0].ID)))
	ids := []int64{a[0].ID, a[1].ID, b[0].ID}
	must(t, d.inTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		if err := d.lockInboxes(ctx, tx, []bridge.UserID{u, v}, nil); err != nil {
			return err
		}
		gone, err := d.removeNotifications(ctx, tx, expired, func(q bun.QueryBuilder) bun.QueryBuilder { return q.Where("id IN (?)", bun.List(ids)) })
		if len(gone) != 3 {
			t.Errorf("%d notifications were removed, want 3", len(gone))
		}
		return err
	}))
	if got, want := changedSince(t, d, u, 1), fmt.Sprintf("rev 2: up to 0, read [], unread [], deleted %v, 1 of 1 unread", ids[:2]); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := changedSince(t, d, v, 0), fmt.Sprintf("rev 1: up to 0, read [], unread [], deleted %v, 1 of 1 unread", ids[2:]); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	checkCounts(t, d, u)
	checkCounts(t, d, v)
}

func testErasedChanges(t *testing.T, d *DB) {
	u, ctx := fresh(), testContext(t)
	n := seed(t, d, u, 1)[0]
	must(t, second(d.Read(ctx, u, n.ID)))
	must(t, set(ctx, d, u, bridge.Settings{ReviewEnabled: true, Kinds: map[bridge.Kind]bool{"news": false}}))
	if done, err := d.Erase(ctx, u); err != nil || !done {
		t.Fatal(done, err)
	}
	for _, table := range []string{"falcon_changes", "falcon_steps", "falcon_inboxes"} {
		if n := number(t, d, "SELECT count(*) FROM "+table+" WHERE user_id = ?", u); n != 0 {
			t.Errorf("%s has %d rows", table, n)
		}
	}
}

func appendKinds(t *testing.T, d *DB, u bridge.UserID, kinds ...bridge.Kind) []bridge.Notification {
	t.Helper()
	var out []bridge.Notification
	for _, k := range kinds {
		n := draft(u, "of "+string(k))
		n.Kind = k
		out = append(out, mustAppend(t, d, bridge.Command{Drafts: []bridge.Draft{n}}).Appended...)
	}
	return out
}

func testMutedKind(t *testing.T, d *DB) {
	u, ctx := fresh(), testContext(t)
	ns := appendKinds(t, d, u, "news", "alarm", "a.b")
	must(t, second(d.Read(ctx, u, ns[0].ID)))
	must(t, set(ctx, d, u, bridge.Settings{ReviewEnabled: true, Kinds: map[bridge.Kind]bool{"news": false, "a.b": false, "alarm": true}}))
	listed := func(q bridge.Query, want string, counts bridge.Count) {
		t.Helper()
		q.User = u
		page, err := d.List(ctx, q)
		if err != nil || fmt.Sprint(seqsOf(page.Items)) != want || page.Count != counts {
			t.Errorf("%+v: listed %v, %+v, %v; want %s, %+v", q, seqsOf(page.Items), page.Count, err, want, counts)
		}
		checkCounts(t, d, u)
	}
	listed(bridge.Query{}, "[2]", bridge.Count{Total: 1, Unread: 1, Last: 3})
	listed(bridge.Query{Hidden: true}, "[3 2 1]", bridge.Count{Total: 1, Unread: 1, Last: 3})
	listed(bridge.Query{Hidden: true, Kinds: []bridge.Kind{"a.b"}}, "[3]", bridge.Count{Total: 1, Unread: 1, Last: 3})
	if h, err := d.Head(ctx, u); err != nil || h.Latest == nil || h.Latest.Seq != 2 {
		t.Errorf("the latest notification is %+v, %v", h.Latest, err)
	}
	more := appendKinds(t, d, u, "news", "alarm")
	if !more[0].Muted || more[1].Muted {
		t.Errorf("appended %+v", more)
	}
	listed(bridge.Query{}, "[5 2]", bridge.Count{Total: 2, Unread: 2, Last: 5})
	if after, err := d.After(ctx, u, 0, 9); err != nil || fmt.Sprint(seqsOf(after)) != "[2 5]" {
		t.Errorf("deliverable %v, %v", seqsOf(after), err)
	}
	must(t, second(d.Read(ctx, u, more[0].ID))) // a hidden one can be marked as read
	listed(bridge.Query{}, "[5 2]", bridge.Count{Total: 2, Unread: 2, Last: 5})
	_, _, err := d.ReadUpTo(ctx, u, 0) // all that are not hidden
	must(t, err)
	listed(bridge.Query{Hidden: true, Unread: true}, "[3]", bridge.Count{Total: 2, Last: 5})
	s, done, err := d.ChangeSettings(ctx, u, bridge.SettingsChange{Kinds: map[bridge.Kind]*bool{"news": nil, "a.b": new(bool)}})
	if err != nil || !done || len(s.Kinds) != 2 {
		t.Errorf("settings %+v, %v, %v", s, done, err)
	}
	listed(bridge.Query{}, "[5 4 2 1]", bridge.Count{Total: 4, Last: 5})
	if after, err := d.After(ctx, u, 0, 9); err != nil || fmt.Sprint(seqsOf(after)) != "[1 2 5]" {
		t.Errorf("deliverable %v, %v", seqsOf(after), err) // 4 was appended while its kind was muted
	}
}

func testManyKinds(t *testing.T, d *DB) {
	u, ctx := fresh(), testContext(t)
	c := bridge.SettingsChange{Kinds: map[bridge.Kind]*bool{}}
	for i := range bridge.MaxKinds {
		c.Kinds[bridge.Kind(fmt.Sprint("k", i))] = new(bool)
	}
	s, done, err := d.ChangeSettings(ctx, u, c)
	if err != nil || !done || len(s.Kinds) != bridge.MaxKinds {
		t.Fatalf("%d kinds, %v, %v", len(s.Kinds), done, err)
	}
	if _, _, err := d.ChangeSettings(ctx, u, bridge.SettingsChange{Kinds: map[bridge.Kind]*bool{"more": new(bool)}}); err == nil {
		t.Error("a setting for one more kind is accepted")
	}
	_, _, err = d.ChangeSettings(ctx, u, bridge.SettingsChange{Kinds: map[bridge.Kind]*bool{"more": new(bool), "k0": nil}})
	must(t, err)
	if n := number(t, d, "SELECT count(*) FROM falcon_steps WHERE user_id = ?", u); n != 0 {
		t.Errorf("%d tasks are left", n)
	}
}

func testKindPages(t *testing.T, d *DB) {
	u, ctx := fresh(), testContext(t)
	first := appendKinds(t, d, u, "rare")[0]
	seed(t, d, u, scanned+100)
	q := bridge.Query{User: u, Kinds: []bridge.Kind{"rare"}}
	page, err := d.List(ctx, q)
	if err != nil || len(page.Items) != 0 || !page.More || page.Next != 102 {
		t.Fatalf("first page: %d items, more %v, next %d, %v", len(page.Items), page.More, page.Next, err)
	}
	q.Before = page.Next
	if page, err = d.List(ctx, q); err != nil || page.More || len(page.Items) != 1 || page.Items[0].ID != first.ID {
		t.Errorf("second page: %+v, %v", page, err)
	}
	page, err = d.List(ctx, bridge.Query{User: u, Kinds: []bridge.Kind{"rare"}, Forward: true})
	if err != nil || len(page.Items) != 1 || !page.More || page.Next != scanned {
		t.Errorf("forward: %d items, more %v, next %d, %v", len(page.Items), page.More, page.Next, err)
	}
}

func testDeleteRead(t *testing.T, d *DB) {
	u, ctx := fresh(), testContext(t)
	if done, err := d.DeleteRead(ctx, u); err != nil || !done {
		t.Fatal(done, err)
	}
	ns := appendKinds(t, d, u, "news", "alarm", "alarm")
	must(t, second(d.Read(ctx, u, ns[0].ID)))
	must(t, second(d.Read(ctx, u, ns[1].ID)))
	must(t, set(ctx, d, u, bridge.Settings{ReviewEnabled: true, Kinds: map[bridge.Kind]bool{"news": false}}))
	if done, err := d.DeleteRead(ctx, u); err != nil || !done {
		t.Fatal(done, err)
	}
	page, err := d.List(ctx, bridge.Query{User: u, Hidden: true})
	if err != nil || fmt.Sprint(seqsOf(page.Items)) != "[3 1]" {
		t.Errorf("%v are left, %v", seqsOf(page.Items), err)
	}
	checkCounts(t, d, u)
}

// A change of many rows is made in steps. If it is interrupted, another process finishes
// it, and the counts are exact after every step.
func TestSteppedChangesAreFinishedAfterAnInterruption(t *testing.T) {
	inSteps(t, `UPDATE "falcon_notifications"`, 6, func(t *testing.T, ctx context.Context, d *DB, other func() *DB) {
		u := fresh()
		var kinds []bridge.Kind
		for i := range 100 {
			kinds = append(kinds, []bridge.Kind{"news", "alarm"}[i%2])
		}
		appendKinds(t, d, u, kinds...)
		c := bridge.SettingsChange{Kinds: map[bridge.Kind]*bool{"news": new(bool)}}
		if _, done, err := d.ChangeSettings(ctx, u, c); err != nil || done {
			t.Fatalf("interrupted: done %v, %v", done, err)
		}
		checkCounts(t, d, u)
		appendKinds(t, d, u, "news")
		d = other()
		finish(t, d, func() { checkCounts(t, d, u) })
		n, err := d.Count(testContext(t), u)
		if want := (bridge.Count{Total: 50, Unread: 50, Last: 101}); err != nil || n != want {
			t.Errorf("count %+v, %v", n, err)
		}
	})
	inSteps(t, `DELETE FROM "falcon_notifications"`, 4, func(t *testing.T, ctx context.Context, d *DB, other func() *DB) {
		u := fresh()
		seed(t, d, u, 100)
		_, done, err := d.ReadUpTo(testContext(t), u, 60)
		if err != nil || !done {
			t.Fatal(done, err)
		}
		if done, err := d.DeleteRead(ctx, u); err != nil || done {
			t.Fatalf("interrupted: done %v, %v", done, err)
		}
		checkCounts(t, d, u)
		d = other()
		finish(t, d, func() { checkCounts(t, d, u) })
		if n, err := d.Count(testContext(t), u); err != nil || n != (bridge.Count{Total: 40, Unread: 40, Last: 100}) {
			t.Errorf("count %+v, %v", n, err)
		}
	})
}

// device keeps a copy of an inbox up to date with Changes, as a client does.
type device struct {
	rev  bridge.Rev
	read map[int64]bool // whether it is read, by ID
	seq  map[int64]bridge.Seq
}

func (c *device) fetch(r *rapid.T, d *DB, u bridge.UserID) {
	page, err := d.List(context.Background(), bridge.Query{User: u, Limit: bridge.MaxPage})
	if err != nil {
		r.Fatal(err)
	}
	*c = device{page.Rev, map[int64]bool{}, map[int64]bridge.Seq{}}
	for _, n := range page.Items {
		c.read[n.ID], c.seq[n.ID] = !n.ReadAt.IsZero(), n.Seq
	}
}

// follow applies what changed since from, which must not be above the device's rev.
func (c *device) follow(r *rapid.T, d *DB, u bridge.UserID, from bridge.Rev) {
	s, err := d.Changes(context.Background(), u, from)
	switch {
	case err != nil:
		r.Fatal(err)
	case s.From == nil:
		c.fetch(r, d, u)
		return
	}
	for id, seq := range c.seq {
		if seq <= s.ReadUpTo {
			c.read[id] = true
		}
	}
	set := func(ids []int64, read bool) {
		for _, id := range ids {
			if _, known := c.read[id]; known {
				c.read[id] = read
			}
		}
	}
	set(s.Read, true)
	set(s.UnreadIDs, false)
	for _, id := range s.Deleted {
		delete(c.read, id)
		delete(c.seq, id)
	}
	c.rev = s.Rev
}

// After any sequence of changes, a device that follows Changes has the same inbox as the
// list, however rarely it asks and even if it asks for an earlier rev than its own.
func TestDevicesConvergeThroughChanges(t *testing.T) {
	each(t, func(t *testing.T, d *DB) {
		d.stepRows = 5
		ctx := testContext(t)
		rapid.Check(t, func(r *rapid.T) {
			u := fresh()
			var ids []int64
			devices := []*device{{}, {}}
			for _, c := range devices {
				c.fetch(r, d, u)
			}
			kind := rapid.SampledFrom([]bridge.Kind{"news", "alarm"})
			check := func(err error) {
				if err != nil {
					r.Fatal(err)
				}
			}
			r.Repeat(map[string]func(*rapid.T){
				"append": func(r *rapid.T) {
					n := draft(u, "x")
					n.Kind = kind.Draw(r, "kind")
					res, err := d.Append(ctx, bridge.Command{Drafts: []bridge.Draft{n}})
					check(err)
					ids = append(ids, res.Appended[0].ID)
					for _, c := range devices { // the devices get it by MQTT
						if !res.Appended[0].Muted {
							c.read[res.Appended[0].ID], c.seq[res.Appended[0].ID] = false, res.Appended[0].Seq
						}
					}
				},
				"mark": func(r *rapid.T) {
					if len(ids) == 0 {
						return
					}
					id := rapid.SampledFrom(ids).Draw(r, "id")
					f := rapid.SampledFrom([]func(context.Context, bridge.UserID, int64) (int64, error){d.Read, d.Unread}).Draw(r, "how")
					_, err := f(ctx, u, id)
					check(err)
				},
				"read up to": func(r *rapid.T) {
					_, _, err := d.ReadUpTo(ctx, u, bridge.Seq(rapid.IntRange(0, 20).Draw(r, "seq")))
					check(err)
				},
				"begin to read all": func(r *rapid.T) { // a later step finishes it
					check(d.beginTask(ctx, d.write, readTask, u, 20))
				},
				"a step": func(r *rapid.T) {
					_, err := d.stepTask(ctx, readTask, u, 2, false)
					check(err)
				},
				"delete": func(r *rapid.T) {
					if len(ids) == 0 {
						return
					}
					i := rapid.IntRange(0, len(ids)-1).Draw(r, "at")
					check(d.Delete(ctx, u, ids[i]))
					ids = slices.Delete(ids, i, i+1)
				},
				"mute": func(r *rapid.T) {
					k, on := kind.Draw(r, "kind"), rapid.Bool().Draw(r, "on")
					_, _, err := d.ChangeSettings(ctx, u, bridge.SettingsChange{Kinds: map[bridge.Kind]*bool{k: &on}})
					check(err)
				},
				"follow": func(r *rapid.T) {
					c := rapid.SampledFrom(devices).Draw(r, "device")
					c.follow(r, d, u, max(0, c.rev-bridge.Rev(rapid.IntRange(0, 3).Draw(r, "back"))))
				},
			})
			for p := (progress{}); !p.done; {
				var err error
				p, err = d.stepTask(ctx, readTask, u, 5, false)
				check(err)
			}
			var want device
			want.fetch(r, d, u)
			for i, c := range devices {
				c.follow(r, d, u, c.rev)
				if fmt.Sprint(c.read) != fmt.Sprint(want.read) {
					r.Fatalf("device %d has %v, the list has %v", i, c.read, want.read)
				}
			}
		})
	})
}
