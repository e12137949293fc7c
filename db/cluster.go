package db

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/uptrace/bun"
)

// Nodes tell each other which connections to end with rows of falcon_orders. All times
// here are the database's, so the clocks of nodes may differ.
//
// Every poll returns an order to one node until the order is orderSeen older than the
// previous poll, so that a lost response does no harm. An order to all nodes is returned
// again for orderOverlap, because a transaction may commit long after it read the clock.
// It is kept for orderLife, for nodes that were cut off from the database.
const (
	orderSeen    = 5 * time.Second
	orderOverlap = time.Minute
	orderLife    = 10 * time.Minute
)

// leaveStep is how many connections one statement of Leave removes at most.
const leaveStep = 1000

// Beat records that node is alive, together with its figures, and removes expired orders.
func (d *DB) Beat(ctx context.Context, node string, f bridge.Figures) error {
	ctx, cancel := bound(ctx)
	defer cancel()
	figures, err := json.Marshal(f)
	if err != nil {
		return fmt.Errorf("beat: %w", err)
	}
	_, err = d.write.NewInsert().Model(newNode(node, string(figures))).Value("started_at", "?", d.clock()).Value("beat_at", "?", d.clock()).
		On("CONFLICT (id) DO UPDATE").Set("beat_at = excluded.beat_at").Set("figures = excluded.figures").
		Set("started_at = CASE WHEN o.started_at = 0 THEN excluded.started_at ELSE o.started_at END").Exec(ctx)
	if err != nil {
		return d.fail("beat", err)
	}
	_, err = d.remove(ctx, "id", d.write.NewSelect().Model((*order)(nil)).Where("at < ? - ?", d.clock(), orderLife.Milliseconds()), 1000)
	return d.fail("remove old orders", err)
}

func newNode(id, figures string) *node { return &node{ID: id, Figures: figures} }

// living selects the nodes that are alive.
func (d *DB) living() *bun.SelectQuery {
	return d.read.NewSelect().Model((*node)(nil)).Where("beat_at > ? - ?", d.clock(), bridge.NodeTimeout.Milliseconds())
}

// Leave removes node, its connections and the orders for it. A session that is still open
// on node counts as disconnected from now on. Connections are removed in steps of
// leaveStep. If a step fails, reap removes the remaining ones once the node has been silent
// for nodeGone.
func (d *DB) Leave(ctx context.Context, node string) error {
	ctx, cancel := bound(ctx)
	defer cancel()
	for n := leaveStep; n == leaveStep; {
		var err error
		find := d.write.NewSelect().Model((*connection)(nil)).Where("c.node = ?", node)
		if n, err = d.remove(ctx, "user_id, client_id", find, leaveStep); err != nil {
			return d.fail("leave", err)
		}
	}
	return d.fail("leave", d.inTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		if err := d.disconnectAll(ctx, tx, node); err != nil {
			return err
		}
		if _, err := tx.NewDelete().Model((*order)(nil)).Where("node = ?", node).Exec(ctx); err != nil {
			return err
		}
		_, err := tx.NewDelete().Model(newNode(node, "")).WherePK().Exec(ctx)
		return err
	}))
}

// disconnectAll closes the sessions that node left open. What their devices were sent is
// unknown. Locks are taken in the same order as in Advance.
func (d *DB) disconnectAll(ctx context.Context, tx bun.Tx, node string) error {
	open := d.lockRows(tx.NewSelect().Model((*session)(nil)).Column("user_id", "client_id").Where("s.node = ?", node).
		Where("s.node <> ''").Order("s.user_id", "s.client_id"), "UPDATE")
	_, err := tx.NewUpdate().WithQuery(bun.NewWithQuery("x", open).Materialized()).Model((*session)(nil)).
		Set("node = ''").Set("used_at = ?", d.clock()).Set("expires_at = ? + expiry_ms", d.clock()).
		Where("node = ?", node).Where("(user_id, client_id) IN (SELECT user_id, client_id FROM x)").Exec(ctx)
	return err
}

// End stores o for every node, see bridge.Cluster. If o names no generation, it gets a new
// one, so that it ends all existing connections and none that open later.
func (d *DB) End(ctx context.Context, o bridge.Order) error {
	ctx, cancel := bound(ctx)
	defer cancel()
	store := func(ctx context.Context, tx bun.IDB, before int64) error {
		row := order{UserID: o.User, ClientID: o.ClientID, Generation: before, Reason: o.Reason}
		q := tx.NewInsert().Model(&row).Value("at", "?", d.clock())
		if before == 0 {
			q.Value("generation", "nextval('falcon_generation')")
		}
		_, err := q.Exec(ctx)
		return err
	}
	if o.Before != 0 || d.dialect == Postgres {
		return d.fail("order an end", store(ctx, d.write, o.Before))
	}
	committed := func() {}
	err := d.inTx(ctx, func(ctx context.Context, tx bun.Tx) (err error) {
		if o.Before, committed, err = d.generations.generation(ctx, tx); err != nil {
			return err
		}
		return store(ctx, tx, o.Before)
	})
	if err == nil {
		committed()
	}
	return d.fail("order an end", err)
}

// Poll returns the orders for node, see delivery.Membership.
func (d *DB) Poll(ctx context.Context, node string, since time.Time) (orders []bridge.Order, now time.Time, err error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	from := int64(0)
	if !since.IsZero() {
		from = millis(since) - orderOverlap.Milliseconds()
	}
	orders, seen, now, err := d.orders(ctx, node, from, millis(since)-orderSeen.Milliseconds())
	if err != nil {
		return nil, time.Time{}, d.fail("poll orders", err)
	}
	if len(seen) > 0 {
		// An error does no harm, because the next poll deletes them, or else Beat does.
		_, _ = d.write.NewDelete().Model((*order)(nil)).Where("id IN (?)", bun.List(seen)).Exec(ctx)
	}
	return orders, now, nil
}

// polledOrder is the database's time, with an order or zeros.
type polledOrder struct {
	order `bun:",extend"`

	Now int64 `bun:",scanonly"`
}

// orders reads the orders to node, the orders to all nodes that were stored after from,
// and the database's time. seen are the ids of orders to node that an earlier poll
// returned.
func (d *DB) orders(ctx context.Context, node string, from, seenAt int64) (orders []bridge.Order, seen []int64, now time.Time, err error) {
	var rows []polledOrder
	err = d.read.NewSelect().Model(&rows).ModelTableExpr("(SELECT ? AS now) AS t", d.clock()).
		Join("LEFT JOIN falcon_orders AS o ON o.node = ? OR o.node = '' AND o.at > ?", node, from).
		ColumnExpr("t.now").ColumnExpr("?TableColumns").Scan(ctx)
	for _, o := range rows {
		now = moment(o.Now)
		if o.ID == 0 {
			continue
		}
		orders = append(orders, bridge.Order{User: o.UserID, ClientID: o.ClientID, Before: o.Generation, Reason: o.Reason})
		if o.Node == node && o.At <= seenAt {
			seen = append(seen, o.ID)
		}
	}
	return orders, seen, now, err
}

// Nodes returns the nodes that are alive, ordered by name. Their connections are counted
// in an index of falcon_connections, because the figure in a node's beat would be up to
// four seconds older than what Connections lists.
func (d *DB) Nodes(ctx context.Context) ([]bridge.NodeInfo, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	var rows []node
	if err := d.living().Where("started_at > 0").Order("id").Scan(ctx, &rows); err != nil {
		return nil, d.fail("list nodes", err)
	}
	var open []struct {
		Node string
		N    int64
	}
	if err := d.read.NewSelect().Model((*connection)(nil)).Column("node").ColumnExpr("count(*) AS n").Group("node").Scan(ctx, &open); err != nil {
		return nil, d.fail("count connections", err)
	}
	registered := make(map[string]int64, len(open))
	for _, o := range open {
		registered[o.Node] = o.N
	}
	out := make([]bridge.NodeInfo, len(rows))
	for i, n := range rows {
		out[i] = bridge.NodeInfo{Node: n.ID, StartedAt: moment(n.StartedAt), BeatAt: moment(n.BeatAt)}
		if err := json.Unmarshal([]byte(n.Figures), &out[i].Figures); err != nil {
			return nil, fmt.Errorf("list nodes: figures: %w", err)
		}
		out[i].Figures.Connections = registered[n.ID]
	}
	return out, nil
}
