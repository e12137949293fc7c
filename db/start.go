package db

import (
	"context"
	"database/sql"
	"math"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/uptrace/bun"
)

// queryStarts is queryHead with querySkip in it, for many users: two entries of the
// unique index (user_id, seq) each.
const queryStarts = "SELECT i.user_id, (SELECT l.seq FROM falcon_notifications l WHERE l.user_id = i.user_id AND l.seq > ? " +
	"AND NOT l.muted AND i.review_enabled ORDER BY l.seq DESC LIMIT 1 OFFSET ?), i.last_seq, " + pageColumns + " FROM falcon_inboxes i " +
	"LEFT JOIN falcon_notifications n ON i.review_enabled AND n.user_id = i.user_id " +
	"AND n.seq = (SELECT max(l.seq) FROM falcon_notifications l WHERE l.user_id = i.user_id) WHERE i.user_id IN (?)"

// Starts implements bridge.Log. One SUBSCRIBE costs one statement, whatever the
// number of its filters.
func (d *DB) Starts(ctx context.Context, users []bridge.UserID, since *bridge.Seq, limit int) (map[bridge.UserID]bridge.Start, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	after := bridge.Seq(math.MaxInt64) // nothing is behind it
	if since != nil {
		after = *since
	}
	rows, err := d.read.QueryContext(ctx, queryStarts, after, limit, bun.List(users))
	if err != nil {
		return nil, d.fail("find where subscriptions start", err)
	}
	defer func() { _ = rows.Close() }()
	starts := make(map[bridge.UserID]bridge.Start, len(users))
	for rows.Next() {
		var u bridge.UserID
		var skip sql.NullInt64
		head, err := scanHead(prefixed{rows, []any{&u, &skip}})
		if err != nil {
			return nil, d.fail("find where subscriptions start", err)
		}
		start := bridge.Start{Head: head, After: min(max(after, 0), head.Last)}
		if skip.Valid {
			start.After = bridge.Seq(skip.Int64)
		}
		starts[u] = start
	}
	return starts, d.fail("find where subscriptions start", rows.Err())
}

// prefixed scans columns before those its caller asks for.
type prefixed struct {
	scanner
	before []any
}

func (p prefixed) Scan(dest ...any) error { return p.scanner.Scan(append(p.before, dest...)...) }
