package db

import (
	"context"
	"database/sql"
	"errors"
	"math"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/schema"
)

// undelivered selects what a device of u at after still has to get: a range of the
// unique index (user_id, seq). The mute is looked up in the statement's own
// snapshot: after the commit of a mute nothing is returned.
func (d *DB) undelivered(u bridge.UserID, after bridge.Seq) *bun.SelectQuery {
	return d.read.NewSelect().Model((*notification)(nil)).Where("n.user_id = ?", u).Where("n.seq > ?", after).Where("NOT n.muted").Where("NOT n.hidden").Where(d.live("n")).
		Where("NOT coalesce((SELECT "+hiddenKind+" FROM falcon_inboxes AS i WHERE i.user_id = ?), ?)", u, false).
		Where("(SELECT i.review_enabled FROM falcon_inboxes AS i WHERE i.user_id = ?)", u).Where("n.seq > (?)", erased(u))
}

// erased is the seq up to which u's rows are being erased, as a scalar subquery; it
// has no row where u has no inbox, and so no notifications.
func erased(u bridge.UserID) schema.QueryWithArgs {
	return bun.SafeQuery("SELECT i.erased_seq FROM falcon_inboxes AS i WHERE i.user_id = ?", u)
}

// After implements delivery.Log.
func (d *DB) After(ctx context.Context, u bridge.UserID, after bridge.Seq, limit int) ([]bridge.Notification, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	var rows []notification
	err := d.undelivered(u, after).Order("n.seq").Limit(int64(limit)).Scan(ctx, &rows)
	return domains(rows, (*notification).domain), d.fail("read the log", err)
}

// newest is SQL for the seq of the newest row of the inbox i that is listed, of the last
// 1000 there are: a SUBSCRIBE must not read through all that a muted kind brought.
func (d *DB) newest() string {
	return "(SELECT near.seq FROM (SELECT n.seq, n.hidden, n.expires_at FROM falcon_notifications AS n WHERE n.user_id = i.user_id " +
		"ORDER BY n.seq DESC LIMIT 1000) AS near WHERE NOT near.hidden AND " + d.live("near") + " LIMIT 1)"
}

// withLatest joins an inbox with its retained message: the user's latest row, also
// where it was appended muted, as unmuted everything is listed again. A muted user
// has none.
func (d *DB) withLatest(q *bun.SelectQuery) *bun.SelectQuery {
	return q.RelationWithOpts("Latest", on("i.review_enabled AND latest.seq > i.erased_seq AND latest.seq = "+d.newest()))
}

// head returns what a new subscription of in's user begins with.
func (i *inbox) head() bridge.Head {
	h := bridge.Head{Last: i.LastSeq}
	if i.Latest != nil {
		latest := i.Latest.domain()
		h.Latest = &latest
	}
	return h
}

// Head implements delivery.Log.
func (d *DB) Head(ctx context.Context, u bridge.UserID) (bridge.Head, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	in := inbox{UserID: u}
	err := d.withLatest(d.read.NewSelect().Model(&in)).WherePK().Scan(ctx)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return bridge.Head{}, d.fail("read the head", err)
	}
	return in.head(), nil
}

// Skip implements delivery.Log. Its OFFSET is at most the replay cap, within one
// index range: it is the row before the newest limit ones that is asked for.
func (d *DB) Skip(ctx context.Context, u bridge.UserID, after bridge.Seq, limit int) (bridge.Seq, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	var s bridge.Seq
	err := d.undelivered(u, after).Column("seq").Order("n.seq DESC").Limit(1).Offset(int64(limit)).Scan(ctx, &s)
	if errors.Is(err, sql.ErrNoRows) {
		return after, nil
	}
	return s, d.fail("find where a replay starts", err)
}

// startRow is the start of one user's subscription.
type startRow struct {
	inbox `bun:",extend"`

	Skip *bridge.Seq `bun:",scanonly"` // nil: nothing is skipped
}

// startQuery is that of Head with that of Skip in it, for many users: two entries
// of the unique index (user_id, seq) each.
func (d *DB) startQuery(rows *[]startRow, users []bridge.UserID, after bridge.Seq, limit int) *bun.SelectQuery {
	skip := d.read.NewSelect().TableExpr("falcon_notifications AS l").Column("l.seq").Where("l.user_id = i.user_id").
		Where("l.seq > ?", after).Where("l.seq > i.erased_seq").Where("NOT l.muted").Where("NOT l.hidden").Where(d.live("l")).Where("i.review_enabled").Order("l.seq DESC").Limit(1).Offset(int64(limit))
	return d.withLatest(d.read.NewSelect().Model(rows)).ColumnExpr("?TableColumns").ColumnExpr("(?) AS skip", skip).
		Where("i.user_id IN (?)", bun.List(users))
}

// Starts implements delivery.Log. One SUBSCRIBE costs one statement, whatever the
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
