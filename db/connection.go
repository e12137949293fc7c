package db

import (
	"context"
	"maps"
	"slices"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/uptrace/bun"
)

// Register stores which connections opened and closed on node, and leaves orders
// to end those that a newer connection of the same device replaces. On Postgres the
// lists are a transaction each, see falcon_register. On SQLite both are one, and the
// only one that writes.
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
			return d.fail("register what closed", err)
		}
	}
	if len(opened) > 0 {
		return d.fail("register what opened", d.registerPostgres(ctx, node, opened, nil))
	}
	return nil
}

// registerPostgres is one call of falcon_register, with one of the lists.
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

// unregister removes what closed, in one statement.
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

// register stores what opened: a statement each for what is known, what is new and
// the orders, whatever the number of connections.
func (d *DB) register(ctx context.Context, tx bun.Tx, node string, opened []bridge.Connection) error {
	known, err := knownConnections(ctx, tx, opened)
	if err != nil {
		return err
	}
	opens := make(map[bridge.Device]connection)
	var takeovers []order
	takeOver := func(node string, dev bridge.Device, before int64) {
		takeovers = append(takeovers, order{Node: node, UserID: dev.User, ClientID: dev.ClientID, Generation: before, Reason: bridge.EndTakenOver})
	}
	for _, o := range opened {
		was, there := known[o.Device]
		switch {
		case there && was.Generation == o.Generation && was.Node == node:
			continue
		case there && was.Generation > o.Generation: // this one comes too late
			takeOver(node, o.Device, was.Generation)
			continue
		case there && was.Generation < o.Generation:
			takeOver(was.Node, o.Device, o.Generation)
		}
		known[o.Device] = connectionOf(node, o)
		opens[o.Device] = known[o.Device]
	}
	if rows := slices.Collect(maps.Values(opens)); len(rows) > 0 {
		if _, err := tx.NewInsert().Model(&rows).On("CONFLICT (user_id, client_id) DO UPDATE").Exec(ctx); err != nil {
			return err
		}
	}
	if len(takeovers) > 0 {
		_, err = tx.NewInsert().Model(&takeovers).Value("at", "?", d.clock()).Returning("NULL").Exec(ctx)
	}
	return err
}

// knownConnections finds what is registered of the devices of opened.
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

// connectionOf is the row of c, which is open on node.
func connectionOf(node string, c bridge.Connection) connection {
	return connection{UserID: c.Device.User, ClientID: c.Device.ClientID, Generation: c.Generation, Node: node, Protocol: c.Protocol,
		Transport: c.Transport, Remote: c.Remote, Persistent: c.Persistent, Since: millis(c.Since)}
}

// domain is c as package bridge knows it.
func (c *connection) domain() bridge.Connection {
	return bridge.Connection{Device: bridge.Device{User: c.UserID, ClientID: c.ClientID}, Generation: c.Generation, Node: c.Node,
		Protocol: c.Protocol, Transport: c.Transport, Remote: c.Remote, Persistent: c.Persistent, Since: moment(c.Since)}
}

// Connections returns a page of the live connections of nodes that live, by user
// and client id: a range of the primary key.
func (d *DB) Connections(ctx context.Context, q bridge.ConnectionQuery) (page []bridge.Connection, more bool, err error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	limit := pageSize(q.Limit)
	var rows []connection
	find := d.read.NewSelect().Model(&rows).Where("(c.user_id, c.client_id) > (?, ?)", q.After.User, q.After.ClientID).
		Where("c.node IN (?)", d.living().Column("id")).Order("c.user_id", "c.client_id").Limit(int64(limit + 1))
	if q.User != "" {
		find.Where("c.user_id = ?", q.User)
	}
	if err := find.Scan(ctx); err != nil {
		return nil, false, d.fail("list connections", err)
	}
	page, more = cut(rows, limit, (*connection).domain)
	return page, more, nil
}
