package db

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/uptrace/bun"
)

// Nodes and orders are timed by the database's clock, so that the nodes' own may
// differ. An order to one node is returned until it is orderSeen older than the
// last poll: an answer that is lost costs nothing. Orders to all nodes are read
// again for orderOverlap, because a transaction may commit long after it took the
// time, and stay for orderLife, for nodes that were away.
const (
	orderSeen    = 5 * time.Second
	orderOverlap = time.Minute
	orderLife    = 10 * time.Minute
)

// skipLocked ends a SELECT that locks what it finds and leaves out what another
// transaction holds.
func (d *DB) skipLocked() string {
	if d.dialect == Postgres {
		return " FOR UPDATE SKIP LOCKED"
	}
	return ""
}

// Beat says that node lives and how it fares, and removes orders that are over.
func (d *DB) Beat(ctx context.Context, node string, f bridge.Figures) error {
	ctx, cancel := bound(ctx)
	defer cancel()
	figures, err := json.Marshal(f)
	if err != nil {
		return fmt.Errorf("beat: %w", err)
	}
	_, err = d.write.ExecContext(ctx, "INSERT INTO falcon_nodes (id, started_at, beat_at, figures) VALUES (?, "+d.clock()+", "+d.clock()+", ?) "+
		"ON CONFLICT (id) DO UPDATE SET beat_at = excluded.beat_at, figures = excluded.figures, "+
		"started_at = CASE WHEN falcon_nodes.started_at = 0 THEN excluded.started_at ELSE falcon_nodes.started_at END", node, string(figures))
	if err != nil {
		return d.fail("beat", err)
	}
	_, err = d.write.ExecContext(ctx, "WITH x AS MATERIALIZED (SELECT id FROM falcon_orders WHERE at < "+d.clock()+" - ? LIMIT 1000"+
		d.skipLocked()+") DELETE FROM falcon_orders WHERE id IN (SELECT id FROM x)", orderLife.Milliseconds())
	return d.fail("remove old orders", err)
}

// Leave removes node, its connections and the orders for it. A session that is
// still open there counts as disconnected from now.
func (d *DB) Leave(ctx context.Context, node string) error {
	ctx, cancel := bound(ctx)
	defer cancel()
	return d.fail("leave", d.inTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		if err := d.disconnectAll(ctx, tx, node); err != nil {
			return err
		}
		for _, from := range []string{"DELETE FROM falcon_orders WHERE node = ?", "DELETE FROM falcon_nodes WHERE id = ?"} {
			if _, err := tx.ExecContext(ctx, from, node); err != nil {
				return err
			}
		}
		if d.dialect == Postgres { // one at a time with falcon_register
			if _, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock(1704)"); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, "DELETE FROM falcon_connections WHERE node = ?", node)
		return err
	}))
}

// disconnectAll closes the sessions that node left open; what was sent to them is
// unknown. Locks are taken in the order of Advance.
func (d *DB) disconnectAll(ctx context.Context, tx bun.Tx, node string) error {
	lock := ""
	if d.dialect == Postgres {
		lock = " FOR UPDATE"
	}
	_, err := tx.ExecContext(ctx, "WITH x AS MATERIALIZED (SELECT user_id, client_id FROM falcon_sessions WHERE node = ? AND node <> '' "+
		"ORDER BY user_id, client_id"+lock+") UPDATE falcon_sessions SET node = '', used_at = "+d.clock()+", expires_at = "+d.clock()+" + expiry_ms "+
		"WHERE node = ? AND (user_id, client_id) IN (SELECT user_id, client_id FROM x)", node, node)
	return err
}

// End leaves o for every node.
func (d *DB) End(ctx context.Context, o bridge.Order) error {
	ctx, cancel := bound(ctx)
	defer cancel()
	const insert = "INSERT INTO falcon_orders (user_id, client_id, generation, reason, at) VALUES (?, ?, "
	if o.Before != 0 || d.dialect == Postgres {
		gen := "?"
		if o.Before == 0 {
			gen = "nextval('falcon_generation') + ?"
		}
		_, err := d.write.ExecContext(ctx, insert+gen+", ?, "+d.clock()+")", o.User, o.ClientID, o.Before, o.Reason)
		return d.fail("order an end", err)
	}
	committed := func() {}
	err := d.inTx(ctx, func(ctx context.Context, tx bun.Tx) (err error) {
		if o.Before, committed, err = d.generations.generation(ctx, tx); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, insert+"?, ?, "+d.clock()+")", o.User, o.ClientID, o.Before, o.Reason)
		return err
	})
	if err == nil {
		committed()
	}
	return d.fail("order an end", err)
}

// Poll returns the orders for node and the revocations stored after since, and
// those of orderOverlap before.
func (d *DB) Poll(ctx context.Context, node string, since time.Time) (bridge.View, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	from := int64(0)
	if !since.IsZero() {
		from = millis(since) - orderOverlap.Milliseconds()
	}
	v, seen, err := d.orders(ctx, node, from, millis(since)-orderSeen.Milliseconds())
	if err != nil {
		return bridge.View{}, d.fail("poll orders", err)
	}
	rows, err := d.rows(ctx, "SELECT jti, user_id, before_at FROM falcon_revocations WHERE at > ?", from)
	if err != nil {
		return bridge.View{}, d.fail("poll revocations", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var r bridge.Revocation
		var before int64
		if err := rows.Scan(&r.ID, &r.User, &before); err != nil {
			return bridge.View{}, d.fail("poll revocations", err)
		}
		r.Before = moment(before)
		v.Revocations = append(v.Revocations, r)
	}
	if err := rows.Err(); err != nil {
		return bridge.View{}, d.fail("poll revocations", err)
	}
	if len(seen) > 0 {
		// What stays now goes with the next poll, or with its age.
		_, _ = d.write.ExecContext(ctx, "DELETE FROM falcon_orders WHERE id IN (?)", bun.List(seen))
	}
	return v, nil
}

// orders reads the orders for node, the broadcast ones stored after from, and the
// database's clock; seen are the directed ones that an earlier poll returned.
func (d *DB) orders(ctx context.Context, node string, from, seenAt int64) (v bridge.View, seen []int64, err error) {
	rows, err := d.rows(ctx, "SELECT t.now, coalesce(o.id, 0), coalesce(o.node, ''), coalesce(o.user_id, ''), coalesce(o.client_id, ''), "+
		"coalesce(o.generation, 0), coalesce(o.reason, 0), coalesce(o.at, 0) FROM (SELECT "+d.clock()+" AS now) t "+
		"LEFT JOIN falcon_orders o ON o.node = ? OR o.node = '' AND o.at > ?", node, from)
	if err != nil {
		return v, nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var now, id, at int64
		var of string
		var o bridge.Order
		if err := rows.Scan(&now, &id, &of, &o.User, &o.ClientID, &o.Before, &o.Reason, &at); err != nil {
			return v, nil, err
		}
		v.At = moment(now)
		if id == 0 {
			continue
		}
		v.Orders = append(v.Orders, o)
		if of == node && at <= seenAt {
			seen = append(seen, id)
		}
	}
	return v, seen, rows.Err()
}

// Revoke stores r. Of two revocations of one user the later time holds.
func (d *DB) Revoke(ctx context.Context, r bridge.Revocation) error {
	ctx, cancel := bound(ctx)
	defer cancel()
	before := int64(0)
	if r.User != "" {
		before = millis(r.Before)
	}
	_, err := d.write.ExecContext(ctx, "INSERT INTO falcon_revocations (jti, user_id, before_at, at) VALUES (?, ?, ?, "+d.clock()+") "+
		"ON CONFLICT (jti, user_id) DO UPDATE SET at = excluded.at, before_at = "+
		"CASE WHEN excluded.before_at > falcon_revocations.before_at THEN excluded.before_at ELSE falcon_revocations.before_at END",
		r.ID, r.User, before)
	return d.fail("revoke", err)
}

// Nodes returns the nodes that live, by name.
func (d *DB) Nodes(ctx context.Context) ([]bridge.NodeInfo, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	rows, err := d.rows(ctx, "SELECT id, started_at, beat_at, figures FROM falcon_nodes WHERE started_at > 0 AND beat_at > "+
		d.clock()+" - ? ORDER BY id", bridge.NodeTimeout.Milliseconds())
	if err != nil {
		return nil, d.fail("list nodes", err)
	}
	defer func() { _ = rows.Close() }()
	out := []bridge.NodeInfo{}
	for rows.Next() {
		var n node
		if err := rows.Scan(&n.ID, &n.StartedAt, &n.BeatAt, &n.Figures); err != nil {
			return nil, d.fail("list nodes", err)
		}
		info := bridge.NodeInfo{Node: n.ID, StartedAt: moment(n.StartedAt), BeatAt: moment(n.BeatAt)}
		if err := json.Unmarshal([]byte(n.Figures), &info.Figures); err != nil {
			return nil, fmt.Errorf("list nodes: figures: %w", err)
		}
		out = append(out, info)
	}
	return out, d.fail("list nodes", rows.Err())
}
