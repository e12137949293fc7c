package db

import (
	"context"
	"database/sql"
	"errors"
	"slices"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/uptrace/bun"
)

// registerChunk is how many connections one transaction registers, so that none
// holds others up for long.
const registerChunk = 1000

// Register stores which connections opened and closed on node, and leaves orders
// to end those that a newer connection of the same device replaces. A large call
// is several transactions: where one fails, what came before it stays, and is
// quickly passed over when the call is repeated.
func (d *DB) Register(ctx context.Context, node string, opened, closed []bridge.Connection) error {
	ctx, cancel := bound(ctx)
	defer cancel()
	if len(opened)+len(closed) <= registerChunk {
		return d.fail("register connections", d.registerSome(ctx, node, opened, closed))
	}
	for some := range slices.Chunk(opened, registerChunk) {
		if err := d.registerSome(ctx, node, some, nil); err != nil {
			return d.fail("register connections", err)
		}
	}
	for some := range slices.Chunk(closed, registerChunk) {
		if err := d.registerSome(ctx, node, nil, some); err != nil {
			return d.fail("register connections", err)
		}
	}
	return nil
}

// registerSome is one call of falcon_register, or one transaction on SQLite.
func (d *DB) registerSome(ctx context.Context, node string, opened, closed []bridge.Connection) error {
	if len(opened)+len(closed) == 0 {
		return nil
	}
	if d.dialect == SQLite {
		return d.inTx(ctx, func(ctx context.Context, tx bun.Tx) error { return d.register(ctx, tx, node, opened, closed) })
	}
	args := append([]any{node}, columns(len(opened),
		func(i int) string { return string(opened[i].Device.User) },
		func(i int) string { return opened[i].Device.ClientID },
		func(i int) int64 { return opened[i].Generation },
		func(i int) int64 { return int64(opened[i].Protocol) },
		func(i int) string { return opened[i].Transport },
		func(i int) string { return opened[i].Remote },
		func(i int) bool { return opened[i].Persistent },
		func(i int) int64 { return millis(opened[i].Since) },
	)...)
	args = append(args, columns(len(closed),
		func(i int) string { return string(closed[i].Device.User) },
		func(i int) string { return closed[i].Device.ClientID },
		func(i int) int64 { return closed[i].Generation },
	)...)
	_, err := d.write.ExecContext(ctx, "SELECT falcon_register(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", append(args, bridge.EndTakenOver)...)
	return err
}

// register is falcon_register for SQLite.
func (d *DB) register(ctx context.Context, tx bun.Tx, node string, opened, closed []bridge.Connection) error {
	find, err := tx.PrepareContext(ctx, "SELECT generation, node FROM falcon_connections WHERE user_id = ? AND client_id = ?")
	if err != nil {
		return err
	}
	defer func() { _ = find.Close() }()
	put, err := tx.PrepareContext(ctx, "INSERT OR REPLACE INTO falcon_connections "+
		"(user_id, client_id, generation, node, protocol, transport, remote, persistent, since) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)")
	if err != nil {
		return err
	}
	defer func() { _ = put.Close() }()
	gone := make(map[bridge.Device]int64, len(closed))
	for _, c := range closed {
		gone[c.Device] = max(gone[c.Device], c.Generation)
	}
	for _, c := range opened {
		var gen int64
		var at string
		err := find.QueryRowContext(ctx, string(c.Device.User), c.Device.ClientID).Scan(&gen, &at)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			err = nil
		case err == nil && gen == c.Generation && at == node:
			continue
		case err == nil && gen > c.Generation:
			if err := d.orderTakeover(ctx, tx, node, c.Device, gen); err != nil {
				return err
			}
			continue
		case err == nil && gen < c.Generation && gone[c.Device] != gen:
			err = d.orderTakeover(ctx, tx, at, c.Device, c.Generation)
		}
		if err == nil {
			_, err = put.ExecContext(ctx, string(c.Device.User), c.Device.ClientID, c.Generation, node, int64(c.Protocol), c.Transport,
				c.Remote, c.Persistent, millis(c.Since))
		}
		if err != nil {
			return err
		}
	}
	for _, c := range closed {
		if _, err := tx.ExecContext(ctx, "DELETE FROM falcon_connections WHERE user_id = ? AND client_id = ? AND generation = ?",
			c.Device.User, c.Device.ClientID, c.Generation); err != nil {
			return err
		}
	}
	return nil
}

func (d *DB) orderTakeover(ctx context.Context, tx bun.Tx, node string, dev bridge.Device, before int64) error {
	_, err := tx.ExecContext(ctx, "INSERT INTO falcon_orders (node, user_id, client_id, generation, reason, at) VALUES (?, ?, ?, ?, ?, "+d.clock()+")",
		node, dev.User, dev.ClientID, before, bridge.EndTakenOver)
	return err
}

// Connections returns a page of the live connections of nodes that live, by user
// and client id: a range of the primary key.
func (d *DB) Connections(ctx context.Context, q bridge.ConnectionQuery) (page []bridge.Connection, more bool, err error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	limit := pageSize(q.Limit)
	query, args := "SELECT c.user_id, c.client_id, c.generation, c.node, c.protocol, c.transport, c.remote, c.persistent, c.since "+
		"FROM falcon_connections c WHERE (c.user_id, c.client_id) > (?, ?)", []any{q.After.User, q.After.ClientID}
	if q.User != "" {
		query, args = query+" AND c.user_id = ?", append(args, q.User)
	}
	rows, err := d.rows(ctx, query+" AND c.node IN (SELECT o.id FROM falcon_nodes o WHERE o.beat_at > "+d.clock()+" - ?) "+
		"ORDER BY c.user_id, c.client_id LIMIT ?", append(args, bridge.NodeTimeout.Milliseconds(), limit+1)...)
	if err != nil {
		return nil, false, d.fail("list connections", err)
	}
	defer func() { _ = rows.Close() }()
	page = []bridge.Connection{}
	for rows.Next() {
		var c bridge.Connection
		var since int64
		if err := rows.Scan(&c.Device.User, &c.Device.ClientID, &c.Generation, &c.Node, &c.Protocol, &c.Transport, &c.Remote,
			&c.Persistent, &since); err != nil {
			return nil, false, d.fail("list connections", err)
		}
		c.Since = moment(since)
		page = append(page, c)
	}
	if err := rows.Err(); err != nil {
		return nil, false, d.fail("list connections", err)
	}
	if len(page) > limit {
		return page[:limit], true, nil
	}
	return page, false, nil
}
