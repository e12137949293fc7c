package db

import (
	"context"
	"strings"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/uptrace/bun"
)

// The sweep looks for logs that grew. It must find every row that becomes visible,
// also those of a transaction that committed late, and must not reread everything
// since the oldest open transaction of the cluster, which may have been open for
// hours.
//
// So it reads twice. Ahead of edge it reads what is new, in the feed's order, as far
// as there is any. Behind edge, rows of transactions that were still open may have
// become visible since: a lap reads from the horizon of an earlier moment, below
// which nothing can have, up to edge, a limited number of rows a call. When a lap is
// over, the next one begins at the horizon where the last one began. Without long
// transactions the horizon is at edge and laps are empty. While one is open, each
// call costs what is new and at most limit rows more; only its own rows may be found
// as late as the end of a lap, and only where their hints were lost.
//
// SQLite has one writer, so nothing becomes visible behind edge.

// sweepPosition is the bridge.Position of a sweep: <epoch>/<edge>+<lap>+<next>.
type sweepPosition struct {
	edge position // every row before it that was visible was read
	lap  position // how far the lap behind edge came
	next position // where the next lap begins
}

// sweepPosition reads p; ok is false where it is of another epoch, or "".
func (d *DB) sweepPosition(p bridge.Position) (s sweepPosition, ok bool, err error) {
	life, rest, _ := strings.Cut(string(p), "/")
	parts := strings.Split(rest, "+")
	if p == "" || life != d.Epoch() {
		return s, false, nil
	}
	for i, to := range []*position{&s.edge, &s.lap, &s.next} {
		if *to, err = parsePosition(parts[min(i, len(parts)-1)]); err != nil {
			return s, false, err
		}
	}
	return s, true, nil
}

func (d *DB) opaqueSweep(s sweepPosition) bridge.Position {
	return bridge.Position(d.Epoch() + "/" + s.edge.String() + "+" + s.lap.String() + "+" + s.next.String())
}

// Each row of a page counts, muted or not; the last row of the result is how many
// rows were read, and where they end. Rows at or above the end of the snapshot came with a
// dump of another cluster, see feed.go.
const (
	changedPostgres = "WITH page AS MATERIALIZED (SELECT n.user_id, n.seq, n.muted, n.xid, n.id FROM falcon_notifications n " +
		"WHERE (n.xid, n.id) > (?::xid8, ?) AND (n.xid, n.id) <= (?::xid8, ?) AND n.xid < pg_snapshot_xmax(pg_current_snapshot()) " +
		"ORDER BY n.xid, n.id LIMIT ?) " +
		"SELECT c.user_id, c.seq, '0' AS xid, 0 AS id FROM (SELECT p.user_id, max(p.seq) AS seq FROM page p WHERE NOT p.muted GROUP BY p.user_id) c " +
		"WHERE (SELECT i.review_enabled FROM falcon_inboxes i WHERE i.user_id = c.user_id) " +
		"UNION ALL SELECT '', (SELECT count(*) FROM page), l.xid::text, l.id FROM (SELECT p.xid, p.id FROM page p ORDER BY p.xid DESC, p.id DESC LIMIT 1) l"
	changedSQLite = "WITH page AS MATERIALIZED (SELECT n.user_id, n.seq, n.muted, n.id FROM falcon_notifications n " +
		"WHERE n.id > ? AND n.id <= ? ORDER BY n.id LIMIT ?) " +
		"SELECT grown.user_id, grown.seq, '0' AS xid, 0 AS id FROM (SELECT page.user_id, max(page.seq) AS seq FROM page WHERE NOT page.muted GROUP BY page.user_id) grown " +
		"WHERE (SELECT i.review_enabled FROM falcon_inboxes i WHERE i.user_id = grown.user_id) " +
		"UNION ALL SELECT '', tail.n, '0', tail.id FROM (SELECT count(*) AS n, max(page.id) AS id FROM page) tail WHERE tail.n > 0"
)

// everything is behind every row.
var everything = position{xid: 1<<63 - 1, id: 1<<63 - 1}

// Changed implements bridge.Feed. It may name users again whose rows are younger
// than the oldest open transaction. A position of another epoch counts as now:
// devices connect again then, and read their logs.
func (d *DB) Changed(ctx context.Context, p bridge.Position, limit int) (out []bridge.Change, next bridge.Position, more bool, err error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	s, ok, err := d.sweepPosition(p)
	if err != nil {
		return nil, p, false, err
	}
	horizon, err := d.horizon(ctx) // before the rows: what commits between comes in a later lap
	if err != nil {
		return nil, p, false, d.fail("look what changed", err)
	}
	if !ok {
		return nil, d.opaqueSweep(sweepPosition{horizon, horizon, horizon}), false, nil
	}
	edge := s.edge
	ahead, last, read, err := d.changed(ctx, edge, everything, limit)
	if err != nil {
		return nil, p, false, d.fail("look what changed", err)
	}
	if read > 0 {
		s.edge = last
	}
	if d.dialect == Postgres && read < limit {
		var late []bridge.Change
		if before(s.lap, edge) {
			if late, last, read, err = d.changed(ctx, s.lap, edge, limit); err != nil {
				return nil, p, false, d.fail("look what changed late", err)
			}
			s.lap = last
		} else {
			read = 0
		}
		if read < limit { // the lap is over
			s.lap, s.next = s.next, horizon
		}
		return append(ahead, late...), d.opaqueSweep(s), false, nil
	}
	return ahead, d.opaqueSweep(s), read == limit, nil
}

// changedRow is a user with new rows, or the end of the page: then User is "".
type changedRow struct {
	UserID bridge.UserID
	Seq    bridge.Seq // the last one; at the end of the page: how many rows it has
	Xid    uint64
	ID     int64
}

// changed reads at most limit rows after one position and up to another one, and
// returns their users, how many rows it read and where they end.
func (d *DB) changed(ctx context.Context, after, upTo position, limit int) (out []bridge.Change, last position, read int, err error) {
	var rows []changedRow
	if err := d.changedQuery(after, upTo, limit).Scan(ctx, &rows); err != nil {
		return nil, last, 0, err
	}
	for _, r := range rows {
		if r.UserID == "" {
			last, read = position{r.Xid, r.ID}, int(r.Seq)
		} else {
			out = append(out, bridge.Change{User: r.UserID, Last: r.Seq})
		}
	}
	return out, last, read, nil
}

func (d *DB) changedQuery(after, upTo position, limit int) *bun.RawQuery {
	if d.dialect == Postgres {
		return d.read.NewRaw(changedPostgres, xid8(after.xid), after.id, xid8(upTo.xid), upTo.id, limit)
	}
	return d.read.NewRaw(changedSQLite, after.id, upTo.id, limit)
}
