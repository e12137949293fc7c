package db

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/uptrace/bun"
)

// The feed is the order of notifications over all users. A reader keeps a position in it,
// and must neither miss a row nor depend on rows appearing in the order of their ids.
//
// SQLite has one writer, so ids ascend in commit order, and a position is an id.
//
// On Postgres ids become visible out of order. The feed is therefore ordered by (xid, id)
// and read only below the horizon, which is pg_snapshot_xmin: every transaction below it
// has ended. This is safe because a row's xid is never below that of the transaction X
// that wrote it:
//   - A row that becomes visible later has X at or above the horizon, and so its xid is as
//     well. Nothing ever appears behind a position.
//   - A row below the horizon has X below it, so X has ended and the row is visible.
//     Nothing is skipped.
//
// Within one user, xids never descend as seqs ascend (falcon_append takes the greater of X
// and the user's last xid, under the inbox lock), and ids ascend.
//
// Long transactions delay the feed. While any transaction of the cluster that has written
// something stays open, Since shows no row of transactions that began after it, so
// operators' wildcard subscriptions and the relay wait. The sweep does not, see sweep.go,
// and neither does anything that reads the log of one user.
//
// After a dump has been restored into another cluster, the xids of its rows mean nothing
// there. Such a row is recognized by an xid at or above the first xid of an epoch that began
// after the row got its id. These rows are old, so the feed skips them. A promoted standby
// or a restored base backup continues with its former xids.
//
// A call reads at most limit rows, whether or not they are to be delivered. Reading past a
// long stretch of muted rows therefore takes several calls.

// position is the content of a bridge.Position: <epoch>/<xid>:<id>, with xid 0 on SQLite. A
// position of another epoch that lies after the start of the current epoch is replaced by
// that start.
type position struct {
	xid uint64
	id  int64
}

func (d *DB) position(p bridge.Position) (pos position, err error) {
	if p == "" {
		return position{}, nil
	}
	epoch, rest, _ := strings.Cut(string(p), "/")
	if pos, err = parsePosition(rest); err != nil {
		return pos, err
	}
	if name, edge := d.epoch.began(); epoch != name && before(edge, pos) {
		pos = edge
	}
	return pos, nil
}

func parsePosition(s string) (p position, err error) {
	xid, id, found := strings.Cut(s, ":")
	if !found {
		return p, fmt.Errorf("%q is not a position of the feed", s)
	}
	if p.xid, err = strconv.ParseUint(xid, 10, 64); err != nil {
		return p, fmt.Errorf("a position of the feed: %w", err)
	}
	if p.id, err = strconv.ParseInt(id, 10, 64); err != nil {
		return p, fmt.Errorf("a position of the feed: %w", err)
	}
	return p, nil
}

func (p position) String() string { return fmt.Sprintf("%d:%d", p.xid, p.id) }

func (d *DB) opaque(p position) bridge.Position {
	return bridge.Position(d.Epoch() + "/" + p.String())
}

// horizon returns the position below which no further row can become visible.
func (d *DB) horizon(ctx context.Context) (p position, err error) {
	if d.dialect == Postgres {
		err = d.read.NewSelect().ColumnExpr("pg_snapshot_xmin(pg_current_snapshot())").Scan(ctx, &p.xid)
		return p, err
	}
	p.id, err = lastID(ctx, d.read)
	return p, err
}

// Now implements delivery.Feed. Rows that are visible, but that an open older transaction
// keeps out of the feed, come after the returned position.
func (d *DB) Now(ctx context.Context) (bridge.Position, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	p, err := d.horizon(ctx)
	if err != nil {
		return "", d.fail("read the end of the feed", err)
	}
	return d.opaque(p), nil
}

// fedNotification is a row of the feed. Only Postgres has the column xid.
type fedNotification struct {
	notification `bun:",extend"`

	Xid     uint64 `bun:",scanonly"`
	Deliver bool   `bun:",scanonly"` // whether its user may see it
}

// deliverable returns a condition for notifications n that their users may see. The inbox
// is read by a scalar subquery: Postgres would turn EXISTS into a join, for which it may
// read all inboxes.
func (d *DB) deliverable() string {
	return "NOT n.muted AND NOT n.hidden AND " + d.live("n") + " AND (SELECT i.review_enabled AND n.seq > i.erased_seq AND NOT " + hiddenKind +
		" FROM falcon_inboxes AS i WHERE i.user_id = n.user_id)"
}

// foreignRow is a condition for rows that came with a dump of another cluster.
const foreignRow = "EXISTS (SELECT FROM falcon_epochs AS e WHERE n.id <= e.last_id AND n.xid >= e.next_xid)"

// feed selects at most limit rows after from and before end, in the feed's order. It reads
// a range of falcon_notifications_feed, or of SQLite's primary key.
func (d *DB) feed(rows *[]fedNotification, from, end position, limit int) *bun.SelectQuery {
	q := d.read.NewSelect().Model(rows).ColumnExpr("?TableColumns").Limit(int64(limit))
	if d.dialect == Postgres {
		return q.ColumnExpr("n.xid").ColumnExpr(d.deliverable()+" AND NOT "+foreignRow+" AS deliver").
			Where("(n.xid, n.id) > (?::xid8, ?)", xid8(from.xid), from.id).
			Where("n.xid < ?::xid8", xid8(end.xid)).Order("n.xid", "n.id")
	}
	return q.ColumnExpr(d.deliverable()+" AS deliver").Where("n.id > ?", from.id).Where("n.id <= ?", end.id).Order("n.id")
}

// Since implements delivery.Feed.
func (d *DB) Since(ctx context.Context, p bridge.Position, limit int) (out []bridge.Notification, next bridge.Position, more bool, err error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	from, err := d.position(p)
	if err != nil {
		return nil, p, false, err
	}
	end, err := d.horizon(ctx)
	if err != nil {
		return nil, p, false, d.fail("read the feed", err)
	}
	var rows []fedNotification
	if err := d.feed(&rows, from, end, limit).Scan(ctx); err != nil {
		return nil, p, false, d.fail("read the feed", err)
	}
	if more = len(rows) == limit; more { // there may be more before the horizon
		end = position{rows[limit-1].Xid, rows[limit-1].ID}
	} else if before(end, from) {
		end = from // the horizon has not reached p yet
	}
	for i := range rows {
		if rows[i].Deliver {
			out = append(out, rows[i].domain())
		}
	}
	return out, d.opaque(end), more, nil
}

func before(a, b position) bool { return a.xid < b.xid || a.xid == b.xid && a.id < b.id }

// xid8 formats x as text, since Bun has no unsigned literals and Postgres cannot cast
// bigint to xid8.
func xid8(x uint64) string { return strconv.FormatUint(x, 10) }

// latests selects, for each inbox i, the newest of the notifications that last selects,
// provided the user may see it. It takes the row from the index (user_id, seq). The two
// dialects differ because SQLite has no LATERAL, while Postgres would join the whole tables
// if it were given a subquery instead.
func (d *DB) latests(last *bun.SelectQuery) *bun.SelectQuery {
	last.Model((*notification)(nil)).Where("n.user_id = i.user_id").Where(d.live("n")).Order("n.seq DESC").Limit(1)
	q := d.read.NewSelect()
	if d.dialect == Postgres {
		q.ColumnExpr("n.*").TableExpr("falcon_inboxes AS i").Join("CROSS JOIN LATERAL (?) AS n", last)
	} else {
		q.Model((*notification)(nil)).Join("JOIN falcon_inboxes AS i ON i.user_id = n.user_id").Where("n.seq = (?)", last.Column("seq"))
	}
	return q.Where("i.review_enabled").Where("n.seq > i.erased_seq")
}

// retainedQuery walks the inboxes by their primary key.
func (d *DB) retainedQuery(after bridge.UserID, limit int) *bun.SelectQuery {
	return d.latests(d.read.NewSelect()).Where("i.user_id > ?", after).Order("i.user_id").Limit(int64(limit))
}

// Retained implements delivery.Feed.
func (d *DB) Retained(ctx context.Context, after bridge.UserID, limit int) ([]bridge.Notification, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	var rows []notification
	err := d.retainedQuery(after, limit).Scan(ctx, &rows)
	return domains(rows, (*notification).domain), d.fail("read the retained messages", err)
}
