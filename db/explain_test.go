package db

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/uptrace/bun"
)

// Each of the frequent queries must read one range of an index, without a sequential scan
// and without a sort.
func TestHotQueriesReadOneIndexRange(t *testing.T) {
	each(t, func(t *testing.T, d *DB) {
		fill(t, d)
		var rows []fedNotification
		from, end := position{xid: 1, id: 5}, position{xid: 9999999, id: 900}
		for name, q := range map[string]struct {
			query fmt.Stringer
			sorts bool
		}{
			"after":    {d.undelivered("u5", 10).Order("n.seq").Limit(32), false},
			"head":     {d.withLatest(d.read.NewSelect().Model(&inbox{UserID: "u5"})).WherePK(), false},
			"skip":     {d.undelivered("u5", 10).Column("seq").Order("n.seq DESC").Limit(1).Offset(1000), false},
			"starts":   {d.startQuery(&[]startRow{}, []bridge.UserID{"u5", "u6", "u7"}, 10, 1000), false},
			"since":    {d.feed(&rows, from, end, 10), false},
			"changed":  {d.changedQuery(position{xid: 9999999, id: 990}, feedEnd, 10), true}, // groups the new rows by user
			"retained": {d.retainedQuery("u5", 100), false},
			"latestAt": {d.latestAtQuery([]bridge.UserID{"u5", "u6"}, position{xid: 9999999, id: 990}), false},
		} {
			plan := explain(t, d, q.query.String())
			if big.MatchString(plan) {
				t.Errorf("%s scans a table:\n%s", name, plan)
			}
			if !q.sorts && regexp.MustCompile(`Sort|USE TEMP B-TREE`).MatchString(plan) {
				t.Errorf("%s sorts:\n%s", name, plan)
			}
		}
	})
}

// fill appends 20 notifications to each of 1,000 users and gathers statistics.
func fill(t *testing.T, d *DB) {
	t.Helper()
	for seq := range 20 {
		for part := range 5 { // small enough for the time limit of a call on a busy machine
			var drafts []bridge.Draft
			for u := range 200 {
				drafts = append(drafts, draft(bridge.UserID(fmt.Sprintf("u%d", 200*part+u)), fmt.Sprint(seq)))
			}
			mustAppend(t, d, bridge.Command{Drafts: drafts})
		}
	}
	analyze(t, d)
}

// analyze gathers statistics for the planner. It runs without a statement timeout, which
// it would exceed on a busy machine.
func analyze(t *testing.T, d *DB) {
	t.Helper()
	exec(t, d, "ANALYZE")
}

func explain(t *testing.T, d *DB, query string, args ...any) string {
	t.Helper()
	prefix := "EXPLAIN "
	if d.dialect == SQLite {
		prefix = "EXPLAIN QUERY PLAN "
	}
	rows, err := d.read.QueryContext(testContext(t), prefix+query, args...)
	if err != nil {
		t.Fatalf("explain: %v", err)
	}
	defer func() { _ = rows.Close() }()
	var b strings.Builder
	for rows.Next() {
		var line string
		var a, c, e int
		dest := []any{&line}
		if d.dialect == SQLite {
			dest = []any{&a, &c, &e, &line}
		}
		if err := rows.Scan(dest...); err != nil {
			t.Fatal(err)
		}
		b.WriteString(line + "\n")
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// A connection keeps the plans it made while the tables were empty. They must not turn
// into full scans once the tables have grown. The test counts rows, not time.
func TestThePlansOfAppendSurviveGrowth(t *testing.T) {
	each(t, func(t *testing.T, d *DB) {
		if d.dialect != Postgres {
			if plan := explain(t, d, "SELECT body FROM falcon_keys WHERE caller = ? AND key = ? AND created_at > ?", "a", "b", 1); !strings.Contains(plan, "SEARCH") {
				t.Errorf("the plan to find a key:\n%s", plan)
			}
			return
		}
		ctx := testContext(t)
		err := d.write.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
			call := func(u string) error {
				_, err := tx.ExecContext(ctx, "SELECT falcon_notify(?, 't', 'm')", u)
				return err
			}
			for range 2 { // plan both paths, with a new and an existing inbox, on empty tables
				if err := call("old"); err != nil {
					return err
				}
			}
			if _, err := tx.ExecContext(ctx, "INSERT INTO falcon_inboxes (user_id) SELECT 'x' || n FROM generate_series(1, 20000) n"); err != nil {
				return err
			}
			for _, u := range []string{"old", "new"} {
				reads := "SELECT (pg_stat_get_xact_tuples_returned('falcon_inboxes'::regclass))"
				var before, after int64
				if err := tx.QueryRowContext(ctx, reads).Scan(&before); err != nil {
					return err
				}
				if err := call(u); err != nil {
					return err
				}
				if err := tx.QueryRowContext(ctx, reads).Scan(&after); err != nil {
					return err
				}
				if after-before > 100 {
					t.Errorf("an append to the %s inbox read %d rows of falcon_inboxes by sequential scans", u, after-before)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}
