package db

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

func TestCursors(t *testing.T) {
	together(t, map[string]func(*testing.T, *DB){
		"a first subscription starts at the head":                      testSubscribeFirst,
		"a second subscription keeps the cursor":                       testSubscribeAgain,
		"since moves the cursor in either direction, within the log":   testSubscribeSince,
		"a device that unsubscribes and subscribes starts at the head": testUnsubscribe,
		"an older generation changes nothing":                          testFence,
		"Subscribe returns the head of the log":                        testSubscribeHead,
		"a cursor never moves back or beyond the log":                  testAdvanceBounds,
		"From raises the first seq that was sent":                      testAdvanceLeap,
		"many cursors move in one statement":                           testAdvanceMany,
		"a close sets the session's expiry":                            testAdvanceClosed,
		"concurrent batches in opposite orders do not deadlock":        testAdvanceOrder,
		"a subscription while the log grows misses nothing":            testSubscribeRace,
	})
}

// cursor reads the stored cursor of a session.
func cursor(t testing.TB, d *DB, dv bridge.Device) (from, acked, sent int64) {
	t.Helper()
	err := d.write.QueryRowContext(testContext(t), "SELECT from_seq, acked_seq, sent_seq FROM falcon_sessions WHERE user_id = ? AND client_id = ?",
		dv.User, dv.ClientID).Scan(&from, &acked, &sent)
	must(t, err)
	return from, acked, sent
}

func wantCursor(t testing.TB, d *DB, dv bridge.Device, from, acked int64) {
	t.Helper()
	if f, a, _ := cursor(t, d, dv); f != from || a != acked {
		t.Errorf("%s: from %d, acknowledged %d; want %d, %d", dv.ClientID, f, a, from, acked)
	}
}

func seqPtr(s bridge.Seq) *bridge.Seq { return &s }

func testSubscribeFirst(t *testing.T, d *DB) {
	u := fresh()
	s := open(t, d, dev(u, "early"))
	if h := subscribe(t, d, dev(u, "early"), s.Generation); h.Last != 0 || h.Latest != nil {
		t.Errorf("the head of an empty log is %+v", h)
	}
	wantCursor(t, d, dev(u, "early"), 0, 0)
	seed(t, d, u, 3)
	s = open(t, d, dev(u, "late"))
	if h := subscribe(t, d, dev(u, "late"), s.Generation); h.Last != 3 || h.Latest == nil || h.Latest.Seq != 3 {
		t.Errorf("head %+v", h)
	}
	wantCursor(t, d, dev(u, "late"), 3, 3)
}

func testSubscribeAgain(t *testing.T, d *DB) {
	u := fresh()
	seed(t, d, u, 3)
	s := open(t, d, dev(u, "phone"))
	subscribe(t, d, dev(u, "phone"), s.Generation)
	seed(t, d, u, 3)
	if h := subscribe(t, d, dev(u, "phone"), s.Generation); h.Last != 6 {
		t.Errorf("head %+v", h)
	}
	wantCursor(t, d, dev(u, "phone"), 3, 3)
}

func testSubscribeSince(t *testing.T, d *DB) {
	u, ctx := fresh(), testContext(t)
	seed(t, d, u, 10)
	for name, tt := range map[string]struct {
		subscribed  bool // with since 4, and acknowledged up to 6
		since       bridge.Seq
		from, acked int64
	}{
		"the first, back":           {false, 3, 3, 3},
		"the first, from the start": {false, 0, 0, 0},
		"the first, beyond the log": {false, 99, 10, 10},
		"the first, negative":       {false, -1, 0, 0},
		"again, back":               {true, 5, 4, 5},
		"again, below its from_seq": {true, 2, 2, 2},
		"again, ahead":              {true, 8, 8, 8},
		"again, beyond the log":     {true, 99, 10, 10},
	} {
		s := open(t, d, dev(u, name))
		if tt.subscribed {
			if _, _, err := d.Subscribe(ctx, dev(u, name), s.Generation, bridge.Subscription{}, seqPtr(4)); err != nil {
				t.Fatal(err)
			}
			advanceTo(t, d, bridge.Advance{Device: dev(u, name), Generation: s.Generation, Acked: 6, Sent: 6})
		}
		h, stale, err := d.Subscribe(ctx, dev(u, name), s.Generation, bridge.Subscription{}, seqPtr(tt.since))
		if err != nil || stale || h.Last != 10 {
			t.Errorf("%s: head %+v, stale %v, %v", name, h, stale, err)
		}
		wantCursor(t, d, dev(u, name), tt.from, tt.acked)
	}
}

func testUnsubscribe(t *testing.T, d *DB) {
	u, ctx := fresh(), testContext(t)
	seed(t, d, u, 2)
	s := open(t, d, dev(u, "phone"))
	subscribe(t, d, dev(u, "phone"), s.Generation)
	must(t, d.Unsubscribe(ctx, dev(u, "phone"), s.Generation))
	seed(t, d, u, 2)
	s = open(t, d, dev(u, "phone"))
	if !s.Present || s.Subscribed != nil {
		t.Errorf("reopened: %+v", s)
	}
	subscribe(t, d, dev(u, "phone"), s.Generation)
	wantCursor(t, d, dev(u, "phone"), 4, 4)
}

func testFence(t *testing.T, d *DB) {
	u, ctx := fresh(), testContext(t)
	phone := dev(u, "phone")
	seed(t, d, u, 5)
	old := open(t, d, phone)
	subscribe(t, d, phone, old.Generation)
	seed(t, d, u, 5)
	current := open(t, d, phone)
	for name, do := range map[string]func() error{
		"advance": func() error {
			return d.Advance(ctx, []bridge.Advance{{Device: phone, Generation: old.Generation, Acked: 9, Sent: 9}})
		},
		"close": func() error {
			return d.Advance(ctx, []bridge.Advance{{Device: phone, Generation: old.Generation, Closed: true, Expiry: time.Second}})
		},
		"end": func() error {
			return d.Advance(ctx, []bridge.Advance{{Device: phone, Generation: old.Generation, Closed: true}})
		},
		"unsubscribe": func() error { return d.Unsubscribe(ctx, phone, old.Generation) },
		"subscribe": func() error {
			_, stale, err := d.Subscribe(ctx, phone, old.Generation, bridge.Subscription{}, seqPtr(9))
			if !stale {
				return errors.New("not stale")
			}
			return err
		},
	} {
		if err := do(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		wantCursor(t, d, phone, 5, 5)
		if n := number(t, d, "SELECT count(*) FROM falcon_sessions WHERE user_id = ? AND generation = ? AND subscribed AND expires_at = 0",
			u, current.Generation); n != 1 {
			t.Fatalf("%s changed the session", name)
		}
	}
}

func testSubscribeHead(t *testing.T, d *DB) {
	u, ctx := fresh(), testContext(t)
	compare := func(step string) {
		t.Helper()
		s := open(t, d, dev(u, "phone"))
		got := subscribe(t, d, dev(u, "phone"), s.Generation)
		want, err := d.Head(ctx, u)
		must(t, err)
		if got.Last != want.Last || (got.Latest == nil) != (want.Latest == nil) {
			t.Fatalf("%s: Subscribe returns %+v, Head %+v", step, got, want)
		}
		if got.Latest != nil && string(got.Latest.Item()) != string(want.Latest.Item()) {
			t.Errorf("%s: Subscribe returns %s\nHead %s", step, got.Latest.Item(), want.Latest.Item())
		}
	}
	compare("no inbox")
	ns := seed(t, d, u, 3)
	compare("three rows")
	must(t, set(ctx, d, u, muted))
	seed(t, d, u, 1)
	compare("muted")
	must(t, set(ctx, d, u, unmuted))
	compare("unmuted")
	_, _, err := d.ReadUpTo(ctx, u, 2)
	must(t, err)
	for _, n := range ns {
		must(t, d.Delete(ctx, u, n.ID))
	}
	compare("one row left")
	page, err := d.List(ctx, bridge.Query{User: u})
	must(t, err)
	must(t, d.Delete(ctx, u, page.Items[0].ID))
	compare("no row left")
}

func testAdvanceBounds(t *testing.T, d *DB) {
	u := fresh()
	phone := dev(u, "phone")
	s := open(t, d, phone)
	subscribe(t, d, phone, s.Generation)
	seed(t, d, u, 10)
	for _, step := range []struct{ acked, want int64 }{{3, 3}, {2, 3}, {3, 3}, {7, 7}, {0, 7}, {99, 10}, {5, 10}} {
		advanceTo(t, d, bridge.Advance{Device: phone, Generation: s.Generation, Acked: bridge.Seq(step.acked), Sent: bridge.Seq(step.acked)})
		wantCursor(t, d, phone, 0, step.want)
	}
	if _, _, sent := cursor(t, d, phone); sent != -1 {
		t.Errorf("sent is %d while the connection is open", sent)
	}
	advanceTo(t, d) // no advances
	advanceTo(t, d, bridge.Advance{Device: dev(fresh(), "unknown"), Generation: 1, Acked: 1})
}

func testAdvanceLeap(t *testing.T, d *DB) {
	u := fresh()
	phone := dev(u, "phone")
	s := open(t, d, phone)
	subscribe(t, d, phone, s.Generation)
	seed(t, d, u, 10)
	steps := []struct {
		name        string
		a           bridge.Advance
		from, acked int64
	}{
		{"acknowledged", bridge.Advance{Acked: 2}, 0, 2},
		{"From below Acked", bridge.Advance{Acked: 6, From: 5}, 5, 6},
		{"the same, stored twice", bridge.Advance{Acked: 6, From: 5}, 5, 6},
		{"From not above the cursor", bridge.Advance{Acked: 6, From: 6}, 5, 6},
		{"From beyond the log", bridge.Advance{Acked: 99, From: 99}, 10, 10},
	}
	for _, step := range steps {
		step.a.Device, step.a.Generation = phone, s.Generation
		advanceTo(t, d, step.a)
		if f, a, _ := cursor(t, d, phone); f != step.from || a != step.acked {
			t.Errorf("%s: from %d, acknowledged %d", step.name, f, a)
		}
	}
}

func testAdvanceMany(t *testing.T, d *DB) {
	var as []bridge.Advance
	for range 50 {
		u := fresh()
		seed(t, d, u, 3)
		s := openAs(t, d, bridge.OpenSession{Device: dev(u, "phone"), Node: "n1", Expiry: time.Hour})
		_, _, err := d.Subscribe(testContext(t), dev(u, "phone"), s.Generation, bridge.Subscription{}, seqPtr(0))
		must(t, err)
		as = append(as, bridge.Advance{Device: dev(u, "phone"), Generation: s.Generation, Acked: bridge.Seq(1 + len(as)%3), Sent: 3})
	}
	as[7].Generation--             // outdated, so it changes nothing
	as[8].Closed = true            // ends the session
	as = append(as, as[9], as[10]) // the same session twice: the higher seq counts
	as[9].Acked, as[50].Acked = 1, 2
	slices.Reverse(as)
	advanceTo(t, d, as...)
	slices.Reverse(as)
	for i, a := range as[:50] {
		want := int64(a.Acked)
		switch i {
		case 7:
			want = 0
		case 8:
			if n := stored(t, d, a.Device.User); n != 0 {
				t.Error("the session that ended is still there")
			}
			continue
		case 9:
			want = 2
		}
		wantCursor(t, d, a.Device, 0, want)
	}
}

func testAdvanceClosed(t *testing.T, d *DB) {
	u := fresh()
	phone := dev(u, "phone")
	seed(t, d, u, 4)
	s := open(t, d, phone)
	_, _, err := d.Subscribe(testContext(t), phone, s.Generation, bridge.Subscription{}, seqPtr(0))
	must(t, err)
	begun := number(t, d, "SELECT "+string(d.clock()))
	advanceTo(t, d, bridge.Advance{Device: phone, Generation: s.Generation, Acked: 2, Sent: 99, Closed: true, Expiry: time.Minute})
	if _, acked, sent := cursor(t, d, phone); acked != 2 || sent != 4 {
		t.Errorf("acknowledged %d, sent %d", acked, sent)
	}
	left := number(t, d, "SELECT expires_at FROM falcon_sessions WHERE user_id = ? AND node = ''", u) - begun
	if left < 60_000 || left > 70_000 {
		t.Errorf("expires in %d ms", left)
	}
}

// testAdvanceOrder writes the same sessions concurrently in opposite orders, with
// takeovers in between. A deadlock would show as an error.
func testAdvanceOrder(t *testing.T, d *DB) {
	ctx := testContext(t)
	u := fresh()
	seed(t, d, u, 50)
	var devices []bridge.Device
	gens := make([]int64, 20)
	for i := range gens {
		devices = append(devices, dev(u, fmt.Sprintf("c%02d", i)))
		gens[i] = open(t, d, devices[i]).Generation
	}
	var wg sync.WaitGroup
	errs := make([]error, 4)
	for w := range errs {
		wg.Go(func() {
			for round := range 15 {
				as := make([]bridge.Advance, len(devices))
				for i := range as {
					as[i] = bridge.Advance{Device: devices[i], Generation: gens[i], Acked: bridge.Seq(round), Sent: bridge.Seq(round)}
				}
				if w%2 == 1 {
					slices.Reverse(as)
				}
				errs[w] = errors.Join(errs[w], d.Advance(ctx, as))
				if w == 3 {
					_, err := d.Open(ctx, bridge.OpenSession{Device: devices[round], Node: "n1", Expiry: time.Hour})
					errs[w] = errors.Join(errs[w], err)
				}
			}
		})
	}
	wg.Wait()
	must(t, errors.Join(errs...))
	wantCursor(t, d, devices[19], 0, 14)
}

// testSubscribeRace subscribes while rows are appended. The cursor must be at exactly the
// head that Subscribe returned; anything in between would be lost or sent twice.
func testSubscribeRace(t *testing.T, d *DB) {
	u, ctx := fresh(), testContext(t)
	stop, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	var failed error
	wg.Go(func() {
		for stop.Err() == nil && failed == nil {
			_, failed = d.Append(ctx, bridge.Command{Drafts: []bridge.Draft{{User: u, Kind: bridge.KindMessage, Title: "T", Message: "M"}}})
		}
	})
	for i := range 20 {
		phone := dev(u, fmt.Sprint(i))
		s := open(t, d, phone)
		h := subscribe(t, d, phone, s.Generation)
		if h.Latest != nil && h.Latest.Seq != h.Last || h.Latest == nil && h.Last != 0 {
			t.Errorf("head %d, latest %+v", h.Last, h.Latest)
		}
		wantCursor(t, d, phone, int64(h.Last), int64(h.Last))
	}
	cancel()
	wg.Wait()
	must(t, failed)
}
