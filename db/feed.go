package db

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/uptrace/bun"
)

// The order over all users.
//
// SQLite has one writer, so ids ascend in commit order.
//
// On Postgres ids become visible out of order. The feed is ordered by (xid, id)
// and read below the horizon: pg_snapshot_xmin, under which every transaction has
// ended. Why that is safe: a row's xid is never below that of its writing
// transaction X. A row that becomes visible later has X at or above the horizon,
// so its xid is too: nothing ever appears behind a position. A row below the
// horizon has X below it, so X has ended and the row is visible: nothing is
// passed over. Within a user xid never descends with the seq (falcon_append takes
// the greater of X and the user's last one, under the inbox lock), and id ascends.
//
// What a long transaction delays: while any transaction of the cluster that
// wrote something stays open, Since shows nothing that began after it, so
// operators' wildcard subscriptions and the relay wait. Changed looks above the
// horizon and repeats itself instead, so the sweep does not wait; nor does
// anything that reads one user's log.

// position is a bridge.Position: <epoch>/<xid>:<id>, on SQLite with xid 0. One of
// another epoch means nothing here.
type position struct {
	xid uint64
	id  int64
}

func (d *DB) position(p bridge.Position) (pos position, ok bool, err error) {
	if p == "" {
		return position{}, true, nil
	}
	life, rest, _ := strings.Cut(string(p), "/")
	xid, id, found := strings.Cut(rest, ":")
	if !found {
		return pos, false, fmt.Errorf("%q is not a position of the feed", p)
	}
	if pos.xid, err = strconv.ParseUint(xid, 10, 64); err != nil {
		return pos, false, fmt.Errorf("a position of the feed: %w", err)
	}
	if pos.id, err = strconv.ParseInt(id, 10, 64); err != nil {
		return pos, false, fmt.Errorf("a position of the feed: %w", err)
	}
	return pos, life == d.Epoch(), nil
}

func (d *DB) opaque(p position) bridge.Position {
	return bridge.Position(fmt.Sprintf("%s/%d:%d", d.Epoch(), p.xid, p.id))
}

// horizon is where the order ends for now: below it nothing is missing.
func (d *DB) horizon(ctx context.Context) (p position, err error) {
	if d.dialect == Postgres {
		err = d.read.NewSelect().ColumnExpr("pg_snapshot_xmin(pg_current_snapshot())").Scan(ctx, &p.xid)
		return p, err
	}
	p.id, err = lastID(ctx, d.read)
	return p, err
}

// Now implements bridge.Feed. Rows that a transaction older than theirs held
// back may come once more.
func (d *DB) Now(ctx context.Context) (bridge.Position, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	p, err := d.horizon(ctx)
	if err != nil {
		return "", d.fail("look where the feed is", err)
	}
	return d.opaque(p), nil
}

// fedNotification is a row of the feed. Only Postgres has the column xid.
type fedNotification struct {
	notification `bun:",extend"`

	Xid uint64 `bun:",scanonly"`
}

// deliverable leaves out what its user does not see. The inbox is asked for as a
// scalar: as EXISTS Postgres joins it, and may read all inboxes for that.
const deliverable = "NOT n.muted AND (SELECT i.review_enabled FROM falcon_inboxes AS i WHERE i.user_id = n.user_id)"

// feed finds at most limit rows behind from and before end, in the feed's order:
// a range of falcon_notifications_feed, or of SQLite's primary key.
func (d *DB) feed(rows *[]fedNotification, from, end position, limit int) *bun.SelectQuery {
	q := d.read.NewSelect().Model(rows).ColumnExpr("?TableColumns").Where(deliverable).Limit(int64(limit))
	if d.dialect == Postgres {
		return q.ColumnExpr("n.xid").Where("(n.xid, n.id) > (?::xid8, ?)", xid8(from.xid), from.id).
			Where("n.xid < ?::xid8", xid8(end.xid)).Order("n.xid", "n.id")
	}
	return q.Where("n.id > ?", from.id).Where("n.id <= ?", end.id).Order("n.id")
}

// news finds the users with notifications behind from, and the last seq of each.
// Postgres asks for the inbox once a user; SQLite would read all notifications by
// user for such groups.
func (d *DB) news(from position) *bun.SelectQuery {
	q := d.read.NewSelect().Model((*notification)(nil)).Column("user_id").ColumnExpr("max(n.seq) AS seq").Group("n.user_id")
	if d.dialect == SQLite {
		return q.Where("n.id > ?", from.id).Where(deliverable)
	}
	q.Where("(n.xid, n.id) > (?::xid8, ?)", xid8(from.xid), from.id).Where("NOT n.muted")
	return d.read.NewSelect().ColumnExpr("c.user_id, c.seq").TableExpr("(?) AS c", q).
		Where("(SELECT i.review_enabled FROM falcon_inboxes AS i WHERE i.user_id = c.user_id)")
}

// Since implements bridge.Feed. A position of another epoch counts as "", the
// beginning: what the restored log holds is news.
func (d *DB) Since(ctx context.Context, p bridge.Position, limit int) ([]bridge.Notification, bridge.Position, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	from, ok, err := d.position(p)
	if err != nil {
		return nil, p, err
	}
	if !ok {
		from = position{}
	}
	end, err := d.horizon(ctx)
	if err != nil {
		return nil, p, d.fail("read the feed", err)
	}
	var rows []fedNotification
	if err := d.feed(&rows, from, end, limit).Scan(ctx); err != nil {
		return nil, p, d.fail("read the feed", err)
	}
	if len(rows) == limit { // there may be more before the horizon
		end = position{rows[limit-1].Xid, rows[limit-1].ID}
	} else if ok && before(end, from) {
		end = from // the horizon stood behind p's last row
	}
	return domains(rows, func(n *fedNotification) bridge.Notification { return n.domain() }), d.opaque(end), nil
}

func before(a, b position) bool { return a.xid < b.xid || a.xid == b.xid && a.id < b.id }

// xid8 is written as text: Bun has no unsigned literal, and xid8 no cast from bigint.
func xid8(x uint64) string { return strconv.FormatUint(x, 10) }

// Changed implements bridge.Feed. It may name users again whose rows are younger
// than the oldest open transaction. A position of another epoch counts as now:
// devices connect anew then, and read their logs.
func (d *DB) Changed(ctx context.Context, p bridge.Position) ([]bridge.Change, bridge.Position, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	from, ok, err := d.position(p)
	if err != nil {
		return nil, p, err
	}
	end, err := d.horizon(ctx) // before the rows: what commits between comes again
	if err != nil {
		return nil, p, d.fail("look what changed", err)
	}
	if !ok {
		return nil, d.opaque(end), nil
	}
	var rows []notification
	if err := d.news(from).Scan(ctx, &rows); err != nil {
		return nil, p, d.fail("look what changed", err)
	}
	return domains(rows, func(n *notification) bridge.Change { return bridge.Change{User: n.UserID, Last: n.Seq} }), d.opaque(end), nil
}

// latests finds the newest row of each inbox, of those that last selects, where it
// is listed; i is the inbox. It takes the row from the index (user_id, seq). SQLite
// has no LATERAL; given a subquery instead, Postgres would join the whole tables.
func (d *DB) latests(last *bun.SelectQuery) *bun.SelectQuery {
	last.Model((*notification)(nil)).Where("n.user_id = i.user_id").Order("n.seq DESC").Limit(1)
	q := d.read.NewSelect()
	if d.dialect == Postgres {
		q.ColumnExpr("n.*").TableExpr("falcon_inboxes AS i").Join("CROSS JOIN LATERAL (?) AS n", last)
	} else {
		q.Model((*notification)(nil)).Join("JOIN falcon_inboxes AS i ON i.user_id = n.user_id").Where("n.seq = (?)", last.Column("seq"))
	}
	return q.Where("i.review_enabled")
}

// retainedQuery walks the inboxes by their primary key.
func (d *DB) retainedQuery(after bridge.UserID, limit int) *bun.SelectQuery {
	return d.latests(d.read.NewSelect()).Where("i.user_id > ?", after).Order("i.user_id").Limit(int64(limit))
}

// Retained implements bridge.Feed.
func (d *DB) Retained(ctx context.Context, after bridge.UserID, limit int) ([]bridge.Notification, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	var rows []notification
	err := d.retainedQuery(after, limit).Scan(ctx, &rows)
	return domains(rows, (*notification).domain), d.fail("read the retained messages", err)
}
