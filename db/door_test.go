package db

import (
	"context"
	"strings"
	"testing"

	"github.com/falconalert/falconbridge/internal/testserver"
	"github.com/uptrace/bun/driver/pgdriver"
)

func TestTheSQLDoorAppendsWithItsTransaction(t *testing.T) {
	d := openTest(t, Options{URL: testserver.Postgres(t)})
	ctx := testContext(t)
	mustAppend(t, d, one("42", "by the API"))
	tx := idle(t, d, "SELECT 1")
	var seq int64
	if err := tx.QueryRowContext(ctx, `SELECT falcon_notify('42', 'título', 'm', 'message', '{"a": 1}')`).Scan(&seq); err != nil || seq != 2 {
		t.Fatalf("seq %d, %v", seq, err)
	}
	if got := seqs(t, d, "42"); len(got) != 1 {
		t.Errorf("before the commit %v can be read", got)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if res := mustAppend(t, d, one("42", "after the rollback")); res.Appended[0].Seq != 2 {
		t.Errorf("the rolled back seq was not given again: %d", res.Appended[0].Seq)
	}
	exec(t, d, `SELECT falcon_notify('42', 'título', 'm')`)
	if got := seqs(t, d, "42"); len(got) != 3 {
		t.Errorf("after the commit %v can be read", got)
	}
}

func TestTheSQLDoorHoldsToTheRulesOfTheAPI(t *testing.T) {
	d := openTest(t, Options{URL: testserver.Postgres(t)})
	for name, call := range map[string]string{
		"no user":           "falcon_notify(NULL, 't', 'm')",
		"a user with #":     "falcon_notify('#', 't', 'm')",
		"a long user":       "falcon_notify(repeat('a', 129), 't', 'm')",
		"an empty title":    "falcon_notify('u', ' ', 'm')",
		"a long title":      "falcon_notify('u', repeat('é', 256), 'm')",
		"a long message":    "falcon_notify('u', 't', repeat('é', 4001))",
		"an unknown kind":   "falcon_notify('u', 't', 'm', 'x')",
		"data, not object":  "falcon_notify('u', 't', 'm', 'message', '[1]')",
		"data over 4096 B":  "falcon_notify('u', 't', 'm', 'message', jsonb_build_object('a', repeat('x', 4096)))",
		"a missing message": "falcon_notify('u', 't', NULL)",
	} {
		if _, err := d.write.ExecContext(testContext(t), "SELECT "+call); err == nil || !strings.Contains(err.Error(), "22023") {
			t.Errorf("%s: %v, want SQLSTATE 22023", name, err)
		}
	}
	exec(t, d, "SELECT falcon_notify('u', repeat('é', 255), repeat('é', 4000))")
	if n := number(t, d, "SELECT count(*) FROM falcon_notifications"); n != 1 {
		t.Errorf("%d rows", n)
	}
}

func TestHintsRideInTheTransaction(t *testing.T) {
	d := openTest(t, Options{URL: testserver.Postgres(t), Node: "it's n1"})
	ctx, cancel := context.WithCancel(testContext(t))
	defer cancel()
	ln := pgdriver.NewListener(d.read)
	if err := ln.Listen(ctx, "falcon_hint"); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	ch := ln.Channel()
	mustAppend(t, d, one("42", "t"))
	if got := (<-ch).Payload; got != `{"n" : "it's n1", "u" : [["42", 1]]}` {
		t.Errorf("an append's hint is %s", got)
	}
	exec(t, d, "SELECT falcon_notify('42', 't', 'm')")
	if got := (<-ch).Payload; got != `{"n" : "", "u" : [["42", 2]]}` {
		t.Errorf("the SQL door's hint is %s", got)
	}
}
