package db

import (
	"context"
	"strings"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/uptrace/bun"
)

// The sweep finds users whose logs grew without a hint, or whose hints were lost. It must
// find every row that becomes visible, including those of a transaction that committed
// late, but must not reread everything since the oldest open transaction of the cluster,
// which may have been open for hours.
//
// It therefore reads in two places. Ahead of edge it reads new rows, in the feed's order.
// Behind edge, rows may have become visible after the sweep passed, because their
// transactions were still open. A lap reads this part again, a limited number of rows per
// call: from an earlier horizon, below which no further row can appear, up to where edge was
// when the lap began. When a lap is over, the next one begins at the horizon of the call in
// which that lap began: what lies ahead of the lap was read after that call, too.
//
// Without long transactions a lap has the few rows of transactions that were open in the
// call before, or none. While there is a long transaction, each call reads the new rows and
// at most limit rows more. Only rows of the long transaction itself may be found as late as
// at the end of a lap, and only if their hints were lost.
//
// SQLite has one writer, so nothing becomes visible behind edge.

// sweepPosition is the content of a sweep's bridge.Position: <epoch>/<edge>+<lap>+<next>+<end>.
type sweepPosition struct {
	edge position // every row before it that was visible has been read
	lap  position // how far the current lap has got
	next position // where the next lap begins; equal to lap if the current one has not begun
	end  position // where the current lap ends
}

// sweepPosition parses p. ok is false if p is "" or of another epoch.
func (d *DB) sweepPosition(p bridge.Position) (s sweepPosition, ok bool, err error) {
	epoch, rest, _ := strings.Cut(string(p), "/")
	parts := strings.Split(rest, "+")
	if p == "" || epoch != d.Epoch() {
		return s, false, nil
	}
	for i, to := range []*position{&s.edge, &s.lap, &s.next, &s.end} {
		if *to, err = parsePosition(parts[min(i, len(parts)-1)]); err != nil {
			return s, false, err
		}
	}
	return s, true, nil
}

func (d *DB) opaqueSweep(s sweepPosition) bridge.Position {
	return bridge.Position(d.Epoch() + "/" + s.edge.String() + "+" + s.lap.String() + "+" + s.next.String() + "+" + s.end.String())
}

// changedSQLite does for SQLite what Postgres does in falcon_changed, whose current text is
// in the migration 20261129000200_changed. It returns the users of the rows in a page, and
// one more row for the end of the page.
const changedSQLite = "WITH page AS MATERIALIZED (SELECT n.user_id, n.seq, n.muted, n.id FROM falcon_notifications n " +
	"WHERE n.id > ?0 AND n.id <= ?1 ORDER BY n.id LIMIT ?2) " +
	"SELECT page.user_id, max(page.seq) AS seq, '0' AS xid, 0 AS id FROM page WHERE NOT page.muted GROUP BY page.user_id " +
	"UNION ALL SELECT '', tail.n = ?2, '0', tail.id FROM (SELECT count(*) AS n, max(page.id) AS id FROM page) tail WHERE tail.n > 0"

// feedEnd lies after every row.
var feedEnd = position{xid: 1<<63 - 1, id: 1<<63 - 1}

// Changed implements delivery.Feed. While a transaction that is older than a user's rows is
// open, several calls may return that user. A position of another epoch counts as the end
// of the feed, because all devices reconnect in a new epoch and read their logs anyway.
func (d *DB) Changed(ctx context.Context, p bridge.Position, limit int) (out []bridge.Change, next bridge.Position, more bool, err error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	s, ok, err := d.sweepPosition(p)
	if err != nil {
		return nil, p, false, err
	}
	horizon, err := d.horizon(ctx) // before the rows: what commits in between is found by a later lap
	if err != nil {
		return nil, p, false, d.fail("look what changed", err)
	}
	if !ok {
		return nil, d.opaqueSweep(sweepPosition{horizon, horizon, horizon, horizon}), false, nil
	}
	edge := s.edge
	changes, ahead, err := d.changed(ctx, edge, feedEnd, limit)
	if err != nil {
		return nil, p, false, d.fail("look what changed", err)
	}
	if ahead.found {
		s.edge = ahead.end
	}
	if begun := s.lap != s.next; d.dialect == SQLite {
		s.lap, s.next = s.edge, s.edge
	} else if !begun && !before(s.lap, edge) { // no lap is needed: this call has read all rows before the horizon
		s.lap = firstOf(horizon, s.edge)
		s.next = s.lap
	} else {
		if !begun {
			s.next, s.end = horizon, edge
		}
		again, behind, err := d.changed(ctx, s.lap, s.end, limit)
		if err != nil {
			return nil, p, false, d.fail("find late changes", err)
		}
		changes = append(changes, again...)
		if behind.full && before(behind.end, s.end) {
			s.lap = behind.end
		} else { // the lap is over: all rows before its horizon have been read
			s.lap = firstOf(s.next, s.edge)
			s.next = s.lap
		}
	}
	return changes, d.opaqueSweep(s), ahead.full, nil
}

func firstOf(a, b position) position {
	if before(b, a) {
		return b
	}
	return a
}

// page describes one page of the feed.
type page struct {
	found bool     // it has at least one row
	full  bool     // it has limit rows, so there may be more
	end   position // of its last row
}

// changedRow is a user with new rows, or the end of the page, which has no UserID.
type changedRow struct {
	UserID bridge.UserID
	Seq    bridge.Seq // the user's last; at the end of the page 1 if it is full, else 0
	Xid    uint64
	ID     int64
}

// changed reads at most limit rows after the position after, up to upTo, and returns their
// users.
func (d *DB) changed(ctx context.Context, after, upTo position, limit int) (out []bridge.Change, p page, err error) {
	var rows []changedRow
	if err := d.changedQuery(after, upTo, limit).Scan(ctx, &rows); err != nil {
		return nil, p, err
	}
	for _, r := range rows {
		if r.UserID == "" {
			p = page{true, r.Seq == 1, position{r.Xid, r.ID}}
		} else {
			out = append(out, bridge.Change{User: r.UserID, Last: r.Seq})
		}
	}
	return out, p, nil
}

func (d *DB) changedQuery(after, upTo position, limit int) *bun.RawQuery {
	if d.dialect == Postgres {
		return d.read.NewRaw("SELECT user_id, seq, xid, id FROM falcon_changed(?::xid8, ?, ?::xid8, ?, ?)", xid8(after.xid), after.id, xid8(upTo.xid), upTo.id, limit)
	}
	return d.read.NewRaw(changedSQLite, after.id, upTo.id, limit)
}
