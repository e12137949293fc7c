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

// undelivered selects the notifications that a device of u whose cursor is at after
// has still to receive. It scans a range of the unique index (user_id, seq). Mutes are
// read in the same statement, and so in the same snapshot: once a mute has committed,
// no later read returns a row that it hides.
func (d *DB) undelivered(u bridge.UserID, after bridge.Seq) *bun.SelectQuery {
	return d.read.NewSelect().Model((*notification)(nil)).Where("n.user_id = ?", u).Where("n.seq > ?", after).Where("NOT n.muted").Where("NOT n.hidden").Where(d.live("n")).
		Where("NOT coalesce((SELECT "+hiddenKind+" FROM falcon_inboxes AS i WHERE i.user_id = ?), ?)", u, false).
		Where("(SELECT i.review_enabled FROM falcon_inboxes AS i WHERE i.user_id = ?)", u).Where("n.seq > (?)", erased(u))
}

// erased returns a scalar subquery for the seq up to which u's rows are being erased.
// It yields NULL for a user without an inbox, who has no notifications either.
func erased(u bridge.UserID) schema.QueryWithArgs {
	return bun.SafeQuery("SELECT i.erased_seq FROM falcon_inboxes AS i WHERE i.user_id = ?", u)
}

// After implements delivery.LogReader.
func (d *DB) After(ctx context.Context, u bridge.UserID, after bridge.Seq, limit int) ([]bridge.Notification, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	var rows []notification
	err := d.undelivered(u, after).Order("n.seq").Limit(int64(limit)).Scan(ctx, &rows)
	return domains(rows, (*notification).domain), d.fail("read the log", err)
}

// newest returns a SQL expression for the seq of the newest visible notification of the
// inbox i. It considers only the last 1,000 rows, because a user may have a million rows of
// a muted kind, and a SUBSCRIBE must not read them all.
func (d *DB) newest() string {
	return "(SELECT near.seq FROM (SELECT n.seq, n.hidden, n.expires_at FROM falcon_notifications AS n WHERE n.user_id = i.user_id " +
		"ORDER BY n.seq DESC LIMIT 1000) AS near WHERE NOT near.hidden AND " + d.live("near") + " LIMIT 1)"
}

// withLatest joins an inbox with its retained message, the user's latest visible row.
// This includes rows that were appended while the user was muted, because unmuting lists
// everything again. A user who is muted now has no retained message.
func (d *DB) withLatest(q *bun.SelectQuery) *bun.SelectQuery {
	return q.RelationWithOpts("Latest", on("i.review_enabled AND latest.seq > i.erased_seq AND latest.seq = "+d.newest()))
}

// head returns what a new subscription starts from: the last seq and the retained
// message.
func (i *inbox) head() bridge.Head {
	h := bridge.Head{Last: i.LastSeq}
	if i.Latest != nil {
		latest := i.Latest.domain()
		h.Latest = &latest
	}
	return h
}

// Head implements delivery.LogReader.
func (d *DB) Head(ctx context.Context, u bridge.UserID) (bridge.Head, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	box := inbox{UserID: u}
	err := d.withLatest(d.read.NewSelect().Model(&box)).WherePK().Scan(ctx)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return bridge.Head{}, d.fail("read the head", err)
	}
	return box.head(), nil
}

// Skip implements delivery.LogReader. It looks for the row just before the newest limit rows. The
// OFFSET is therefore at most the replay cap, within one index range.
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

// startRow is where a subscription to one user's notifications starts.
type startRow struct {
	inbox `bun:",extend"`

	Skip *bridge.Seq `bun:",scanonly"` // nil: nothing is skipped
}

// startQuery combines the queries of Head and Skip for many users. For each user it
// reads two entries of the unique index (user_id, seq).
func (d *DB) startQuery(rows *[]startRow, users []bridge.UserID, after bridge.Seq, limit int) *bun.SelectQuery {
	skip := d.read.NewSelect().TableExpr("falcon_notifications AS l").Column("l.seq").Where("l.user_id = i.user_id").
		Where("l.seq > ?", after).Where("l.seq > i.erased_seq").Where("NOT l.muted").Where("NOT l.hidden").Where(d.live("l")).Where("i.review_enabled").Order("l.seq DESC").Limit(1).Offset(int64(limit))
	return d.withLatest(d.read.NewSelect().Model(rows)).ColumnExpr("?TableColumns").ColumnExpr("(?) AS skip", skip).
		Where("i.user_id IN (?)", bun.List(users))
}

// Starts implements delivery.LogReader. A SUBSCRIBE costs one statement, however many filters
// it has.
func (d *DB) Starts(ctx context.Context, users []bridge.UserID, since *bridge.Seq, limit int) (map[bridge.UserID]bridge.Start, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	after := bridge.Seq(math.MaxInt64) // past every row: nothing to replay
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
