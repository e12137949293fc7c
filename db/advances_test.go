package db

import (
	"fmt"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

func TestHowACursorPassedASeq(t *testing.T) {
	gap := func(above, upTo bridge.Seq, why bridge.SkipReason, at int64) skip {
		return skip{bridge.Skip{Above: above, UpTo: upTo, Why: why}, at}
	}
	var long []advance // as many as are kept, so earlier ones may have been dropped
	for i := range maxAdvances {
		long = append(long, advance{bridge.Seq(101 + i), int64(1001 + i)})
	}
	acked := func(at int64) passage { return passage{How: passedAcknowledged, At: at} }
	for name, tt := range map[string]struct {
		seq, from, acked bridge.Seq
		advances         []advance
		skips            []skip
		want             passage
	}{
		"above the cursor":                      {9, 0, 5, []advance{{0, 0}, {5, 10}}, nil, passage{}},
		"by the advance that passed it":         {5, 0, 9, []advance{{0, 0}, {4, 10}, {6, 20}, {9, 30}}, nil, acked(20)},
		"before the subscription":               {3, 3, 5, []advance{{3, 0}, {5, 10}}, nil, passage{How: passedBefore}},
		"before a subscription, none since":     {3, 4, 4, nil, nil, passage{How: passedBefore}},
		"between two subscriptions":             {7, 8, 9, []advance{{0, 0}, {5, 10}, {8, 0}, {9, 20}}, nil, passage{How: passedBefore}},
		"before an unrecorded move by since":    {7, 8, 8, []advance{{0, 0}, {5, 10}}, nil, passage{How: passedBefore}},
		"acknowledged before the same move":     {4, 8, 8, []advance{{0, 0}, {5, 10}}, nil, acked(10)},
		"in a range that no read returned":      {4, 0, 6, []advance{{0, 0}, {6, 10}}, []skip{gap(3, 4, bridge.SkipUnread, 10)}, passage{passedSkipped, bridge.SkipUnread, 10}},
		"next to that range":                    {5, 0, 6, []advance{{0, 0}, {6, 10}}, []skip{gap(3, 4, bridge.SkipUnread, 10)}, acked(10)},
		"beyond the replay cap":                 {9, 20, 21, []advance{{0, 0}, {4, 5}, {21, 10}}, []skip{gap(4, 20, skipReplayCap, 10)}, passage{passedSkipped, skipReplayCap, 10}},
		"before the cap moved from_seq":         {3, 20, 21, []advance{{0, 0}, {4, 5}, {21, 10}}, []skip{gap(4, 20, skipReplayCap, 10)}, acked(5)},
		"skipped, then sent and acknowledged":   {4, 0, 6, []advance{{0, 0}, {6, 10}, {3, 0}, {6, 20}}, []skip{gap(3, 4, bridge.SkipUnread, 10)}, acked(20)},
		"skipped twice":                         {4, 0, 6, []advance{{0, 0}, {6, 10}, {3, 0}, {6, 20}}, []skip{gap(3, 4, bridge.SkipUnread, 10), gap(3, 4, bridge.SkipTooLarge, 20)}, passage{passedSkipped, bridge.SkipTooLarge, 20}},
		"acknowledged, then due again":          {4, 0, 3, []advance{{0, 0}, {6, 10}}, nil, acked(10)},
		"skipped, then due again":               {4, 0, 3, []advance{{0, 0}, {6, 10}}, []skip{gap(3, 4, bridge.SkipUnread, 10)}, passage{}},
		"by a release without a history":        {4, 0, 5, nil, nil, passage{How: passedPerhaps}},
		"moved by it, then acknowledged":        {4, 2, 6, []advance{{5, -10}, {6, 10}}, nil, passage{How: passedPerhaps, At: 10}},
		"moved by it, before the subscription":  {2, 2, 6, []advance{{5, -10}, {6, 10}}, nil, passage{How: passedBefore}},
		"by a release without skips":            {4, 0, 6, []advance{{0, 0}, {3, 5}, {6, -10}}, nil, passage{How: passedPerhaps, At: 10}},
		"before the kept advances":              {50, 0, 164, long, nil, passage{How: passedAcknowledged}},
		"skipped before the kept advances":      {50, 0, 164, long, []skip{gap(49, 50, bridge.SkipTooLarge, 9)}, passage{passedSkipped, bridge.SkipTooLarge, 9}},
		"before them, where from_seq has moved": {50, 60, 164, long, nil, passage{How: passedUnknown}},
		"by the second kept advance":            {102, 0, 164, long, nil, acked(1002)},
	} {
		if got := pass(tt.seq, tt.from, tt.acked, tt.advances, tt.skips); got != tt.want {
			t.Errorf("%s: %+v, want %+v", name, got, tt.want)
		}
	}
	var many []skip
	for range bridge.MaxSkips {
		many = append(many, gap(90, 91, bridge.SkipUnread, 50))
	}
	if got := pass(4, 0, 95, []advance{{0, 0}, {10, 20}, {95, 60}}, many); got.How != passedUnknown {
		t.Errorf("passed before the kept skips: %+v", got)
	}
	if got := pass(4, 0, 164, long, many); got.How != passedUnknown {
		t.Errorf("passed before the kept advances and skips: %+v", got)
	}
}

// historyOf returns the advances and skips that are stored for the session of a client.
func historyOf(t *testing.T, d *DB, u bridge.UserID, client string) ([]advance, []skip) {
	t.Helper()
	rs, err := d.records(testContext(t), u)
	must(t, err)
	for _, r := range rs {
		if r.ClientID == client {
			return decodeAdvances(append(r.Advances, r.Recent...)), decodeSkips(r.Skips)
		}
	}
	t.Fatalf("%s has no session", client)
	return nil, nil
}

func TestTheLast64AdvancesAndSkipsOfASessionAreKept(t *testing.T) {
	each(t, func(t *testing.T, d *DB) {
		u := fresh()
		ns := seed(t, d, u, 300)
		s := open(t, d, dev(u, "phone"))
		since := bridge.Seq(0)
		must(t, third(d.Subscribe(testContext(t), dev(u, "phone"), s.Generation, bridge.Subscription{QoS: 1}, &since)))
		for seq := bridge.Seq(2); seq <= 300; seq += 2 { // each advance skips one and acknowledges one
			advanceTo(t, d, bridge.Advance{Device: dev(u, "phone"), Generation: s.Generation, Acked: seq, Sent: seq,
				Skipped: []bridge.Skip{{Above: seq - 2, UpTo: seq - 1, Why: bridge.SkipTooLarge}}})
		}
		as, ss := historyOf(t, d, u, "phone")
		if len(as) < maxAdvances || len(as) > maxAdvances+10 || len(ss) != bridge.MaxSkips {
			t.Errorf("%d advances and %d skips", len(as), len(ss))
		}
		for i, a := range as[len(as)-maxAdvances:] {
			if want := bridge.Seq(300 - 2*(maxAdvances-1-i)); a.Seq != want || a.At == 0 {
				t.Fatalf("advance %d is %+v, want seq %d", i, a, want)
			}
		}
		for seq, want := range map[int]string{
			300: "[phone: acknowledged  true]",
			299: "[phone: skipped too large true]",
			176: "[phone: acknowledged  true]",
			175: "[phone: skipped too large true]",
			2:   "", // acknowledged or skipped: an advance so long ago is no longer kept
		} {
			if got := fates(accountOf(t, d, ns[seq-1].ID)); got != want {
				t.Errorf("seq %d: %s, want %s", seq, got, want)
			}
		}
		if rows := number(t, d, "SELECT length(recent) FROM falcon_sessions WHERE user_id = ?", u); d.dialect == Postgres && rows > 160 {
			t.Errorf("the session row, which each flush writes, has %d bytes of advances", rows)
		}
	})
}

// In a rolling upgrade, nodes of the previous release move cursors without recording what
// they skipped. A notification that such a node passed may not count as acknowledged.
func TestAnAdvanceByThePreviousReleaseCountsAsNoAcknowledgement(t *testing.T) {
	each(t, func(t *testing.T, d *DB) {
		u, ctx := fresh(), testContext(t)
		ns := seed(t, d, u, 4)
		s := open(t, d, dev(u, "phone"))
		since := bridge.Seq(0)
		must(t, third(d.Subscribe(ctx, dev(u, "phone"), s.Generation, bridge.Subscription{QoS: 1}, &since)))
		must(t, d.Delete(ctx, u, ns[1].ID))
		if d.dialect == Postgres {
			exec(t, d, fmt.Sprintf("SELECT falcon_advance('{%s}', '{phone}', '{%d}', '{3}', '{3}', '{0}', '{f}', '{0}')", u, s.Generation))
		} else {
			exec(t, d, "UPDATE falcon_sessions SET acked_seq = 3 WHERE user_id = ?", u)
		}
		exec(t, d, "UPDATE falcon_tombstones SET at = at - 1000 WHERE user_id = ?", u)
		advanceTo(t, d, bridge.Advance{Device: dev(u, "phone"), Generation: s.Generation, Acked: 4, Sent: 4})
		for seq, want := range map[int]string{1: "[phone: acknowledged  true]", 2: "", 3: "[phone: acknowledged  true]", 4: "[phone: acknowledged  true]"} {
			if got := fates(accountOf(t, d, ns[seq-1].ID)); got != want {
				t.Errorf("seq %d: %q, want %q", seq, got, want)
			}
		}
	})
}

// third returns the error of a call with three results.
func third[T, U any](_ T, _ U, err error) error { return err }

func TestPastSessionsAreKeptFor30Days(t *testing.T) {
	each(t, func(t *testing.T, d *DB) {
		u, ctx := fresh(), testContext(t)
		ns := seed(t, d, u, 3)
		begin := func(client string, clean bool) bridge.Session {
			t.Helper()
			s := openAs(t, d, bridge.OpenSession{Device: dev(u, client), Node: "n1", Clean: clean, Expiry: time.Hour})
			since := bridge.Seq(0)
			must(t, third(d.Subscribe(ctx, dev(u, client), s.Generation, bridge.Subscription{QoS: 1}, &since)))
			return s
		}
		move := func(client string, s bridge.Session, acked bridge.Seq, closed bool, expiry time.Duration) {
			t.Helper()
			advanceTo(t, d, bridge.Advance{Device: dev(u, client), Generation: s.Generation, Acked: acked, Sent: acked, Closed: closed, Expiry: expiry})
		}
		move("a ended", begin("a ended", false), 2, true, 0)
		s := begin("b expired", false)
		move("b expired", s, 1, true, time.Hour)
		exec(t, d, "UPDATE falcon_sessions SET expires_at = used_at + 1 WHERE user_id = ? AND client_id = 'b expired'", u)
		// A clean start whose subscription begins at the end of the log.
		move("c clean", begin("c clean", false), 2, false, 0)
		s = openAs(t, d, bridge.OpenSession{Device: dev(u, "c clean"), Node: "n1", Clean: true, Expiry: time.Hour})
		subscribe(t, d, dev(u, "c clean"), s.Generation)
		begin("d removed", false)
		must(t, d.RemoveDevice(ctx, dev(u, "d removed")))
		open(t, d, dev(u, "e never subscribed"))
		must(t, d.RemoveDevice(ctx, dev(u, "e never subscribed")))
		want := "[a ended: expired session acknowledged true][b expired: expired session behind true]" +
			"[c clean: expired session acknowledged true][d removed: expired session behind true]"
		check := func(when, want string) {
			t.Helper()
			if got := fates(accountOf(t, d, ns[1].ID)); got != want {
				t.Errorf("%s:\n%s\nwant\n%s", when, got, want)
			}
		}
		check("after they ended", want)
		for {
			n, err := d.ExpireSessions(ctx, 10)
			must(t, err)
			if n == 0 {
				break
			}
		}
		check("after their rows were removed", want)
		late := seed(t, d, u, 1)[0]
		if got := fates(accountOf(t, d, late.ID)); got != "[a ended: expired session  true][b expired: expired session  true][c clean: behind  false][d removed: expired session  true]" {
			t.Errorf("a notification committed after they ended: %s", got)
		}
		exec(t, d, "UPDATE falcon_past_sessions SET ended_at = ended_at - ? WHERE user_id = ? AND client_id <> 'a ended'", tombstoneLife.Milliseconds()+1000, u)
		n, err := d.ExpirePastSessions(ctx, 2)
		must(t, err)
		if again, err := d.ExpirePastSessions(ctx, 2); err != nil || n != 2 || again != 1 {
			t.Errorf("30 days later: %d and %d removed, want 2 and 1, %v", n, again, err)
		}
		check("30 days later", "[a ended: expired session acknowledged true][c clean: skipped subscribed later false]")
	})
}

// Attack: fill the table by connecting under ever new client IDs, or with one client ID
// and a clean start each time.
func TestPastSessionsOfAUserAreBounded(t *testing.T) {
	each(t, func(t *testing.T, d *DB) {
		u := fresh()
		seed(t, d, u, 1)
		for i := range 130 {
			client := "same"
			if i%2 == 0 {
				client = fmt.Sprint("new ", i)
			}
			s := openAs(t, d, bridge.OpenSession{Device: dev(u, client), Node: "n1", Clean: true, Expiry: time.Hour})
			subscribe(t, d, dev(u, client), s.Generation)
			if i%3 == 0 {
				advanceTo(t, d, bridge.Advance{Device: dev(u, client), Generation: s.Generation, Acked: 1, Sent: 1, Closed: true})
			}
		}
		if n := number(t, d, "SELECT count(*) FROM falcon_past_sessions WHERE user_id = ?", u); n != 64 {
			t.Errorf("%d past sessions are kept, want 64", n)
		}
		if n := number(t, d, "SELECT count(*) FROM falcon_histories h WHERE NOT EXISTS (SELECT 1 FROM falcon_sessions s WHERE s.user_id = h.user_id AND s.client_id = h.client_id)"); n != 0 {
			t.Errorf("%d histories are left without a session", n)
		}
	})
}

// Attack: after a user's erasure, learn from past sessions which devices the user had.
func TestAnErasureErasesPastSessions(t *testing.T) {
	each(t, func(t *testing.T, d *DB) {
		u, other, ctx := fresh(), fresh(), testContext(t)
		for _, v := range []bridge.UserID{u, other} {
			seed(t, d, v, 3)
			for _, client := range []string{"ended", "current"} {
				s := open(t, d, dev(v, client))
				since := bridge.Seq(0)
				must(t, third(d.Subscribe(ctx, dev(v, client), s.Generation, bridge.Subscription{QoS: 1}, &since)))
				advanceTo(t, d, bridge.Advance{Device: dev(v, client), Generation: s.Generation, Acked: 3, Sent: 3, Closed: client == "ended",
					Skipped: []bridge.Skip{{Above: 0, UpTo: 1, Why: bridge.SkipUnread}}})
			}
		}
		left := func(v bridge.UserID) int64 {
			return number(t, d, "SELECT (SELECT count(*) FROM falcon_past_sessions WHERE user_id = ?) + (SELECT count(*) FROM falcon_histories WHERE user_id = ?)", v, v)
		}
		if left(u) != 2 {
			t.Fatalf("%d rows before", left(u))
		}
		done, err := d.Erase(ctx, u)
		if err != nil || !done {
			t.Fatalf("erase: %v, %v", done, err)
		}
		if left(u) != 0 || left(other) != 2 {
			t.Errorf("%d rows of the user are left, and %d of another user", left(u), left(other))
		}
		// Seqs start at 1 again, and the former history must not apply to the new seq 1.
		if got := fates(accountOf(t, d, seed(t, d, u, 1)[0].ID)); got != "" {
			t.Errorf("a new notification: %s", got)
		}
	})
}

func TestARestoreDropsTheCursorHistoryOfTheFormerLog(t *testing.T) {
	each(t, func(t *testing.T, d *DB) {
		u, ctx := fresh(), testContext(t)
		ns := seed(t, d, u, 3)
		s := open(t, d, dev(u, "phone"))
		since := bridge.Seq(0)
		must(t, third(d.Subscribe(ctx, dev(u, "phone"), s.Generation, bridge.Subscription{QoS: 1}, &since)))
		advanceTo(t, d, bridge.Advance{Device: dev(u, "phone"), Generation: s.Generation, Acked: 3, Sent: 3, Closed: true, Expiry: time.Hour,
			Skipped: []bridge.Skip{{Above: 0, UpTo: 1, Why: bridge.SkipUnread}}})
		exec(t, d, "UPDATE falcon_meta SET value = 'elsewhere' WHERE key = 'mark'")
		must(t, d.loadEpoch(ctx))
		if got := fates(accountOf(t, d, ns[2].ID)); got != "" {
			t.Errorf("before the device connected again: %s", got)
		}
		open(t, d, dev(u, "phone"))
		if as, ss := historyOf(t, d, u, "phone"); len(as) != 0 || len(ss) != 0 {
			t.Errorf("advances %v and skips %v are still stored", as, ss)
		}
		if got := fates(accountOf(t, d, ns[2].ID)); got != "[phone: acknowledged  false]" {
			t.Errorf("after the device connected again: %s", got)
		}
	})
}
