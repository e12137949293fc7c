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

// The plans of the hot queries are held: each one index range, without a
// sequential scan and without a sort.
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
			"changed":  {d.changedQuery(position{xid: 9999999, id: 990}, feedEnd, 10), true}, // groups what is new by user
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

// fill makes 1,000 users with 20 notifications each, and figures for the planner.
func fill(t *testing.T, d *DB) {
	t.Helper()
	for seq := range 20 {
		for part := range 5 { // each well within the limit of a call, however busy the machine
			var drafts []bridge.Draft
			for u := range 200 {
				drafts = append(drafts, draft(bridge.UserID(fmt.Sprintf("u%d", 200*part+u)), fmt.Sprint(seq)))
			}
			mustAppend(t, d, bridge.Command{Drafts: drafts})
		}
	}
	analyze(t, d)
}

// analyze gathers figures for the planner, which on a busy machine takes longer
// than a statement may.
func analyze(t *testing.T, d *DB) {
	t.Helper()
	must(t, d.inTx(testContext(t), func(ctx context.Context, tx bun.Tx) error {
		if d.dialect == Postgres {
			if _, err := tx.ExecContext(ctx, "SET LOCAL statement_timeout = 0"); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, "ANALYZE")
		return err
	}))
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

// A plan made while the tables were empty is kept by the connection: it must not
// be one that reads the tables whole once they are full. Counted in blocks read,
// not in time.
func TestAnAppendsPlanSurvivesGrowth(t *testing.T) {
	each(t, func(t *testing.T, d *DB) {
		if d.dialect != Postgres {
			if plan := explain(t, d, "SELECT body FROM falcon_keys WHERE caller = ? AND key = ? AND created_at > ?", "a", "b", 1); !strings.Contains(plan, "SEARCH") {
				t.Errorf("a key is found by\n%s", plan)
			}
			return
		}
		ctx := testContext(t)
		err := d.write.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
			call := func(u string) error {
				_, err := tx.ExecContext(ctx, "SELECT falcon_notify(?, 't', 'm')", u)
				return err
			}
			for range 2 { // plans of both paths, a new inbox and an old one, on empty tables
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
					t.Errorf("an append to the %s inbox read %d rows of falcon_inboxes one after the other", u, after-before)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}
