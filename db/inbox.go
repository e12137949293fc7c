package db

import (
	"context"
	"maps"
	"slices"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
)

// Classes of advisory locks of users on Postgres. A transaction that inserts a user's
// inbox row holds inboxLock until it commits. falcon_append acquires it before it inserts,
// or skips the user if it must not wait, so it never blocks on an uncommitted insert of the
// same row. A transaction that adds a session to a user, or erases them all, holds
// sessionLock.
const (
	inboxLock   = 1702
	sessionLock = 1703
)

// lockUser acquires an advisory lock of u until tx ends. SQLite has one writer and needs
// none.
func (d *DB) lockUser(ctx context.Context, tx bun.Tx, u bridge.UserID, class int) error {
	if d.dialect != Postgres {
		return nil
	}
	_, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock(hashtextextended(?, ?))", u, class)
	return err
}

// withInbox runs f in a transaction that holds the lock of u's inbox row, so that nothing
// else changes u's notifications or counts meanwhile. It fails with bridge.ErrNotFound if u
// has no inbox.
func (d *DB) withInbox(ctx context.Context, op string, u bridge.UserID, f func(ctx context.Context, tx bun.Tx, box *inbox) error) error {
	ctx, cancel := bound(ctx)
	defer cancel()
	return d.fail(op, d.inTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		box := inbox{UserID: u}
		if err := d.lockRows(tx.NewSelect().Model(&box).WherePK(), "NO KEY UPDATE").Scan(ctx); err != nil {
			return err
		}
		return f(ctx, tx, &box)
	}))
}

// lockInboxes locks the inbox rows of users in sorted order. It first creates an inbox for
// each user in create, a subset of users, who has none.
func (d *DB) lockInboxes(ctx context.Context, tx bun.Tx, users, create []bridge.UserID) error {
	var existing []bridge.UserID
	lock := func() *bun.SelectQuery {
		return d.lockRows(tx.NewSelect().Model((*inbox)(nil)).Column("user_id").
			Where("i.user_id IN (?)", bun.List(users)).Order("i.user_id"), "NO KEY UPDATE")
	}
	if err := lock().Scan(ctx, &existing); err != nil {
		return err
	}
	toCreate := slices.DeleteFunc(slices.Compact(slices.Sorted(slices.Values(create))), func(u bridge.UserID) bool {
		return slices.Contains(existing, u)
	})
	if len(toCreate) == 0 {
		return nil
	}
	if d.dialect == Postgres {
		if _, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock(hashtextextended(u, ?)) FROM unnest(?::text[]) AS u",
			inboxLock, pgdialect.Array(toCreate)); err != nil {
			return err
		}
	}
	created := make([]inbox, len(toCreate))
	for i, u := range toCreate {
		created[i].UserID = u
	}
	if _, err := tx.NewInsert().Model(&created).Column("user_id").On("CONFLICT DO NOTHING").Exec(ctx); err != nil {
		return err
	}
	return lock().Scan(ctx, &existing) // including inboxes that another transaction created meanwhile
}

// count returns the counts as the user sees them, without hidden and expired notifications.
// For a user who has muted everything it returns only the last seq. i must have been read
// with the columns of withExpired.
func (i *inbox) count() bridge.Count {
	c := bridge.Count{Last: i.LastSeq}
	if i.ReviewEnabled {
		c.Total, c.Unread = i.Total-i.HiddenTotal-i.ExpiredTotal, i.Unread-i.HiddenUnread-i.ExpiredUnread
	}
	return c
}

// withExpired selects the columns of an inbox i, and how many of its visible notifications
// have expired but are still in its counts because they have not been removed yet. For the
// latter it reads a range of falcon_notifications_expired, which is nearly always empty.
// The statement must not wait for a lock: the numbers of expired notifications come from
// the statement's snapshot, but an inbox row for which it waited would be newer.
func (d *DB) withExpired(q *bun.SelectQuery) *bun.SelectQuery {
	const count = "(SELECT count(*) FROM falcon_notifications AS x WHERE x.user_id = i.user_id AND x.expires_at > 0 AND NOT x.hidden AND x.expires_at <= "
	return q.ColumnExpr("?TableColumns").
		ColumnExpr(count + d.instant() + " AND x.seq > i.erased_seq) AS expired_total").
		ColumnExpr(count + d.instant() + " AND x.seq > i.erased_seq AND x.read_at = 0) AS expired_unread")
}

// unread returns how many unread notifications the user of box sees. tx holds the lock of
// the inbox row.
func (d *DB) unread(ctx context.Context, tx bun.Tx, box *inbox) (int64, error) {
	now := inbox{UserID: box.UserID}
	err := d.withExpired(tx.NewSelect().Model(&now)).WherePK().Scan(ctx)
	return now.count().Unread, err
}

// growth is how much inboxes grow in a transaction, by user. Until grow is called, the
// fields of each inbox are the numbers to add to it. After grow, LastSeq is the last seq
// from before the transaction, from which next counts on, and the settings are those of
// the user.
type growth map[bridge.UserID]*inbox

// add counts one more notification of u.
func (g growth) add(u bridge.UserID, unread bool) {
	box := g[u]
	if box == nil {
		box = &inbox{UserID: u}
		g[u] = box
	}
	box.LastSeq, box.Total = box.LastSeq+1, box.Total+1
	if unread {
		box.Unread++
	}
}

// grow reserves the seqs of all users in one statement. On Postgres tx holds the locks of
// their rows.
func (g growth) grow(ctx context.Context, tx bun.Tx) error {
	grew := slices.Collect(maps.Values(g))
	var grown []inbox
	err := tx.NewInsert().Model(&grew).Column("user_id", "last_seq", "total", "unread").
		On("CONFLICT (user_id) DO UPDATE").Set("last_seq = i.last_seq + excluded.last_seq").
		Set("total = i.total + excluded.total").Set("unread = i.unread + excluded.unread").
		Returning("user_id, last_seq, review_enabled, kinds").Scan(ctx, &grown)
	for _, after := range grown {
		box := g[after.UserID]
		box.LastSeq, box.ReviewEnabled, box.Kinds = after.LastSeq-box.LastSeq, after.ReviewEnabled, after.Kinds
	}
	return err
}

// next returns the next of u's reserved seqs.
func (g growth) next(u bridge.UserID) bridge.Seq {
	g[u].LastSeq++
	return g[u].LastSeq
}

// mute marks row as muted or hidden according to its user's settings. It counts hidden
// rows, for countHidden.
func (g growth) mute(row *notification) {
	box := g[row.UserID]
	row.Hidden = box.Kinds.hides(row.Kind)
	row.Muted = row.Hidden || !box.ReviewEnabled
	if row.Hidden {
		box.HiddenTotal++
		if row.ReadAt == 0 {
			box.HiddenUnread++
		}
	}
}

// countHidden adds what mute counted to the inboxes, with one statement for each user who
// got a notification of a muted kind.
func (g growth) countHidden(ctx context.Context, tx bun.Tx) error {
	for _, u := range slices.Sorted(maps.Keys(g)) {
		box := g[u]
		if box.HiddenTotal == 0 {
			continue
		}
		if _, err := tx.NewUpdate().Model((*inbox)(nil)).Set("hidden_total = hidden_total + ?", box.HiddenTotal).
			Set("hidden_unread = hidden_unread + ?", box.HiddenUnread).Where("user_id = ?", u).Exec(ctx); err != nil {
			return err
		}
	}
	return nil
}
