package db

import (
	"fmt"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/testserver"
)

func TestPruning(t *testing.T) {
	together(t, map[string]func(*testing.T, *DB){
		"expired sessions are removed":                           testExpireSessions,
		"sessions of a dead node are removed after their expiry": testExpireDeadNode,
		"the rows of a node that is long dead are removed":       testForgetNodes,
		"keys are removed after KeyTTL":                          testExpireKeys,
		"an expired session that is locked is left alone":        testExpireLocked,
	})
}

// Retention applies to all users, so these tests have a database each.
func TestRetentionDeletesTheOldest(t *testing.T) {
	each(t, func(t *testing.T, d *DB) {
		u, other, ctx := fresh(), fresh(), testContext(t)
		for _, n := range []int{10, 10, 20} { // the last 20 stay recent
			seed(t, d, u, n)
			seed(t, d, other, n)
		}
		now := time.Now()
		exec(t, d, "UPDATE falcon_notifications SET created_at = ? WHERE seq <= 20", now.Add(-time.Hour).UnixMilli())
		_, _, err := d.ReadUpTo(ctx, u, 5)
		must(t, err)
		if n, err := d.Retain(ctx, now.Add(-2*time.Hour), 10); err != nil || n != 0 {
			t.Errorf("with a limit older than all rows: %d, %v", n, err)
		}
		total := 0
		for i := 0; ; i++ {
			n, err := d.Retain(ctx, now.Add(-time.Minute), 7)
			if err != nil || n > 7 || i > 100 {
				t.Fatalf("call %d: %d, %v", i, n, err)
			}
			checkCounts(t, d, u)
			checkCounts(t, d, other)
			if total += n; n == 0 {
				break
			}
		}
		if total != 40 {
			t.Errorf("deleted %d, want 40", total)
		}
		for _, v := range []bridge.UserID{u, other} {
			page, err := d.List(ctx, bridge.Query{User: v, Forward: true, Limit: 1})
			if err != nil || len(page.Items) != 1 || page.Items[0].Seq != 21 {
				t.Errorf("the oldest of %s: %v, %v", v, seqsOf(page.Items), err)
			}
		}
		s, err := d.Skip(ctx, u, 3, 100) // a cursor before the deleted rows needs no change
		if err != nil || s != 3 {
			t.Errorf("skip: %d, %v", s, err)
		}
		after, err := d.After(ctx, u, 3, 1)
		if err != nil || len(after) != 1 || after[0].Seq != 21 {
			t.Errorf("after 3: %v, %v", seqsOf(after), err)
		}
	})
}

func TestRetentionSkipsUsersThatAreLocked(t *testing.T) {
	d := openTest(t, Options{URL: testserver.Postgres(t)})
	ctx := testContext(t)
	locked, free := fresh(), fresh()
	seed(t, d, locked, 12)
	seed(t, d, free, 12)
	release := lockInbox(t, d, locked)
	drain := func() int {
		t.Helper()
		total := 0
		for range 50 {
			n, err := d.Retain(ctx, time.Now().Add(time.Minute), 5)
			must(t, err) // a call that waited for the lock would fail
			if total += n; n == 0 {
				return total
			}
		}
		t.Fatal("Retain still deletes rows after 50 calls")
		return 0
	}
	if n := drain(); n != 12 {
		t.Errorf("deleted %d while one of two users is locked, want 12", n)
	}
	checkCounts(t, d, locked)
	checkCounts(t, d, free)
	if n := number(t, d, "SELECT count(*) FROM falcon_notifications WHERE user_id = ?", locked); n != 12 {
		t.Errorf("the locked user has %d left, want 12", n)
	}
	release()
	if n := drain(); n != 12 {
		t.Errorf("deleted %d after the release", n)
	}
	checkCounts(t, d, locked)
}

func TestRetentionCopesWithRowsFromTheFuture(t *testing.T) {
	each(t, func(t *testing.T, d *DB) {
		u, ctx := fresh(), testContext(t)
		ns := seed(t, d, u, 20)
		now := time.Now()
		exec(t, d, "UPDATE falcon_notifications SET created_at = ? WHERE seq <= 10", now.Add(-time.Hour).UnixMilli())
		exec(t, d, "UPDATE falcon_notifications SET created_at = ? WHERE id = ?", now.Add(time.Hour).UnixMilli(), ns[0].ID)
		total := 0
		for range 10 {
			n, err := d.Retain(ctx, now.Add(-time.Minute), 4)
			must(t, err)
			total += n
		}
		if total != 9 {
			t.Errorf("deleted %d, want the 9 old rows after one with a time in the future", total)
		}
		checkCounts(t, d, u)
	})
}

// drainSessions calls ExpireSessions until it removes nothing more, and returns how many
// sessions it removed.
func drainSessions(t testing.TB, d *DB) (total int) {
	t.Helper()
	for range 20 {
		n, err := d.ExpireSessions(testContext(t), 3)
		must(t, err)
		if n > 3 {
			t.Errorf("one call removed %d sessions, want at most 3", n)
		}
		if total += n; n == 0 {
			return total
		}
	}
	t.Fatal("ExpireSessions still removes sessions after 20 calls")
	return 0
}

func testExpireSessions(t *testing.T, d *DB) {
	drainSessions(t, d)
	u := fresh()
	for i := range 8 {
		phone := dev(u, fmt.Sprint(i))
		s := open(t, d, phone)
		if i < 7 {
			advanceTo(t, d, bridge.Advance{Device: phone, Generation: s.Generation, Closed: true, Expiry: time.Hour})
		}
	}
	exec(t, d, "UPDATE falcon_sessions SET expires_at = 5 WHERE user_id = ? AND client_id < '5'", u)
	if n := drainSessions(t, d); n != 5 {
		t.Errorf("expired %d", n)
	}
	if n := stored(t, d, u); n != 3 {
		t.Errorf("%d sessions left", n)
	}
}

func testExpireDeadNode(t *testing.T, d *DB) {
	drainSessions(t, d)
	ctx, u := testContext(t), fresh()
	node := string(u)
	must(t, d.Beat(ctx, node, bridge.Figures{}))
	for i, expiry := range []time.Duration{0, time.Minute, time.Minute, time.Hour} {
		openAs(t, d, bridge.OpenSession{Device: dev(u, fmt.Sprint(i)), Node: node, Expiry: time.Hour})
		openAs(t, d, bridge.OpenSession{Device: dev(u, fmt.Sprint(i)), Node: node, Expiry: expiry})
	}
	if n := drainSessions(t, d); n != 0 {
		t.Errorf("expired %d while the node beats", n)
	}
	exec(t, d, "UPDATE falcon_nodes SET beat_at = beat_at - 30000 WHERE id = ?", node)
	if n := drainSessions(t, d); n != 1 {
		t.Errorf("expired %d after 30 s", n)
	}
	exec(t, d, "UPDATE falcon_nodes SET beat_at = beat_at - 60000 WHERE id = ?", node)
	if n := drainSessions(t, d); n != 2 {
		t.Errorf("expired %d after 90 s", n)
	}
	// A node that beats again still has its other sessions.
	must(t, d.Beat(ctx, node, bridge.Figures{}))
	if s := openAs(t, d, bridge.OpenSession{Device: dev(u, "3"), Node: node, Expiry: time.Hour}); !s.Present {
		t.Error("the session with an expiry of an hour is gone")
	}
	// A node that has never beaten counts as dead some time after it was first seen.
	openAs(t, d, bridge.OpenSession{Device: dev(u, "silent"), Node: node + "-silent", Expiry: time.Second})
	if n := drainSessions(t, d); n != 0 {
		t.Errorf("expired %d of a node that is starting", n)
	}
	exec(t, d, "UPDATE falcon_nodes SET beat_at = beat_at - 30000 WHERE id = ?", node+"-silent")
	if n := drainSessions(t, d); n != 1 {
		t.Errorf("expired %d of a node that never beat", n)
	}
	nodes, err := d.Nodes(ctx)
	must(t, err)
	for _, n := range nodes {
		if n.Node == node+"-silent" {
			t.Error("a node that never beat is listed")
		}
	}
}

func testForgetNodes(t *testing.T, d *DB) {
	ctx, u := testContext(t), fresh()
	for _, node := range []string{"gone", "has session"} {
		must(t, d.Beat(ctx, node, bridge.Figures{}))
		must(t, d.Register(ctx, node, conns(conn(u, node, 1, node)), nil))
	}
	openAs(t, d, bridge.OpenSession{Device: dev(u, "phone"), Node: "has session", Expiry: time.Hour})
	exec(t, d, "UPDATE falcon_nodes SET beat_at = beat_at - ? WHERE id IN ('gone', 'has session')", nodeGone.Milliseconds()+1)
	drainSessions(t, d)
	if n := number(t, d, "SELECT count(*) FROM falcon_connections WHERE user_id = ?", u); n != 0 {
		t.Errorf("%d connections left", n)
	}
	if n := number(t, d, "SELECT count(*) FROM falcon_nodes WHERE id = 'gone'"); n != 0 {
		t.Error("the row of the node without sessions is still there")
	}
	if n := number(t, d, "SELECT count(*) FROM falcon_nodes WHERE id = 'has session'"); n != 1 {
		t.Error("the row of a node with a session is gone; the session's expiry counts from its last beat")
	}
}

func testExpireKeys(t *testing.T, d *DB) {
	u, ctx := fresh(), testContext(t)
	for i := range 6 {
		_, err := d.Append(ctx, bridge.Command{Key: &bridge.IdempotencyKey{Caller: u, Key: fmt.Sprint(i)},
			Drafts: []bridge.Draft{{User: u, Kind: bridge.KindMessage, Title: "T", Message: "M"}}})
		must(t, err)
	}
	exec(t, d, "UPDATE falcon_keys SET created_at = created_at - ? WHERE caller = ? AND key < '5'", bridge.KeyTTL.Milliseconds()+1, u)
	for _, want := range []int{3, 2, 0} {
		if n, err := d.ExpireKeys(ctx, 3); err != nil || n != want {
			t.Errorf("expired %d, %v; want %d", n, err, want)
		}
	}
	if n := number(t, d, "SELECT count(*) FROM falcon_keys WHERE caller = ?", u); n != 1 {
		t.Errorf("%d keys left", n)
	}
}

func testExpireLocked(t *testing.T, d *DB) {
	if d.dialect == SQLite {
		return // SQLite has one writer, so no session can be locked
	}
	drainSessions(t, d)
	u := fresh()
	s := open(t, d, dev(u, "phone"))
	advanceTo(t, d, bridge.Advance{Device: dev(u, "phone"), Generation: s.Generation, Closed: true, Expiry: time.Hour})
	exec(t, d, "UPDATE falcon_sessions SET expires_at = 5 WHERE user_id = ?", u)
	tx, err := d.log.BeginTx(testContext(t), nil)
	must(t, err)
	if _, err := tx.ExecContext(testContext(t), "SELECT 1 FROM falcon_sessions WHERE user_id = ? FOR UPDATE", u); err != nil {
		t.Fatal(err)
	}
	if n := drainSessions(t, d); n != 0 { // a call that waited for the lock would fail
		t.Errorf("expired %d while another transaction locks the session", n)
	}
	must(t, tx.Rollback())
	if n := drainSessions(t, d); n != 1 {
		t.Errorf("expired %d afterwards", n)
	}
}
