package db

import (
	"strings"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// entriesOf returns the audit entries of sub, newest first, read in pages of two.
func entriesOf(t testing.TB, d *DB, sub bridge.UserID) (out []bridge.AuditEntry) {
	t.Helper()
	for before := int64(0); ; {
		page, more, err := d.Entries(testContext(t), before, 2)
		must(t, err)
		for _, e := range page {
			if before = e.ID; e.Sub == sub {
				out = append(out, e)
			}
		}
		if !more {
			return out
		}
	}
}

func TestAudit(t *testing.T) {
	together(t, map[string]func(*testing.T, *DB){
		"entries come in pages, newest first, as they were stored": testAuditPages,
		"reads are joined per reader, user and minute":             testAuditReads,
		"an entry outlives the erasure of both its users":          testAuditErase,
		"an entry cannot be changed":                               testAuditAppendOnly,
		"several entries are stored at once":                       testAuditSeveral,
	})
}

func testAuditPages(t *testing.T, d *DB) {
	sub, u, ctx := fresh(), fresh(), testContext(t)
	e := bridge.AuditEntry{Sub: sub, JTI: "t-1", Action: bridge.AuditEnd, User: u, Remote: "192.0.2.7", Detail: "d"}
	for range 5 {
		must(t, d.Record(ctx, e))
	}
	got := entriesOf(t, d, sub)
	if len(got) != 5 {
		t.Fatalf("%d entries, want 5", len(got))
	}
	for i, g := range got {
		if i > 0 && g.ID >= got[i-1].ID {
			t.Errorf("entry %d is listed after entry %d", g.ID, got[i-1].ID)
		}
		if g.At.IsZero() {
			t.Error("an entry without a time")
		}
		g.ID, g.At = 0, time.Time{}
		if g != e {
			t.Errorf("read %+v, want %+v", g, e)
		}
	}
}

func testAuditReads(t *testing.T, d *DB) {
	sub, ctx := fresh(), testContext(t)
	first, second := fresh(), fresh()
	for _, u := range []bridge.UserID{first, first, second, first} {
		must(t, d.Record(ctx, bridge.AuditEntry{Sub: sub, Action: bridge.AuditHistory, User: u}))
	}
	seen := map[bridge.UserID]map[int64]int{first: {}, second: {}}
	for _, e := range entriesOf(t, d, sub) {
		seen[e.User][e.At.UnixMilli()/60_000]++
	}
	for u, minutes := range seen { // the calls may span two minutes
		if len(minutes) < 1 || len(minutes) > 2 {
			t.Errorf("%s: entries in %d minutes, want 1 or 2", u, len(minutes))
		}
		for minute, n := range minutes {
			if n != 1 {
				t.Errorf("%s: %d entries in minute %d, want 1", u, n, minute)
			}
		}
	}
}

func testAuditSeveral(t *testing.T, d *DB) {
	sub, ctx := fresh(), testContext(t)
	first := bridge.AuditEntry{Sub: sub, Action: bridge.AuditHistory, User: fresh()}
	second := bridge.AuditEntry{Sub: sub, Action: bridge.AuditHistory} // of all users
	must(t, d.Record(ctx, first, second, first))
	if got := entriesOf(t, d, sub); len(got) < 2 || len(got) > 3 || got[0].ID == got[1].ID { // 3 if a minute ends in between
		t.Errorf("entries %+v", got)
	}
}

func testAuditErase(t *testing.T, d *DB) {
	sub, u, ctx := fresh(), fresh(), testContext(t)
	seed(t, d, u, 1)
	must(t, d.Record(ctx, bridge.AuditEntry{Sub: sub, Action: bridge.AuditErase, User: u}))
	for _, v := range []bridge.UserID{u, sub} {
		must(t, second(d.Erase(ctx, v)))
	}
	if got := entriesOf(t, d, sub); len(got) != 1 || got[0].User != u {
		t.Errorf("entries %+v", got)
	}
}

func testAuditAppendOnly(t *testing.T, d *DB) {
	sub := fresh()
	must(t, d.Record(testContext(t), bridge.AuditEntry{Sub: sub, Action: bridge.AuditErase, User: fresh()}))
	_, err := d.write.ExecContext(testContext(t), "UPDATE falcon_audit SET sub = 'somebody' WHERE sub = ?", sub)
	if err == nil || !strings.Contains(err.Error(), "append only") {
		t.Errorf("an entry was changed: %v", err)
	}
}

func TestOldAuditEntriesAreRemovedInSteps(t *testing.T) {
	each(t, func(t *testing.T, d *DB) {
		ctx := testContext(t)
		const insert = "INSERT INTO falcon_audit (at, sub, action) VALUES (?, ?, 'refused')"
		for i := range 30 {
			at, sub := nowMillis(), "young"
			if i < 25 {
				at, sub = at-2*time.Hour.Milliseconds(), "old"
			}
			exec(t, d, insert, at, sub)
		}
		total := 0
		for n := 1; n > 0; total += n {
			var err error
			n, err = d.ExpireAudit(ctx, time.Hour, 10)
			must(t, err)
			if n > 10 {
				t.Errorf("one step removed %d entries, want at most 10", n)
			}
		}
		if left := number(t, d, "SELECT count(*) FROM falcon_audit"); total != 25 || left != 5 {
			t.Errorf("%d removed, %d left; want 25 and 5", total, left)
		}
	})
}
