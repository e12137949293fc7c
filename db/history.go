package db

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/uptrace/bun"
)

var (
	_ bridge.History  = (*DB)(nil)
	_ bridge.Reports  = (*DB)(nil)
	_ bridge.Sessions = (*DB)(nil)
	_ bridge.Cluster  = (*DB)(nil)
	_ bridge.Pruner   = (*DB)(nil)
)

// A page is one range of the index (user_id, seq), of falcon_notifications_unread
// where only unread ones are asked for. It comes with the counts of the inbox row
// in one statement, so both are of one snapshot. A muted user has counts and no
// rows. The order of the rows is made in Go: a join promises none.
const (
	pageHead = "SELECT i.last_seq, i.total, i.unread, i.review_enabled, " + pageColumns +
		" FROM falcon_inboxes i LEFT JOIN (SELECT " + notificationColumns + " FROM falcon_notifications n WHERE n.user_id = ?"
	pageTail = " LIMIT ?) n ON i.review_enabled WHERE i.user_id = ?"

	// pageColumns are notificationColumns where there may be no row.
	pageColumns = "coalesce(n.id, 0), coalesce(n.user_id, ''), coalesce(n.seq, 0), coalesce(n.kind, ''), coalesce(n.title, ''), " +
		"coalesce(n.message, ''), coalesce(n.created_at, 0), coalesce(n.read_at, 0), coalesce(n.report_id, 0), " +
		"coalesce(n.status_id, 0), coalesce(n.data, ''), coalesce(n.muted, false)"
)

// pageQuery writes the query of q and its arguments.
func pageQuery(q bridge.Query) (string, []any) {
	query, args := pageHead, []any{q.User}
	if q.Unread {
		query += " AND n.read_at = 0"
	}
	if q.Forward {
		query, args = query+" AND n.seq > ?", append(args, q.After)
	}
	if q.Before > 0 {
		query, args = query+" AND n.seq < ?", append(args, q.Before)
	}
	if q.Forward {
		query += " ORDER BY n.seq"
	} else {
		query += " ORDER BY n.seq DESC"
	}
	return query + pageTail, append(args, q.Limit+1, q.User)
}

// pageSize is limit within its bounds; 0 means bridge.DefaultPage.
func pageSize(limit int) int {
	return min(cmp.Or(max(limit, 0), bridge.DefaultPage), bridge.MaxPage)
}

// List returns a page of history and the counts of the same snapshot.
func (d *DB) List(ctx context.Context, q bridge.Query) (bridge.Page, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	q.Limit = pageSize(q.Limit)
	page, err := d.list(ctx, q)
	if err != nil {
		return bridge.Page{}, d.fail("list notifications", err)
	}
	slices.SortFunc(page.Items, func(a, b bridge.Notification) int {
		if q.Forward {
			return cmp.Compare(a.Seq, b.Seq)
		}
		return cmp.Compare(b.Seq, a.Seq)
	})
	if len(page.Items) > q.Limit {
		page.Items, page.More = page.Items[:q.Limit], true
	}
	return page, nil
}

func (d *DB) list(ctx context.Context, q bridge.Query) (bridge.Page, error) {
	query, args := pageQuery(q)
	rows, err := d.rows(ctx, query, args...)
	if err != nil {
		return bridge.Page{}, err
	}
	defer func() { _ = rows.Close() }()
	page := bridge.Page{Items: []bridge.Notification{}}
	for rows.Next() {
		var in inbox
		var n notification
		if err := rows.Scan(append([]any{&in.LastSeq, &in.Total, &in.Unread, &in.ReviewEnabled}, n.dest()...)...); err != nil {
			return bridge.Page{}, err
		}
		page.Count = in.count()
		if n.ID != 0 {
			page.Items = append(page.Items, n.domain())
		}
	}
	return page, rows.Err()
}

// count is what the user is told: nothing but the last seq while muted.
func (i *inbox) count() bridge.Count {
	c := bridge.Count{Last: i.LastSeq}
	if i.ReviewEnabled {
		c.Total, c.Unread = i.Total, i.Unread
	}
	return c
}

const inboxQuery = "SELECT i.last_seq, i.total, i.unread, i.review_enabled FROM falcon_inboxes i WHERE i.user_id = ?"

func (i *inbox) scan(s scanner) error {
	return s.Scan(&i.LastSeq, &i.Total, &i.Unread, &i.ReviewEnabled)
}

// Count returns what u's inbox holds; all 0 where u has none.
func (d *DB) Count(ctx context.Context, u bridge.UserID) (bridge.Count, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	var in inbox
	if err := in.scan(d.row(ctx, inboxQuery, u)); err != nil && !errors.Is(err, sql.ErrNoRows) {
		return bridge.Count{}, d.fail("count notifications", err)
	}
	return in.count(), nil
}

// Find returns one notification by id, muted or not; bridge.ErrNotFound.
func (d *DB) Find(ctx context.Context, id int64) (bridge.Notification, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	n, err := scanNotification(d.row(ctx, "SELECT "+notificationColumns+" FROM falcon_notifications n WHERE n.id = ?", id))
	return n, d.fail("find a notification", err)
}

// forUpdate ends a SELECT that takes its rows' locks. On SQLite the transaction
// holds the only write lock already.
func (d *DB) forUpdate() string {
	if d.dialect == Postgres {
		return " FOR NO KEY UPDATE"
	}
	return ""
}

// withInbox runs f in a transaction that holds the lock of u's inbox row, so that
// nothing else changes u's rows or counts meanwhile. It fails with
// bridge.ErrNotFound where u has no inbox.
func (d *DB) withInbox(ctx context.Context, op string, u bridge.UserID, f func(ctx context.Context, tx bun.Tx, in *inbox) error) error {
	ctx, cancel := bound(ctx)
	defer cancel()
	return d.fail(op, d.inTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		in := inbox{UserID: u}
		if err := in.scan(tx.QueryRowContext(ctx, inboxQuery+d.forUpdate(), u)); err != nil {
			return err
		}
		return f(ctx, tx, &in)
	}))
}

// counted corrects the counts of in, whose lock tx holds.
func (i *inbox) counted(ctx context.Context, tx bun.Tx, total, unread int64) error {
	if total == 0 && unread == 0 {
		return nil
	}
	i.Total, i.Unread = i.Total+total, i.Unread+unread
	_, err := tx.ExecContext(ctx, "UPDATE falcon_inboxes SET total = ?, unread = ? WHERE user_id = ?", i.Total, i.Unread, i.UserID)
	return err
}

// Read marks one notification of u as read and returns how many stay unread, 0
// while u is muted. bridge.ErrNotFound.
func (d *DB) Read(ctx context.Context, u bridge.UserID, id int64) (unread int64, err error) {
	err = d.withInbox(ctx, "read a notification", u, func(ctx context.Context, tx bun.Tx, in *inbox) error {
		var at int64
		err := tx.QueryRowContext(ctx, "SELECT read_at FROM falcon_notifications WHERE id = ? AND user_id = ?", id, u).Scan(&at)
		if err == nil && at == 0 {
			if _, err = tx.ExecContext(ctx, "UPDATE falcon_notifications SET read_at = ? WHERE id = ?", nowMillis(), id); err == nil {
				err = in.counted(ctx, tx, 0, -1)
			}
		}
		unread = in.count().Unread
		return err
	})
	return unread, err
}

// ReadUpTo marks all notifications of u with Seq <= upTo as read, 0 meaning all,
// and returns how many stay unread.
func (d *DB) ReadUpTo(ctx context.Context, u bridge.UserID, upTo bridge.Seq) (unread int64, err error) {
	err = d.withInbox(ctx, "read notifications", u, func(ctx context.Context, tx bun.Tx, in *inbox) error {
		n, err := affected(tx.ExecContext(ctx, "UPDATE falcon_notifications SET read_at = ? WHERE user_id = ? AND read_at = 0 AND seq <= ?",
			nowMillis(), u, cmp.Or(upTo, in.LastSeq)))
		if err == nil {
			err = in.counted(ctx, tx, 0, -n)
		}
		unread = in.count().Unread
		return err
	})
	if errors.Is(err, bridge.ErrNotFound) {
		return 0, nil // no inbox yet
	}
	return unread, err
}

// Delete removes a notification of u; bridge.ErrNotFound. Its seq is never used
// again.
func (d *DB) Delete(ctx context.Context, u bridge.UserID, id int64) error {
	return d.withInbox(ctx, "delete a notification", u, func(ctx context.Context, tx bun.Tx, in *inbox) error {
		var at int64
		err := tx.QueryRowContext(ctx, "DELETE FROM falcon_notifications WHERE id = ? AND user_id = ? RETURNING read_at", id, u).Scan(&at)
		if err != nil {
			return err
		}
		if at == 0 {
			return in.counted(ctx, tx, -1, -1)
		}
		return in.counted(ctx, tx, -1, 0)
	})
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
