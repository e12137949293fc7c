package db

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/uptrace/bun"
)

// Bun writes arguments into the text of a statement. That is wanted on Postgres:
// pgdriver's prepared statements leave their connection out of step in the pool
// after a timeout. So nothing is prepared, and query hooks see every statement
// with its arguments.
//
// SQL is written out where Bun has no words for it, or where one set-based
// statement is the point; each place says which.

// inTx runs f in one write transaction. Locks are taken in bridge's order: reports,
// then inbox rows, sorted by user.
func (d *DB) inTx(ctx context.Context, f func(ctx context.Context, tx bun.Tx) error) error {
	if err := d.inPlace(); err != nil {
		return err
	}
	return d.write.RunInTx(ctx, nil, f)
}

// clock is the database's clock in Unix ms, as a scalar subquery so that an index
// condition may use it: a volatile function is none.
func (d *DB) clock() bun.Safe {
	if d.dialect == Postgres {
		return "(SELECT falcon_now())"
	}
	return "(SELECT CAST(round(unixepoch('subsec') * 1000) AS INTEGER))"
}

// live selects rows of falcon_notifications, called alias ("": by its own name), that have not
// expired. Reads treat a row as gone from its expires_at on, whether or not the sweep has
// removed it. The clock is the database's, at the start of the statement, so that all
// parts of one statement agree. Rows that never expire, which is nearly all, cost a
// comparison.
func (d *DB) live(alias string) string {
	if alias != "" {
		alias += "."
	}
	return "(" + alias + "expires_at = 0 OR " + alias + "expires_at > " + d.instant() + ")"
}

// instant is when a statement began, by the database's clock in Unix ms. On Postgres it
// is stable, so that an index condition may use it.
func (d *DB) instant() string {
	if d.dialect == Postgres {
		return "(extract(epoch FROM statement_timestamp()) * 1000)::bigint"
	}
	return "CAST(round(unixepoch('subsec') * 1000) AS INTEGER)"
}

// lockRows has q lock what it finds: lock is NO KEY UPDATE or UPDATE, with SKIP
// LOCKED where nothing may wait. On SQLite the transaction holds the only write
// lock already.
func (d *DB) lockRows(q *bun.SelectQuery, lock string) *bun.SelectQuery {
	if d.dialect == Postgres {
		q.For(lock)
	}
	return q
}

// affected counts the rows a statement changed.
func affected(r sql.Result, err error) (int64, error) {
	if err != nil {
		return 0, err
	}
	n, err := r.RowsAffected()
	if err != nil {
		return 0, fmt.Errorf("count the rows: %w", err)
	}
	return n, nil
}

// pageSize is limit within its bounds; 0 means bridge.DefaultPage.
func pageSize(limit int) int {
	return min(cmp.Or(max(limit, 0), bridge.DefaultPage), bridge.MaxPage)
}

// cut makes a page of at most limit rows. A row more was asked for, to see whether
// there are any.
func cut[R, T any](rows []R, limit int, domain func(*R) T) (page []T, more bool) {
	if more = len(rows) > limit; more {
		rows = rows[:limit]
	}
	return domains(rows, domain), more
}

// domains are rows as package bridge knows them; never nil.
func domains[R, T any](rows []R, domain func(*R) T) []T {
	out := make([]T, len(rows))
	for i := range rows {
		out[i] = domain(&rows[i])
	}
	return out
}
