package db

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/uptrace/bun"
)

// why is the reason why a notification is gone, as falcon_tombstones and explain name it.
type why string

const (
	deleted     why = "deleted"
	superseded  why = "superseded"
	expired     why = "expired"
	retainedOut why = "retained out"
)

// removeNotifications removes the notifications that find selects, leaves tombstones in
// their place, corrects the counts of their users and records the changes of their inboxes.
// It returns the removed rows. tx must hold the locks of these inboxes, and find must not
// select rows that are being erased.
func (d *DB) removeNotifications(ctx context.Context, tx bun.Tx, w why, find func(bun.QueryBuilder) bun.QueryBuilder) ([]notification, error) {
	var gone []notification
	err := tx.NewDelete().Model((*notification)(nil)).ApplyQueryBuilder(find).
		Returning("id, user_id, seq, kind, created_at, by, read_at, hidden").Scan(ctx, &gone)
	if err != nil || len(gone) == 0 {
		return nil, err
	}
	stones := make([]tombstone, len(gone))
	for i, n := range gone {
		stones[i] = tombstone{ID: n.ID, UserID: n.UserID, Seq: n.Seq, Kind: n.Kind, Why: w, At: nowMillis(), CommittedAt: n.CreatedAt, By: n.By}
	}
	if _, err := tx.NewInsert().Model(&stones).Exec(ctx); err != nil {
		return nil, err
	}
	return gone, d.changeGone(ctx, tx, gone)
}

// replacement is the newest notification with a value of replaces, as a row of a common
// table expression.
type replacement struct {
	bun.BaseModel `bun:"table:replacements,alias:k"`

	UserID   bridge.UserID
	Replaces string
	Seq      bridge.Seq
}

// supersede removes the notifications that rows supersede: earlier ones of the same user
// with the same value of replaces, including those in rows. The rows have just been
// appended, and tx holds the locks of their users' inboxes. On Postgres, falcon_append does
// the same for the rows that it appends.
func (d *DB) supersede(ctx context.Context, tx bun.Tx, rows []notification) error {
	last := make(map[replacement]bridge.Seq)
	for i := range rows {
		if n := &rows[i]; n.Replaces != "" {
			last[replacement{UserID: n.UserID, Replaces: n.Replaces}] = n.Seq // seqs ascend
		}
	}
	if len(last) == 0 {
		return nil
	}
	keys := make([]replacement, 0, len(last))
	for k, seq := range last {
		k.Seq = seq
		keys = append(keys, k)
	}
	var ids []int64
	if err := tx.NewSelect().With("replacements", tx.NewValues(&keys)).TableExpr("replacements AS k").
		Join("JOIN falcon_notifications AS n ON n.user_id = k.user_id AND n.replaces = k.replaces AND n.replaces <> '' AND n.seq < k.seq").
		Join("JOIN falcon_inboxes AS i ON i.user_id = n.user_id").
		Column("n.id").Where("n.seq > i.erased_seq").Where(d.live("n")).Scan(ctx, &ids); err != nil || len(ids) == 0 {
		return err
	}
	_, err := d.removeNotifications(ctx, tx, superseded, func(q bun.QueryBuilder) bun.QueryBuilder {
		return q.Where("id IN (?)", bun.List(ids))
	})
	return err
}

// Withdraw implements bridge.History. At most one notification of a key is visible, since
// each supersedes the one before.
func (d *DB) Withdraw(ctx context.Context, u bridge.UserID, key string) (n int64, err error) {
	err = d.withInbox(ctx, "withdraw a notification", u, func(ctx context.Context, tx bun.Tx, box *inbox) error {
		gone, err := d.removeNotifications(ctx, tx, deleted, func(q bun.QueryBuilder) bun.QueryBuilder {
			return q.Where("user_id = ?", u).Where("replaces = ?", key).Where("replaces <> ''").Where("seq > ?", box.ErasedSeq).Where(d.live(""))
		})
		n = int64(len(gone))
		return err
	})
	if errors.Is(err, bridge.ErrNotFound) {
		return 0, nil // no inbox, so nothing to withdraw
	}
	return n, err
}

// ExpireNotifications removes at most limit notifications past their expiry, oldest first,
// and returns how many and their users. It reads a range of falcon_notifications_expiry. It
// skips rows whose inboxes another transaction has locked. The next call continues after
// them, and the call after one that reached the end of the range starts over.
func (d *DB) ExpireNotifications(ctx context.Context, limit int) (n int, users []bridge.UserID, err error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	for range retainWindows {
		from := d.expiry.Load()
		seen, gone, err := d.expireWindow(ctx, from, limit)
		for i := range gone {
			users = append(users, gone[i].UserID)
		}
		if n += len(gone); err != nil {
			return n, users, d.fail("remove expired notifications", err)
		}
		if seen < limit {
			d.expiry.Store(nil)
		}
		if n > 0 || seen < limit && from == nil {
			break
		}
	}
	slices.Sort(users)
	return n, slices.Compact(users), nil
}

// expiring is an expired notification that expireWindow found.
type expiring struct {
	ID        int64
	UserID    bridge.UserID
	ExpiresAt int64
}

// expireWindow finds at most limit expired notifications after from, and removes those
// whose inboxes no other transaction has locked. seen is how many it found.
func (d *DB) expireWindow(ctx context.Context, from *expiring, limit int) (seen int, gone []notification, err error) {
	var rows []expiring
	find := d.read.NewSelect().Model((*notification)(nil)).Column("id", "user_id", "expires_at").Where("n.expires_at > 0").
		Where("n.expires_at <= "+d.instant()).Order("n.expires_at", "n.id").Limit(int64(limit))
	if from != nil {
		find.Where("(n.expires_at, n.id) > (?, ?)", from.ExpiresAt, from.ID)
	}
	if err := find.Scan(ctx, &rows); err != nil || len(rows) == 0 {
		return 0, nil, err
	}
	ids := make([]int64, len(rows))
	users := make([]bridge.UserID, len(rows))
	for i, r := range rows {
		ids[i], users[i] = r.ID, r.UserID
	}
	if gone, err = d.removeFree(ctx, expired, ids, users); err == nil {
		d.expiry.Store(&rows[len(rows)-1])
	}
	return len(rows), gone, err
}

// removeFree removes the notifications with these ids, which belong to users, unless
// another transaction has locked the inbox, and returns them. Users who are being erased
// are left to the erasure.
func (d *DB) removeFree(ctx context.Context, w why, ids []int64, users []bridge.UserID) (gone []notification, err error) {
	err = d.inTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		var free []bridge.UserID
		if err := d.lockRows(tx.NewSelect().Model((*inbox)(nil)).Column("user_id").Where("i.user_id IN (?)", bun.List(users)).
			Where("i.erased_seq = 0").Order("i.user_id"), "NO KEY UPDATE SKIP LOCKED").Scan(ctx, &free); err != nil || len(free) == 0 {
			return err
		}
		var err error
		gone, err = d.removeNotifications(ctx, tx, w, func(q bun.QueryBuilder) bun.QueryBuilder {
			return q.Where("id IN (?)", bun.List(ids)).Where("user_id IN (?)", bun.List(free))
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	return gone, nil
}

// tombstoneLife is how long tombstones and the records of ended sessions are kept.
const tombstoneLife = 30 * 24 * time.Hour

// ExpireTombstones removes at most limit tombstones older than tombstoneLife, a range of
// falcon_tombstones_age.
func (d *DB) ExpireTombstones(ctx context.Context, limit int) (int, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	n, err := d.remove(ctx, "id", d.write.NewSelect().Model((*tombstone)(nil)).
		Where("at <= ? - ?", d.clock(), tombstoneLife.Milliseconds()).Order("at"), limit)
	return n, d.fail("remove tombstones", err)
}
