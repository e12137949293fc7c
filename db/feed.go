package db

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/falconalert/falconbridge/bridge"
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
		var xmin string
		if err := d.row(ctx, "SELECT pg_snapshot_xmin(pg_current_snapshot())::text").Scan(&xmin); err != nil {
			return p, err
		}
		p.xid, err = strconv.ParseUint(xmin, 10, 64)
		return p, err
	}
	err = d.row(ctx, "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'falcon_notifications'").Scan(&p.id)
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

const (
	// The inbox is asked for as a scalar: as EXISTS Postgres joins it, and may read all
	// inboxes for that.
	deliverable = " AND NOT n.muted AND (SELECT i.review_enabled FROM falcon_inboxes i WHERE i.user_id = n.user_id)"

	feedPostgres = "SELECT " + notificationColumns + ", n.xid::text FROM falcon_notifications n " +
		"WHERE (n.xid, n.id) > (?::xid8, ?) AND n.xid < ?::xid8" + deliverable + " ORDER BY n.xid, n.id LIMIT ?"
	feedSQLite = "SELECT " + notificationColumns + ", '0' FROM falcon_notifications n " +
		"WHERE n.id > ? AND n.id <= ?" + deliverable + " ORDER BY n.id LIMIT ?"

	// Once a user suffices here. SQLite would read all notifications by user for such
	// groups.
	changedPostgres = "SELECT c.user_id, c.seq FROM (SELECT n.user_id, max(n.seq) AS seq FROM falcon_notifications n " +
		"WHERE (n.xid, n.id) > (?::xid8, ?) AND NOT n.muted GROUP BY n.user_id) c " +
		"WHERE (SELECT i.review_enabled FROM falcon_inboxes i WHERE i.user_id = c.user_id)"
	changedSQLite = "SELECT n.user_id, max(n.seq) FROM falcon_notifications n " +
		"WHERE n.id > ?" + deliverable + " GROUP BY n.user_id"
)

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
	query, args := feedSQLite, []any{from.id, end.id, limit}
	if d.dialect == Postgres {
		query, args = feedPostgres, []any{xid8(from.xid), from.id, xid8(end.xid), limit}
	}
	rows, err := d.rows(ctx, query, args...)
	if err != nil {
		return nil, p, d.fail("read the feed", err)
	}
	defer func() { _ = rows.Close() }()
	var out []bridge.Notification
	var xid string
	for rows.Next() {
		n, err := scanNotification(rows, &xid)
		if err != nil {
			return nil, p, d.fail("read the feed", err)
		}
		out = append(out, n)
	}
	if err := rows.Err(); err != nil {
		return nil, p, d.fail("read the feed", err)
	}
	if len(out) == limit { // there may be more before the horizon
		end.id = out[limit-1].ID
		if end.xid, err = strconv.ParseUint(xid, 10, 64); err != nil {
			return nil, p, fmt.Errorf("read the feed: %w", err)
		}
	} else if ok && before(end, from) {
		end = from // the horizon stood behind p's last row
	}
	return out, d.opaque(end), nil
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
	query, args := changedSQLite, []any{from.id}
	if d.dialect == Postgres {
		query, args = changedPostgres, []any{xid8(from.xid), from.id}
	}
	rows, err := d.rows(ctx, query, args...)
	if err != nil {
		return nil, p, d.fail("look what changed", err)
	}
	defer func() { _ = rows.Close() }()
	var out []bridge.Change
	for rows.Next() {
		var c bridge.Change
		if err := rows.Scan(&c.User, &c.Last); err != nil {
			return nil, p, d.fail("look what changed", err)
		}
		out = append(out, c)
	}
	if err := rows.Err(); err != nil {
		return nil, p, d.fail("look what changed", err)
	}
	return out, d.opaque(end), nil
}

// These walk the inboxes by their primary key and take the last row of each from
// the index (user_id, seq). SQLite has no LATERAL; given a subquery instead,
// Postgres would join the whole tables.
const (
	retainedPostgres = "SELECT " + notificationColumns + " FROM falcon_inboxes i CROSS JOIN LATERAL " +
		"(SELECT l.* FROM falcon_notifications l WHERE l.user_id = i.user_id ORDER BY l.seq DESC LIMIT 1) n " +
		"WHERE i.user_id > ? AND i.review_enabled ORDER BY i.user_id LIMIT ?"
	retainedSQLite = "SELECT " + notificationColumns + " FROM falcon_inboxes i JOIN falcon_notifications n ON n.user_id = i.user_id " +
		"AND n.seq = (SELECT max(l.seq) FROM falcon_notifications l WHERE l.user_id = i.user_id) " +
		"WHERE i.user_id > ? AND i.review_enabled ORDER BY i.user_id LIMIT ?"
)

// Retained implements bridge.Feed.
func (d *DB) Retained(ctx context.Context, after bridge.UserID, limit int) ([]bridge.Notification, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	query := retainedSQLite
	if d.dialect == Postgres {
		query = retainedPostgres
	}
	rows, err := d.rows(ctx, query, string(after), limit)
	if err != nil {
		return nil, d.fail("read the retained messages", err)
	}
	out, err := collect(rows)
	return out, d.fail("read the retained messages", err)
}
