package db

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/testserver"
)

func TestSessions(t *testing.T) {
	together(t, map[string]func(*testing.T, *DB){
		"a session is resumed with its cursor and subscription": testSessionReturns,
		"a clean start discards the session":                    testSessionClean,
		"without an expiry nothing is stored":                   testSessionNotStored,
		"a session without an expiry ends with its connection":  testSessionEnds,
		"an expired session is not present":                     testSessionExpired,
		"what was sent is only known after an orderly close":    testSessionSent,
		"the expiry on a dead node counts from its last beat":   testSessionOfDeadNode,
		"a user has at most 32 sessions":                        testSessionLimit,
		"many new devices at once stay within the limit":        testSessionLimitRace,
		"one device opened many times at once":                  testSessionRace,
		"a cursor beyond the log is set back to its end":        testSessionFuture,
		"a client id can have any characters":                   testSessionClientIDs,
	})
}

func dev(u bridge.UserID, client string) bridge.Device {
	return bridge.Device{User: u, ClientID: client}
}

// open opens a session with an expiry of an hour on a live node.
func open(t testing.TB, d *DB, dv bridge.Device) bridge.Session {
	t.Helper()
	return openAs(t, d, bridge.OpenSession{Device: dv, Node: "n1", Expiry: time.Hour})
}

func openAs(t testing.TB, d *DB, o bridge.OpenSession) bridge.Session {
	t.Helper()
	must(t, d.Beat(testContext(t), "n1", bridge.Figures{}))
	s, err := d.Open(testContext(t), o)
	must(t, err)
	return s
}

func subscribe(t testing.TB, d *DB, dv bridge.Device, gen int64) bridge.Head {
	t.Helper()
	h, stale, err := d.Subscribe(testContext(t), dv, gen, bridge.Subscription{QoS: 1}, nil)
	if err != nil || stale {
		t.Fatalf("subscribe: stale %v, %v", stale, err)
	}
	return h
}

func advanceTo(t testing.TB, d *DB, as ...bridge.Advance) {
	t.Helper()
	must(t, d.Advance(testContext(t), as))
}

// stored counts u's sessions.
func stored(t testing.TB, d *DB, u bridge.UserID) int64 {
	t.Helper()
	return number(t, d, "SELECT count(*) FROM falcon_sessions WHERE user_id = ?", u)
}

func testSessionReturns(t *testing.T, d *DB) {
	u, ctx := fresh(), testContext(t)
	seed(t, d, u, 5)
	first := open(t, d, dev(u, "phone"))
	if first.Present || first.Subscribed != nil || first.Generation == 0 {
		t.Errorf("the first: %+v", first)
	}
	want := bridge.Subscription{QoS: 1, RetainAsPublished: true, ID: 268435455}
	if _, stale, err := d.Subscribe(ctx, dev(u, "phone"), first.Generation, want, nil); err != nil || stale {
		t.Fatalf("subscribe: %v, %v", stale, err)
	}
	seed(t, d, u, 3)
	advanceTo(t, d, bridge.Advance{Device: dev(u, "phone"), Generation: first.Generation, Acked: 6, Sent: 8, Closed: true, Expiry: time.Hour})
	again := open(t, d, dev(u, "phone"))
	if !again.Present || again.Subscribed == nil || *again.Subscribed != want || again.From != 5 || again.Acked != 6 || again.Sent != 8 {
		t.Errorf("again: %+v, %+v", again, again.Subscribed)
	}
	if again.Generation <= first.Generation {
		t.Errorf("generation %d after %d", again.Generation, first.Generation)
	}
	other := open(t, d, dev(fresh(), "phone"))
	if other.Present || other.Generation <= again.Generation {
		t.Errorf("another user's: %+v", other)
	}
}

func testSessionClean(t *testing.T, d *DB) {
	u := fresh()
	seed(t, d, u, 2)
	for name, tt := range map[string]struct {
		expiry time.Duration
		rows   int64
	}{"with an expiry": {time.Hour, 1}, "without an expiry": {0, 0}} {
		s := open(t, d, dev(u, name))
		subscribe(t, d, dev(u, name), s.Generation)
		clean := openAs(t, d, bridge.OpenSession{Device: dev(u, name), Node: "n1", Clean: true, Expiry: tt.expiry})
		if clean.Present || clean.Subscribed != nil || clean.Acked != 0 || clean.From != 0 || clean.Generation <= s.Generation {
			t.Errorf("%s: %+v", name, clean)
		}
		if n := number(t, d, "SELECT count(*) FROM falcon_sessions WHERE user_id = ? AND client_id = ?", u, name); n != tt.rows {
			t.Errorf("%s: %d rows", name, n)
		}
		if _, stale, err := d.Subscribe(testContext(t), dev(u, name), s.Generation, bridge.Subscription{}, nil); err != nil || !stale {
			t.Errorf("%s: Subscribe by the former connection: stale %v, %v", name, stale, err)
		}
		if tt.expiry > 0 {
			if again := open(t, d, dev(u, name)); !again.Present || again.Subscribed != nil || again.Acked != 0 {
				t.Errorf("%s, reopened: %+v", name, again)
			}
		}
	}
}

func testSessionNotStored(t *testing.T, d *DB) {
	u := fresh()
	last := int64(0)
	for i := range 6 {
		s := openAs(t, d, bridge.OpenSession{Device: dev(u, fmt.Sprint(i/2)), Node: "n1", Clean: i%2 == 0})
		if s.Present || s.Generation <= last {
			t.Errorf("open %d: %+v after %d", i, s, last)
		}
		last = s.Generation
	}
	if n := stored(t, d, u); n != 0 {
		t.Errorf("%d rows stored", n)
	}
}

func testSessionEnds(t *testing.T, d *DB) {
	u := fresh()
	s := open(t, d, dev(u, "phone"))
	subscribe(t, d, dev(u, "phone"), s.Generation)
	last := openAs(t, d, bridge.OpenSession{Device: dev(u, "phone"), Node: "n1"})
	if !last.Present || last.Subscribed == nil {
		t.Errorf("resumed: %+v", last)
	}
	advanceTo(t, d, bridge.Advance{Device: dev(u, "phone"), Generation: last.Generation, Closed: true})
	if n := stored(t, d, u); n != 0 {
		t.Errorf("%d rows stored", n)
	}
}

func testSessionExpired(t *testing.T, d *DB) {
	u := fresh()
	s := open(t, d, dev(u, "phone"))
	subscribe(t, d, dev(u, "phone"), s.Generation)
	advanceTo(t, d, bridge.Advance{Device: dev(u, "phone"), Generation: s.Generation, Closed: true, Expiry: 20 * time.Millisecond})
	exec(t, d, "UPDATE falcon_sessions SET expires_at = expires_at - 100 WHERE user_id = ?", u)
	if again := open(t, d, dev(u, "phone")); again.Present || again.Subscribed != nil || again.Generation <= s.Generation {
		t.Errorf("after the expiry: %+v", again)
	}
	if n := number(t, d, "SELECT count(*) FROM falcon_sessions WHERE user_id = ? AND expires_at = 0 AND node = 'n1'", u); n != 1 {
		t.Errorf("the new session is not stored as open")
	}
}

func testSessionSent(t *testing.T, d *DB) {
	u := fresh()
	phone := dev(u, "phone")
	seed(t, d, u, 9)
	s := open(t, d, phone)
	subscribe(t, d, phone, s.Generation)
	seed(t, d, u, 9)
	advanceTo(t, d, bridge.Advance{Device: phone, Generation: s.Generation, Acked: 10, Sent: 12})
	s = open(t, d, phone)
	if s.Sent != 18 || s.Acked != 10 {
		t.Errorf("after a crash: sent %d, acknowledged %d", s.Sent, s.Acked)
	}
	advanceTo(t, d, bridge.Advance{Device: phone, Generation: s.Generation, Acked: 11, Sent: 13, Closed: true, Expiry: time.Hour})
	if s = open(t, d, phone); s.Sent != 13 || s.Acked != 11 {
		t.Errorf("after a close: sent %d, acknowledged %d", s.Sent, s.Acked)
	}
	if s = open(t, d, phone); s.Sent != 18 {
		t.Errorf("after a takeover: sent %d", s.Sent)
	}
}

func testSessionOfDeadNode(t *testing.T, d *DB) {
	ctx := testContext(t)
	for name, tt := range map[string]struct {
		expiry  time.Duration
		silence time.Duration
		present bool
	}{
		"on a live node":                            {time.Minute, 0, true},
		"on a dead node, before the expiry":         {time.Hour, 30 * time.Minute, true},
		"on a dead node, after the expiry":          {time.Minute, 2 * time.Minute, false},
		"without expiry, on a live node":            {0, 5 * time.Second, true},
		"without expiry, on a dead node":            {0, time.Minute, false},
		"an expiry shorter than the node's timeout": {time.Second, 5 * time.Second, true},
	} {
		u := fresh()
		node := string(u)
		must(t, d.Beat(ctx, node, bridge.Figures{}))
		open(t, d, dev(u, "phone"))
		openAs(t, d, bridge.OpenSession{Device: dev(u, "phone"), Node: node, Expiry: tt.expiry})
		exec(t, d, "UPDATE falcon_nodes SET beat_at = beat_at - ? WHERE id = ?", tt.silence.Milliseconds(), node)
		if s := open(t, d, dev(u, "phone")); s.Present != tt.present {
			t.Errorf("%s: present %v", name, s.Present)
		}
	}
	u := fresh() // on a node that never beat, the expiry counts from the open
	openAs(t, d, bridge.OpenSession{Device: dev(u, "phone"), Node: "unheard", Expiry: time.Minute})
	if s := openAs(t, d, bridge.OpenSession{Device: dev(u, "phone"), Node: "unheard", Expiry: time.Minute}); !s.Present {
		t.Errorf("on a node that has not beaten yet: %+v", s)
	}
	exec(t, d, "UPDATE falcon_sessions SET used_at = used_at - 120000 WHERE user_id = ?", u)
	if s := open(t, d, dev(u, "phone")); s.Present {
		t.Errorf("on a node that never beat, later: %+v", s)
	}
}

func testSessionLimit(t *testing.T, d *DB) {
	u := fresh()
	for i := range bridge.MaxSessions {
		s := open(t, d, dev(u, fmt.Sprint("c", i)))
		if i > 0 { // c0 stays connected
			advanceTo(t, d, bridge.Advance{Device: dev(u, fmt.Sprint("c", i)), Generation: s.Generation, Closed: true, Expiry: time.Hour})
		}
		exec(t, d, "UPDATE falcon_sessions SET used_at = ? WHERE user_id = ? AND client_id = ?", 1000+i, u, fmt.Sprint("c", i))
	}
	open(t, d, dev(u, "c1")) // no longer the longest unused
	for _, client := range []string{"new1", "new2"} {
		open(t, d, dev(u, client))
	}
	if n := stored(t, d, u); n != bridge.MaxSessions {
		t.Errorf("%d sessions, want %d", n, bridge.MaxSessions)
	}
	if n := number(t, d, "SELECT count(*) FROM falcon_sessions WHERE user_id = ? AND client_id IN ('c2', 'c3')", u); n != 0 {
		t.Error("the two sessions that were unused for the longest time are still there")
	}
}

func testSessionLimitRace(t *testing.T, d *DB) {
	u, ctx := fresh(), testContext(t)
	must(t, d.Beat(ctx, "n1", bridge.Figures{}))
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for w := range errs {
		wg.Go(func() {
			for i := range 6 {
				_, err := d.Open(ctx, bridge.OpenSession{Device: dev(u, fmt.Sprint(w, "-", i)), Node: "n1", Expiry: time.Hour})
				errs[w] = errors.Join(errs[w], err)
			}
		})
	}
	wg.Wait()
	must(t, errors.Join(errs...))
	if n := stored(t, d, u); n != bridge.MaxSessions {
		t.Errorf("%d sessions", n)
	}
}

// testSessionRace opens one device many times at once, as after a network partition. Every
// open gets another generation, and the row ends up with the highest one.
func testSessionRace(t *testing.T, d *DB) {
	u, ctx := fresh(), testContext(t)
	must(t, d.Beat(ctx, "n1", bridge.Figures{}))
	var mu sync.Mutex
	seen := map[int64]bool{}
	highest := int64(0)
	var wg sync.WaitGroup
	errs := make([]error, 6)
	for w := range errs {
		wg.Go(func() {
			before := int64(0)
			for range 10 {
				s, err := d.Open(ctx, bridge.OpenSession{Device: dev(u, "phone"), Node: "n1", Clean: w == 0, Expiry: time.Hour})
				if err == nil && s.Generation <= before {
					err = fmt.Errorf("generation %d after %d", s.Generation, before)
				}
				errs[w], before = errors.Join(errs[w], err), s.Generation
				mu.Lock()
				if seen[s.Generation] {
					errs[w] = errors.Join(errs[w], fmt.Errorf("generation %d twice", s.Generation))
				}
				seen[s.Generation] = true
				highest = max(highest, s.Generation)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	must(t, errors.Join(errs...))
	if got := number(t, d, "SELECT generation FROM falcon_sessions WHERE user_id = ?", u); got != highest {
		t.Errorf("the row has generation %d, the last open %d", got, highest)
	}
}

func testSessionFuture(t *testing.T, d *DB) {
	u := fresh()
	seed(t, d, u, 2)
	s := open(t, d, dev(u, "phone"))
	subscribe(t, d, dev(u, "phone"), s.Generation)
	exec(t, d, "UPDATE falcon_sessions SET acked_seq = 50, from_seq = 40, sent_seq = 60 WHERE user_id = ?", u)
	if s = open(t, d, dev(u, "phone")); s.Acked != 2 || s.From != 2 || s.Sent != 2 {
		t.Errorf("in a log of 2: %+v", s)
	}
	if n := number(t, d, "SELECT acked_seq FROM falcon_sessions WHERE user_id = ?", u); n != 2 {
		t.Errorf("the stored cursor is %d, want 2", n)
	}
}

func testSessionClientIDs(t *testing.T, d *DB) {
	u := fresh()
	for _, client := range []string{`it's`, `"q"`, `a\b`, `{x,y}`, `NULL`, `?`, `$1`, ` `, `🦅`, strings.Repeat("é", 128), "tab\t", "a,b", "%s"} {
		s := open(t, d, dev(u, client))
		subscribe(t, d, dev(u, client), s.Generation)
		seed(t, d, u, 1)
		head, err := d.Head(testContext(t), u)
		must(t, err)
		advanceTo(t, d, bridge.Advance{Device: dev(u, client), Generation: s.Generation, Acked: head.Last, Sent: head.Last, Closed: true, Expiry: time.Hour})
		if s = open(t, d, dev(u, client)); !s.Present || s.Acked != head.Last {
			t.Errorf("client id %q: %+v", client, s)
		}
	}
}

func TestGenerationsGrowAcrossRestarts(t *testing.T) {
	for name, url := range map[string]string{"SQLite": filepath.Join(t.TempDir(), "falcon.db")} {
		t.Run(name, func(t *testing.T) {
			last := int64(0)
			for i := range 4 {
				d := openTest(t, Options{URL: url})
				for range 3 {
					s := openAs(t, d, bridge.OpenSession{Device: dev("7", "phone"), Node: "n1", Expiry: time.Hour * time.Duration(i%2)})
					if s.Generation <= last {
						t.Fatalf("generation %d after %d", s.Generation, last)
					}
					last = s.Generation
				}
				must(t, d.Close())
			}
		})
	}
}

// When many devices that store no session connect at once, none of them must wait for the
// disk.
func TestSQLiteWritesNothingToOpenASessionThatIsNotStored(t *testing.T) {
	d := openTest(t, Options{URL: filepath.Join(t.TempDir(), "falcon.db")})
	openAs(t, d, bridge.OpenSession{Device: dev("7", "first"), Node: "n1", Clean: true}) // reserves a block of generations
	c, err := d.read.Conn(testContext(t))                                                // data_version is relative to a connection
	must(t, err)
	defer func() { must(t, c.Close()) }()
	version := func() int64 {
		t.Helper()
		var n int64
		must(t, c.QueryRowContext(testContext(t), "PRAGMA data_version").Scan(&n))
		return n
	}
	before := version()
	for i := range 20 {
		_, err := d.Open(testContext(t), bridge.OpenSession{Device: dev("7", fmt.Sprint(i)), Node: "n1", Clean: i%2 == 0})
		must(t, err)
	}
	if after := version(); after != before {
		t.Errorf("the database changed: version %d, then %d", before, after)
	}
	openAs(t, d, bridge.OpenSession{Device: dev("7", "stored"), Node: "n1", Expiry: time.Hour})
	if version() == before {
		t.Error("data_version does not change with a write, so the test shows nothing")
	}
}

// When a session is opened while another connection has it open, that connection may still
// be sending. Open says so with Shared.
func TestASessionThatIsAlreadyOpenIsShared(t *testing.T) {
	d := openTest(t, Options{URL: testserver.Postgres(t)})
	u := fresh()
	for i, want := range []bool{false, true, false} {
		s, err := d.Open(testContext(t), bridge.OpenSession{Device: dev(u, "phone"), Node: fmt.Sprint("n", i), Expiry: time.Hour})
		must(t, err)
		if s.Shared != want {
			t.Errorf("connection %d: shared %v, want %v", i, s.Shared, want)
		}
		if i == 1 {
			must(t, d.Advance(testContext(t), []bridge.Advance{{Device: dev(u, "phone"), Generation: s.Generation, Sent: -1, Closed: true, Expiry: time.Hour}}))
			seed(t, d, u, 3)
		}
		if i == 2 && s.Sent != 3 {
			t.Errorf("sent up to %d, want 3, which the former connection may have sent", s.Sent)
		}
	}
}
