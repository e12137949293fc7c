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
		"sessions past their expiry go":                      testExpireSessions,
		"sessions of a dead node go when their time is over": testExpireDeadNode,
		"what is left of a node that is long gone goes":      testForgetNodes,
		"keys go after their time":                           testExpireKeys,
		"an expired session in use is left alone":            testExpireLocked,
	})
}

// Retention concerns all users, so each case has a database of its own.
func TestRetentionDeletesTheOldest(t *testing.T) {
	each(t, func(t *testing.T, d *DB) {
		u, other, ctx := fresh(), fresh(), testContext(t)
		for _, n := range []int{10, 10, 20} { // the last 20 are young
			seed(t, d, u, n)
			seed(t, d, other, n)
		}
		now := time.Now()
		exec(t, d, "UPDATE falcon_notifications SET created_at = ? WHERE seq <= 20", now.Add(-time.Hour).UnixMilli())
		_, _, err := d.ReadUpTo(ctx, u, 5)
		must(t, err)
		if n, err := d.Retain(ctx, now.Add(-2*time.Hour), 10); err != nil || n != 0 {
			t.Errorf("before all of them: %d, %v", n, err)
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
			t.Errorf("deleted %d", total)
		}
		for _, v := range []bridge.UserID{u, other} {
			page, err := d.List(ctx, bridge.Query{User: v, Forward: true, Limit: 1})
			if err != nil || len(page.Items) != 1 || page.Items[0].Seq != 21 {
				t.Errorf("the oldest of %s: %v, %v", v, seqsOf(page.Items), err)
			}
		}
		s, err := d.Skip(ctx, u, 3, 100) // a cursor behind it jumps by itself
		if err != nil || s != 3 {
			t.Errorf("skip: %d, %v", s, err)
		}
		after, err := d.After(ctx, u, 3, 1)
		if err != nil || len(after) != 1 || after[0].Seq != 21 {
			t.Errorf("after 3: %v, %v", seqsOf(after), err)
		}
	})
}

func TestRetentionLeavesOutWhatAnotherTransactionHolds(t *testing.T) {
	d := openTest(t, Options{URL: testserver.Postgres(t)})
	ctx := testContext(t)
	held, free := fresh(), fresh()
	seed(t, d, held, 12)
	seed(t, d, free, 12)
	release := lockInbox(t, d, held)
	drain := func() int {
		t.Helper()
		total := 0
		for range 50 {
			n, err := d.Retain(ctx, time.Now().Add(time.Minute), 5)
			must(t, err) // one that waits fails
			if total += n; n == 0 {
				return total
			}
		}
		t.Fatal("it never ends")
		return 0
	}
	if n := drain(); n != 12 {
		t.Errorf("deleted %d in addition to the locked ones", n)
	}
	checkCounts(t, d, held)
	checkCounts(t, d, free)
	if n := number(t, d, "SELECT count(*) FROM falcon_notifications WHERE user_id = ?", held); n != 12 {
		t.Errorf("%d of the held user's are left", n)
	}
	release()
	if n := drain(); n != 12 {
		t.Errorf("deleted %d after the release", n)
	}
	checkCounts(t, d, held)
}

func TestRetentionSurvivesAClockThatJumped(t *testing.T) {
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
			t.Errorf("deleted %d, one row of the future stands before them", total)
		}
		checkCounts(t, d, u)
	})
}

// drainSessions expires until nothing is left to expire.
func drainSessions(t testing.TB, d *DB) (total int) {
	t.Helper()
	for range 20 {
		n, err := d.ExpireSessions(testContext(t), 3)
		must(t, err)
		if n > 3 {
			t.Errorf("%d in one call", n)
		}
		if total += n; n == 0 {
			return total
		}
	}
	t.Fatal("it never ends")
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
		t.Errorf("expired %d while the node lives", n)
	}
	exec(t, d, "UPDATE falcon_nodes SET beat_at = beat_at - 30000 WHERE id = ?", node)
	if n := drainSessions(t, d); n != 1 {
		t.Errorf("expired %d after 30 s", n)
	}
	exec(t, d, "UPDATE falcon_nodes SET beat_at = beat_at - 60000 WHERE id = ?", node)
	if n := drainSessions(t, d); n != 2 {
		t.Errorf("expired %d after 90 s", n)
	}
	// A node that beats again has its sessions back.
	must(t, d.Beat(ctx, node, bridge.Figures{}))
	if s := openAs(t, d, bridge.OpenSession{Device: dev(u, "3"), Node: node, Expiry: time.Hour}); !s.Present {
		t.Error("the last session is gone")
	}
	// One that never beat is dead some time after it was first seen.
	openAs(t, d, bridge.OpenSession{Device: dev(u, "silent"), Node: node + "-silent", Expiry: time.Second})
	if n := drainSessions(t, d); n != 0 {
		t.Errorf("expired %d of a node that starts", n)
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
	for _, node := range []string{"gone", "holds"} {
		must(t, d.Beat(ctx, node, bridge.Figures{}))
		must(t, d.Register(ctx, node, conns(conn(u, node, 1, node)), nil))
	}
	openAs(t, d, bridge.OpenSession{Device: dev(u, "phone"), Node: "holds", Expiry: time.Hour})
	exec(t, d, "UPDATE falcon_nodes SET beat_at = beat_at - ? WHERE id IN ('gone', 'holds')", nodeGone.Milliseconds()+1)
	drainSessions(t, d)
	if n := number(t, d, "SELECT count(*) FROM falcon_connections WHERE user_id = ?", u); n != 0 {
		t.Errorf("%d connections left", n)
	}
	if n := number(t, d, "SELECT count(*) FROM falcon_nodes WHERE id = 'gone'"); n != 0 {
		t.Error("the node is still there")
	}
	if n := number(t, d, "SELECT count(*) FROM falcon_nodes WHERE id = 'holds'"); n != 1 {
		t.Error("a node whose session waits is gone: the session would count from another time")
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
		return // one writer: there is no other lock
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
	if n := drainSessions(t, d); n != 0 { // one that waits fails
		t.Errorf("expired %d while another transaction has it", n)
	}
	must(t, tx.Rollback())
	if n := drainSessions(t, d); n != 1 {
		t.Errorf("expired %d afterwards", n)
	}
}
