package db

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/uptrace/bun"
)

// Register stores which connections opened and closed on node. If a newer connection of
// the same device replaces another, it also stores an order to end the older one.
//
// On Postgres each list is stored by a call of falcon_register, whose current text is in
// the migration 20261129000020_register. A comment there explains why each call is a
// transaction of its own. On SQLite one transaction stores both lists.
func (d *DB) Register(ctx context.Context, node string, opened, closed []bridge.Connection) error {
	ctx, cancel := bound(ctx)
	defer cancel()
	if d.dialect == SQLite {
		return d.fail("register connections", d.inTx(ctx, func(ctx context.Context, tx bun.Tx) error {
			if err := unregister(ctx, tx, node, closed); err != nil {
				return err
			}
			return d.register(ctx, tx, node, opened)
		}))
	}
	if len(closed) > 0 {
		if err := d.registerPostgres(ctx, node, nil, closed); err != nil {
			return d.fail("register closed connections", err)
		}
	}
	if len(opened) > 0 {
		return d.fail("register opened connections", d.registerPostgres(ctx, node, opened, nil))
	}
	return nil
}

// registerPostgres calls falcon_register with one of the lists.
func (d *DB) registerPostgres(ctx context.Context, node string, opened, closed []bridge.Connection) error {
	_, err := d.write.ExecContext(ctx, "SELECT falcon_register(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", node,
		array(opened, func(c bridge.Connection) string { return string(c.Device.User) }),
		array(opened, func(c bridge.Connection) string { return c.Device.ClientID }),
		array(opened, func(c bridge.Connection) int64 { return c.Generation }),
		array(opened, func(c bridge.Connection) int64 { return int64(c.Protocol) }),
		array(opened, func(c bridge.Connection) string { return c.Transport }),
		array(opened, func(c bridge.Connection) string { return c.Remote }),
		array(opened, func(c bridge.Connection) bool { return c.Persistent }),
		array(opened, func(c bridge.Connection) int64 { return millis(c.Since) }),
		array(closed, func(c bridge.Connection) string { return string(c.Device.User) }),
		array(closed, func(c bridge.Connection) string { return c.Device.ClientID }),
		array(closed, func(c bridge.Connection) int64 { return c.Generation }),
		bridge.EndTakenOver)
	return err
}

// unregister removes the closed connections in one statement.
func unregister(ctx context.Context, tx bun.Tx, node string, closed []bridge.Connection) error {
	if len(closed) == 0 {
		return nil
	}
	rows := make([]connection, len(closed))
	for i, c := range closed {
		rows[i] = connectionOf(node, c)
	}
	_, err := tx.NewDelete().With("closed", tx.NewValues(&rows)).Model((*connection)(nil)).
		Where("(user_id, client_id, generation) IN (SELECT user_id, client_id, generation FROM closed)").Exec(ctx)
	return err
}

// register stores the opened connections. However many there are, it takes three
// statements: one finds the registered connections of their devices, one stores the new
// ones and one stores the orders.
func (d *DB) register(ctx context.Context, tx bun.Tx, node string, opened []bridge.Connection) error {
	known, err := knownConnections(ctx, tx, opened)
	if err != nil {
		return err
	}
	toStore := make(map[bridge.Device]connection)
	var takeovers []order
	takeOver := func(node string, dev bridge.Device, before int64) {
		takeovers = append(takeovers, order{Node: node, UserID: dev.User, ClientID: dev.ClientID, Generation: before, Reason: bridge.EndTakenOver})
	}
	for _, o := range opened {
		former, exists := known[o.Device]
		switch {
		case exists && former.Generation == o.Generation && former.Node == node:
			continue
		case exists && former.Generation > o.Generation: // a newer one is registered already
			takeOver(node, o.Device, former.Generation)
			continue
		case exists && former.Generation < o.Generation:
			takeOver(former.Node, o.Device, o.Generation)
		}
		known[o.Device] = connectionOf(node, o)
		toStore[o.Device] = known[o.Device]
	}
	if rows := slices.Collect(maps.Values(toStore)); len(rows) > 0 {
		if _, err := tx.NewInsert().Model(&rows).On("CONFLICT (user_id, client_id) DO UPDATE").Exec(ctx); err != nil {
			return err
		}
	}
	if len(takeovers) > 0 {
		_, err = tx.NewInsert().Model(&takeovers).Value("at", "?", d.clock()).Returning("NULL").Exec(ctx)
	}
	return err
}

// knownConnections returns the registered connections of the devices in opened.
func knownConnections(ctx context.Context, tx bun.Tx, opened []bridge.Connection) (map[bridge.Device]connection, error) {
	known := make(map[bridge.Device]connection)
	if len(opened) == 0 {
		return known, nil
	}
	asked := make([]connection, len(opened))
	for i, o := range opened {
		asked[i] = connectionOf("", o)
	}
	var rows []connection
	err := tx.NewSelect().With("opened", tx.NewValues(&asked)).Model(&rows).
		Where("(c.user_id, c.client_id) IN (SELECT user_id, client_id FROM opened)").Scan(ctx)
	for _, c := range rows {
		known[bridge.Device{User: c.UserID, ClientID: c.ClientID}] = c
	}
	return known, err
}

// connectionOf returns the row for c, a connection of node.
func connectionOf(node string, c bridge.Connection) connection {
	return connection{UserID: c.Device.User, ClientID: c.Device.ClientID, Generation: c.Generation, Node: node, Protocol: c.Protocol,
		Transport: c.Transport, Remote: c.Remote, Persistent: c.Persistent, Since: millis(c.Since)}
}

// domain converts c to the type of package bridge.
func (c *connection) domain() bridge.Connection {
	return bridge.Connection{Device: bridge.Device{User: c.UserID, ClientID: c.ClientID}, Generation: c.Generation, Node: c.Node,
		Protocol: c.Protocol, Transport: c.Transport, Remote: c.Remote, Persistent: c.Persistent, Since: moment(c.Since)}
}

// scanRows is how many rows a call of Connections or Sessions reads at most, so that a
// search that matches hardly anything does not read a million rows within one call. If
// few of these rows match, the page is short, and the next page continues after them.
const scanRows = 10_000

// sorting is the order of a scan.
type sorting struct {
	columns    []string
	descending bool
}

// of returns an ORDER BY list for the rows that the statement calls alias.
func (o sorting) of(alias string) string {
	parts := make([]string, len(o.columns))
	for i, column := range o.columns {
		parts[i] = alias + "." + column
		if o.descending {
			parts[i] += " DESC"
		}
	}
	return strings.Join(parts, ", ")
}

// scan makes q, whose table the statement calls alias, read limit rows in the given order. The
// column place numbers them from 1.
func scan(q *bun.SelectQuery, alias string, order sorting, limit int) *bun.SelectQuery {
	return q.ColumnExpr("?TableColumns").ColumnExpr("row_number() OVER (ORDER BY " + order.of(alias) + ") AS place").
		OrderExpr(order.of(alias)).Limit(int64(limit))
}

// filter is a condition on the rows of a scan.
type filter struct {
	where []string
	args  []any
}

func (f *filter) add(where string, args ...any) {
	f.where, f.args = append(f.where, where), append(f.args, args...)
}

// match adds the condition that the user id or the client id contains text, ignoring case.
func (f *filter) match(text string) {
	if text != "" {
		part := "%" + strings.NewReplacer("!", "!!", "%", "!%", "_", "!_").Replace(text) + "%"
		f.add("(lower(user_id) LIKE lower(?) ESCAPE '!' OR lower(client_id) LIKE lower(?) ESCAPE '!')", part, part)
	}
}

// from selects the rows of a scan that match f. If the scan stopped at its limit, from also
// selects its last row, whether or not it matches, because the next page begins after that
// row.
func (f *filter) from(q, scan *bun.SelectQuery, order sorting, scanned, limit int) *bun.SelectQuery {
	hit := strings.Join(f.where, " AND ")
	return q.ModelTableExpr("(?) AS x", scan).ColumnExpr("x.*").ColumnExpr("("+hit+") AS hit", f.args...).
		Where("("+hit+") OR place = ?", append(slices.Clip(f.args), scanned)...).OrderExpr(order.of("x")).Limit(int64(limit + 1))
}

// place is the number of a row in a scan, and whether the row matches the filter.
type place struct {
	Place int
	Hit   bool
}

// pageOf returns a page of at most limit of the rows that filter.from selected. last is the
// row after which the next page begins, or nil if this is the last page.
func pageOf[R any](rows []R, scanned, limit int, at func(*R) place) (page []R, last *R) {
	for i := range rows {
		r := &rows[i]
		if !at(r).Hit { // the scan's last row
			return page, r
		}
		if len(page) == limit {
			return page, &page[limit-1]
		}
		page = append(page, *r)
		if at(r).Place == scanned {
			last = r
		}
	}
	return page, last
}

// scannedConnection is a connection found by a scan.
type scannedConnection struct {
	connection `bun:",extend"`

	Place int  `bun:",scanonly"`
	Hit   bool `bun:",scanonly"`
}

// Connections returns a page of the connections of nodes that are alive, and the cursor of
// the next page or nil. It reads a range of the primary key, or of
// falcon_connections_since.
func (d *DB) Connections(ctx context.Context, q bridge.ConnectionQuery) ([]bridge.Connection, *bridge.ConnectionCursor, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	order := sorting{columns: []string{"user_id", "client_id"}, descending: q.Reverse}
	if q.BySince {
		order.columns = []string{"since", "user_id", "client_id"}
	}
	comparison := " > "
	if q.Reverse {
		comparison = " < "
	}
	query := scan(d.read.NewSelect().Model((*connection)(nil)), "c", order, d.scanRows)
	tuple := "(" + sorting{columns: order.columns}.of("c") + ")" + comparison
	switch a := q.After; {
	case a != nil && q.BySince:
		query.Where(tuple+"(?, ?, ?)", millis(a.Since), a.Device.User, a.Device.ClientID)
	case a != nil:
		query.Where(tuple+"(?, ?)", a.Device.User, a.Device.ClientID)
	}
	if q.User != "" {
		query.Where("c.user_id = ?", q.User)
	}
	var f filter
	f.add("node IN (?)", d.living().Column("id"))
	f.match(q.Match)
	if q.Node != "" {
		f.add("node = ?", q.Node)
	}
	if q.Transport != "" {
		f.add("transport = ?", q.Transport)
	}
	if q.Protocol != 0 {
		f.add("protocol = ?", q.Protocol)
	}
	limit := pageSize(q.Limit)
	var rows []scannedConnection
	if err := f.from(d.read.NewSelect().Model(&rows), query, order, d.scanRows, limit).Scan(ctx); err != nil {
		return nil, nil, d.fail("list connections", err)
	}
	page, last := pageOf(rows, d.scanRows, limit, func(c *scannedConnection) place { return place{c.Place, c.Hit} })
	var next *bridge.ConnectionCursor
	if last != nil {
		next = &bridge.ConnectionCursor{Device: bridge.Device{User: last.UserID, ClientID: last.ClientID}, Since: moment(last.Since)}
	}
	return domains(page, func(c *scannedConnection) bridge.Connection { return c.domain() }), next, nil
}

// scannedSession is a session found by a scan.
type scannedSession struct {
	session `bun:",extend"`

	Kept  bool  `bun:",scanonly"`
	Alive bool  `bun:",scanonly"`
	Lag   int64 `bun:",scanonly"`
	Place int   `bun:",scanonly"`
	Hit   bool  `bun:",scanonly"`
}

// Sessions returns a page of the sessions that have not expired, and the device after
// which the next page begins, or nil. It reads a range of the primary key, and for each
// session its user's inbox row.
func (d *DB) Sessions(ctx context.Context, q bridge.SessionQuery) ([]bridge.SessionInfo, *bridge.Device, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	order := sorting{columns: []string{"user_id", "client_id"}}
	query := scan(d.read.NewSelect().Model((*session)(nil)), "s", order, d.scanRows).
		ColumnExpr("(?) AS kept", d.kept()).
		ColumnExpr("(s.node <> '' AND coalesce(host.beat_at, 0) > ? - ?) AS alive", d.clock(), bridge.NodeTimeout.Milliseconds()).
		// After a restore a cursor may lie past the end of the log.
		ColumnExpr("CASE WHEN NOT s.subscribed THEN -1 WHEN coalesce(i.last_seq, 0) > s.acked_seq THEN i.last_seq - s.acked_seq ELSE 0 END AS lag").
		Join("LEFT JOIN falcon_nodes AS host ON host.id = s.node").Join("LEFT JOIN falcon_inboxes AS i ON i.user_id = s.user_id").
		Where("(s.user_id, s.client_id) > (?, ?)", q.After.User, q.After.ClientID)
	if q.User != "" {
		query.Where("s.user_id = ?", q.User)
	}
	var f filter
	f.add("kept")
	f.match(q.Match)
	if q.Absent {
		f.add("NOT alive")
	}
	if q.Behind {
		f.add("lag > 0")
	}
	limit := pageSize(q.Limit)
	var rows []scannedSession
	if err := f.from(d.read.NewSelect().Model(&rows), query, order, d.scanRows, limit).Scan(ctx); err != nil {
		return nil, nil, d.fail("list sessions", err)
	}
	page, last := pageOf(rows, d.scanRows, limit, func(s *scannedSession) place { return place{s.Place, s.Hit} })
	var next *bridge.Device
	if last != nil {
		next = &bridge.Device{User: last.UserID, ClientID: last.ClientID}
	}
	return domains(page, func(s *scannedSession) bridge.SessionInfo {
		out := bridge.SessionInfo{Device: bridge.Device{User: s.UserID, ClientID: s.ClientID}, Lag: s.Lag, LastSeen: moment(s.UsedAt), Expires: moment(s.ExpiresAt)}
		if s.Alive {
			out.Node = s.Node
		}
		return out
	}), next, nil
}
