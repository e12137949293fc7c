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
func (d *DB) withInbox(ctx context.Context, op string, u bridge.UserID, f func(ctx context.Context, tx bun.Tx, in *inbox) error) error {
	ctx, cancel := bound(ctx)
	defer cancel()
	return d.fail(op, d.inTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		in := inbox{UserID: u}
		if err := d.lockRows(tx.NewSelect().Model(&in).WherePK(), "NO KEY UPDATE").Scan(ctx); err != nil {
			return err
		}
		return f(ctx, tx, &in)
	}))
}

// lockInboxes locks the inbox rows of users in sorted order. It first makes inboxes for
// those of need, a subset of users, who have none.
func (d *DB) lockInboxes(ctx context.Context, tx bun.Tx, users, need []bridge.UserID) error {
	var there []bridge.UserID
	lock := func() *bun.SelectQuery {
		return d.lockRows(tx.NewSelect().Model((*inbox)(nil)).Column("user_id").
			Where("i.user_id IN (?)", bun.List(users)).Order("i.user_id"), "NO KEY UPDATE")
	}
	if err := lock().Scan(ctx, &there); err != nil {
		return err
	}
	lack := slices.DeleteFunc(slices.Compact(slices.Sorted(slices.Values(need))), func(u bridge.UserID) bool {
		return slices.Contains(there, u)
	})
	if len(lack) == 0 {
		return nil
	}
	if d.dialect == Postgres {
		if _, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock(hashtextextended(u, ?)) FROM unnest(?::text[]) AS u",
			inboxLock, pgdialect.Array(lack)); err != nil {
			return err
		}
	}
	made := make([]inbox, len(lack))
	for i, u := range lack {
		made[i].UserID = u
	}
	if _, err := tx.NewInsert().Model(&made).Column("user_id").On("CONFLICT DO NOTHING").Exec(ctx); err != nil {
		return err
	}
	return lock().Scan(ctx, &there) // with those that another transaction made meanwhile
}

// count returns the counts as the user sees them. Hidden and expired notifications are
// left out, and a user who has muted everything sees only the last seq. It needs the
// columns that withExpired reads.
func (i *inbox) count() bridge.Count {
	c := bridge.Count{Last: i.LastSeq}
	if i.ReviewEnabled {
		c.Total, c.Unread = i.Total-i.HiddenTotal-i.ExpiredTotal, i.Unread-i.HiddenUnread-i.ExpiredUnread
	}
	return c
}

// withExpired selects the columns of an inbox i, and how many of its visible notifications
// have expired but are still in its counts because they have not been removed yet. That
// reads a range of falcon_notifications_expired, which is nearly always empty. The
// statement must not wait for a lock: the two counts come from its snapshot, while a row
// that it waited for is newer.
func (d *DB) withExpired(q *bun.SelectQuery) *bun.SelectQuery {
	const of = "(SELECT count(*) FROM falcon_notifications AS x WHERE x.user_id = i.user_id AND x.expires_at > 0 AND NOT x.hidden AND x.expires_at <= "
	return q.ColumnExpr("?TableColumns").
		ColumnExpr(of + d.instant() + " AND x.seq > i.erased_seq) AS expired_total").
		ColumnExpr(of + d.instant() + " AND x.seq > i.erased_seq AND x.read_at = 0) AS expired_unread")
}

// unread returns how many unread notifications the user of in sees. tx holds the lock of in.
func (d *DB) unread(ctx context.Context, tx bun.Tx, in *inbox) (int64, error) {
	now := inbox{UserID: in.UserID}
	err := d.withExpired(tx.NewSelect().Model(&now)).WherePK().Scan(ctx)
	return now.count().Unread, err
}

// growth is how much inboxes grow in a transaction, by user. After grow it has the last
// seqs from before the transaction instead, from which next counts, and the settings.
type growth map[bridge.UserID]*inbox

// add counts one more notification of u.
func (g growth) add(u bridge.UserID, unread bool) {
	in := g[u]
	if in == nil {
		in = &inbox{UserID: u}
		g[u] = in
	}
	in.LastSeq, in.Total = in.LastSeq+1, in.Total+1
	if unread {
		in.Unread++
	}
}

// grow reserves the seqs of all users in one statement. On Postgres tx holds the locks of
// their rows.
func (g growth) grow(ctx context.Context, tx bun.Tx) error {
	by := slices.Collect(maps.Values(g))
	var grown []inbox
	err := tx.NewInsert().Model(&by).Column("user_id", "last_seq", "total", "unread").
		On("CONFLICT (user_id) DO UPDATE").Set("last_seq = i.last_seq + excluded.last_seq").
		Set("total = i.total + excluded.total").Set("unread = i.unread + excluded.unread").
		Returning("user_id, last_seq, review_enabled, kinds").Scan(ctx, &grown)
	for _, after := range grown {
		in := g[after.UserID]
		in.LastSeq, in.ReviewEnabled, in.Kinds = after.LastSeq-in.LastSeq, after.ReviewEnabled, after.Kinds
	}
	return err
}

// next returns the next of u's reserved seqs.
func (g growth) next(u bridge.UserID) bridge.Seq {
	g[u].LastSeq++
	return g[u].LastSeq
}

// mute marks row as muted or hidden according to its user's settings, and counts it if it
// is hidden.
func (g growth) mute(row *notification) {
	in := g[row.UserID]
	row.Hidden = in.Kinds.hides(row.Kind)
	row.Muted = row.Hidden || !in.ReviewEnabled
	if row.Hidden {
		in.HiddenTotal++
		if row.ReadAt == 0 {
			in.HiddenUnread++
		}
	}
}

// countHidden adds what mute counted to the inboxes, with one statement for each user who
// got a notification of a muted kind.
func (g growth) countHidden(ctx context.Context, tx bun.Tx) error {
	for _, u := range slices.Sorted(maps.Keys(g)) {
		in := g[u]
		if in.HiddenTotal == 0 {
			continue
		}
		if _, err := tx.NewUpdate().Model((*inbox)(nil)).Set("hidden_total = hidden_total + ?", in.HiddenTotal).
			Set("hidden_unread = hidden_unread + ?", in.HiddenUnread).Where("user_id = ?", u).Exec(ctx); err != nil {
			return err
		}
	}
	return nil
}
