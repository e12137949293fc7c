package db

import (
	"context"
	"math"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/uptrace/bun"
)

// startRow is where one user's subscription starts.
type startRow struct {
	inbox `bun:",extend"`

	Skip *bridge.Seq `bun:",scanonly"` // nil: nothing is skipped
}

// startQuery is that of Head with that of Skip in it, for many users: two entries
// of the unique index (user_id, seq) each.
func (d *DB) startQuery(rows *[]startRow, users []bridge.UserID, after bridge.Seq, limit int) *bun.SelectQuery {
	skip := d.read.NewSelect().TableExpr("falcon_notifications AS l").Column("l.seq").Where("l.user_id = i.user_id").
		Where("l.seq > ?", after).Where("NOT l.muted").Where("i.review_enabled").Order("l.seq DESC").Limit(1).Offset(int64(limit))
	return withLatest(d.read.NewSelect().Model(rows)).ColumnExpr("?TableColumns").ColumnExpr("(?) AS skip", skip).
		Where("i.user_id IN (?)", bun.List(users))
}

// Starts implements bridge.Log. One SUBSCRIBE costs one statement, whatever the
// number of its filters.
func (d *DB) Starts(ctx context.Context, users []bridge.UserID, since *bridge.Seq, limit int) (map[bridge.UserID]bridge.Start, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	after := bridge.Seq(math.MaxInt64) // nothing is behind it
	if since != nil {
		after = *since
	}
	var rows []startRow
	if err := d.startQuery(&rows, users, after, limit).Scan(ctx); err != nil {
		return nil, d.fail("find where subscriptions start", err)
	}
	starts := make(map[bridge.UserID]bridge.Start, len(users))
	for i := range rows {
		start := bridge.Start{Head: rows[i].head(), After: min(max(after, 0), rows[i].LastSeq)}
		if rows[i].Skip != nil {
			start.After = *rows[i].Skip
		}
		starts[rows[i].UserID] = start
	}
	return starts, nil
}
