package db

import (
	"context"
	"maps"
	"slices"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
)

// inboxLock is the class of advisory locks of Postgres that whoever makes a
// user's inbox row holds until the commit: an append then never waits for it, see
// falcon_append. sessionLock is that of whoever adds a session to a user.
const (
	inboxLock   = 1702
	sessionLock = 1703
)

// lockUser takes an advisory lock of u until tx ends. SQLite has one writer and
// needs none.
func (d *DB) lockUser(ctx context.Context, tx bun.Tx, u bridge.UserID, class int) error {
	if d.dialect != Postgres {
		return nil
	}
	_, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock(hashtextextended(?, ?))", u, class)
	return err
}

// withInbox runs f in a transaction that holds the lock of u's inbox row, so that
// nothing else changes u's rows or counts meanwhile. It fails with
// bridge.ErrNotFound where u has no inbox.
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

// lockInboxes takes the locks of the inbox rows of users, sorted, after making
// those that need lacks.
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

// count is what the user sees: not what mutes hide, and nothing but the last seq while all
// is muted. It needs what withExpired reads.
func (i *inbox) count() bridge.Count {
	c := bridge.Count{Last: i.LastSeq}
	if i.ReviewEnabled {
		c.Total, c.Unread = i.Total-i.HiddenTotal-i.ExpiredTotal, i.Unread-i.HiddenUnread-i.ExpiredUnread
	}
	return c
}

// withExpired selects the columns of an inbox i and how many of the rows that it shows have
// expired and are counted still, as the sweep has not removed them: a range of
// falcon_notifications_expired that is nearly always empty. It is of the statement's
// snapshot, so a statement that waits for a lock must not use it.
func (d *DB) withExpired(q *bun.SelectQuery) *bun.SelectQuery {
	const of = "(SELECT count(*) FROM falcon_notifications AS x WHERE x.user_id = i.user_id AND x.expires_at > 0 AND NOT x.hidden AND x.expires_at <= "
	return q.ColumnExpr("?TableColumns").
		ColumnExpr(of + d.instant() + " AND x.seq > i.erased_seq) AS expired_total").
		ColumnExpr(of + d.instant() + " AND x.seq > i.erased_seq AND x.read_at = 0) AS expired_unread")
}

// unread returns how many unread notifications the user of in sees. tx holds its lock.
func (d *DB) unread(ctx context.Context, tx bun.Tx, in *inbox) (int64, error) {
	now := inbox{UserID: in.UserID}
	err := d.withExpired(tx.NewSelect().Model(&now)).WherePK().Scan(ctx)
	return now.count().Unread, err
}

// growth is what inboxes grow by in a transaction; then, after grow, the inboxes as
// they were before, with the last seq and the settings only.
type growth map[bridge.UserID]*inbox

// add adds a notification of u.
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

// grow takes the seqs of all users at once, in one statement. On Postgres tx holds
// the locks of their rows.
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

// next returns the next seq of u.
func (g growth) next(u bridge.UserID) bridge.Seq {
	g[u].LastSeq++
	return g[u].LastSeq
}

// mute marks row as the settings of its user ask for, and counts it where it is hidden.
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

// countHidden stores what mute counted: a statement for each user who muted a kind that came.
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
