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
		since, changed, retained, latestAt := feedSQLite, changedSQLite, retainedSQLite, latestAtSQLite
		some := bun.List([]string{"u5", "u6"})
		args, more, at := []any{5, 900, 10}, []any{990}, []any{990, some}
		if d.dialect == Postgres {
			since, changed, retained, latestAt = feedPostgres, changedPostgres, retainedPostgres, latestAtPostgres
			args, more, at = []any{"1", 5, "9999999", 10}, []any{"9999999", 0}, []any{"9999999", 0, some}
		}
		for name, q := range map[string]struct {
			query string
			args  []any
			sorts bool
		}{
			"after":    {queryAfter, []any{"u5", 10, "u5", 32}, false},
			"head":     {queryHead, []any{"u5"}, false},
			"skip":     {querySkip, []any{"u5", 10, "u5", 1000}, false},
			"starts":   {queryStarts, []any{10, 1000, some}, false},
			"since":    {since, args, false},
			"changed":  {changed, more, true}, // groups what is new by user
			"retained": {retained, []any{"u5", 100}, false},
			"latestAt": {latestAt, at, false},
		} {
			plan := explain(t, d, q.query, q.args...)
			if regexp.MustCompile(`(?m)Seq Scan|^\s*SCAN [a-z]+\s*$`).MatchString(plan) {
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
