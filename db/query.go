package db

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/uptrace/bun"
)

// Bun formats arguments into the text of a statement. On Postgres we rely on that: with
// pgdriver, a timeout during a prepared statement puts a connection back into the pool out
// of step with the protocol. So no statement is prepared, and query hooks see every
// statement with its arguments.
//
// SQL is written by hand where Bun cannot express it or where a single set-based
// statement is essential; each such place says which it is.

// inTx runs f in one write transaction. f must take locks in this order: reports, then
// inbox rows sorted by user.
func (d *DB) inTx(ctx context.Context, f func(ctx context.Context, tx bun.Tx) error) error {
	if err := d.checkFile(); err != nil {
		return err
	}
	return d.write.RunInTx(ctx, nil, f)
}

// clock returns SQL for the database's time in Unix ms. It is a scalar subquery, so that
// it can be used in an index condition, where Postgres allows no volatile function. Postgres
// reads the time with falcon_now, whose current text is in the migration
// 20261124000002_devices.
func (d *DB) clock() bun.Safe {
	if d.dialect == Postgres {
		return "(SELECT falcon_now())"
	}
	return "(SELECT CAST(round(unixepoch('subsec') * 1000) AS INTEGER))"
}

// live returns a condition for rows of falcon_notifications that have not expired. alias
// is what the statement calls the table; "" means its own name. From its expires_at on, a
// row counts as gone, whether or not ExpireNotifications has removed it yet. The clock is
// the database's, read at the start of the statement, so that all parts of a statement
// agree. Rows that never expire, which are nearly all rows, cost one comparison.
func (d *DB) live(alias string) string {
	if alias != "" {
		alias += "."
	}
	return "(" + alias + "expires_at = 0 OR " + alias + "expires_at > " + d.instant() + ")"
}

// instant returns SQL for the time when the statement began, by the database's clock, in
// Unix ms. On Postgres the function is stable, so it can be used in an index condition.
func (d *DB) instant() string {
	if d.dialect == Postgres {
		return "(extract(epoch FROM statement_timestamp()) * 1000)::bigint"
	}
	return "CAST(round(unixepoch('subsec') * 1000) AS INTEGER)"
}

// lockRows makes q lock the rows that it finds. lock is NO KEY UPDATE or UPDATE,
// followed by SKIP LOCKED if q must not wait. On SQLite nothing is added, since a write
// transaction already holds the only write lock.
func (d *DB) lockRows(q *bun.SelectQuery, lock string) *bun.SelectQuery {
	if d.dialect == Postgres {
		q.For(lock)
	}
	return q
}

// affected returns how many rows a statement changed.
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

// pageSize returns limit, bounded by bridge.MaxPage; 0 or less means bridge.DefaultPage.
func pageSize(limit int) int {
	return min(cmp.Or(max(limit, 0), bridge.DefaultPage), bridge.MaxPage)
}

// cut returns a page of at most limit rows. The query asks for one more row, and if it
// returned that row, there are more pages.
func cut[R, T any](rows []R, limit int, domain func(*R) T) (page []T, more bool) {
	if more = len(rows) > limit; more {
		rows = rows[:limit]
	}
	return domains(rows, domain), more
}

// domains converts rows to the types of package bridge. It never returns nil.
func domains[R, T any](rows []R, domain func(*R) T) []T {
	out := make([]T, len(rows))
	for i := range rows {
		out[i] = domain(&rows[i])
	}
	return out
}
