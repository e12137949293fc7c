package db

import (
	"context"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/uptrace/bun"
)

// nodeGone is the silence after which everything of a dead node is removed. Until then its
// connections are only left out of the cluster's view, since a node may have been cut off
// and come back.
const nodeGone = 10 * time.Minute

// remove deletes at most limit of the rows that find selects, a query of their
// model, by their key columns, and leaves out those that another transaction
// holds. Where find is a range of an index, so is this.
func (d *DB) remove(ctx context.Context, key string, find *bun.SelectQuery, limit int) (int, error) {
	find = d.lockRows(find.ColumnExpr(key).Limit(int64(limit)), "UPDATE SKIP LOCKED")
	n, err := affected(d.write.NewDelete().WithQuery(bun.NewWithQuery("x", find).Materialized()).Model(find.GetModel()).
		Where("(?) IN (SELECT * FROM x)", bun.Safe(key)).Exec(ctx))
	return int(n), err
}

// ExpireSessions removes sessions past their expiry (falcon_sessions_expiry), then
// those left open by dead nodes, whose expiry counts from the last beat, and
// returns how many.
func (d *DB) ExpireSessions(ctx context.Context, limit int) (int, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	n, err := d.remove(ctx, "user_id, client_id", d.write.NewSelect().Model((*session)(nil)).
		Where("expires_at > 0").Where("expires_at <= ?", d.clock()).Order("expires_at"), limit)
	if err != nil || n == limit {
		return n, d.fail("expire sessions", err)
	}
	dead, err := d.deadNodes(ctx)
	if err != nil {
		return n, d.fail("find dead nodes", err)
	}
	for _, o := range dead {
		left, err := d.bury(ctx, o, limit-n)
		if n += left; err != nil || n == limit {
			return n, d.fail("expire the sessions of a dead node", err)
		}
	}
	return n, nil
}

// ExpirePastSessions removes what is remembered of sessions that ended before tombstoneLife
// (falcon_past_sessions_age).
func (d *DB) ExpirePastSessions(ctx context.Context, limit int) (int, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	n, err := d.remove(ctx, "user_id, generation", d.write.NewSelect().Model((*pastSession)(nil)).
		Where("ended_at <= ? - ?", d.clock(), tombstoneLife.Milliseconds()).Order("ended_at"), limit)
	return n, d.fail("remove past sessions", err)
}

// deadNode is a node that is silent for longer than bridge.NodeTimeout.
type deadNode struct {
	node `bun:",extend"`

	Silence int64 `bun:",scanonly"` // ms
}

// deadNodes lists the nodes that are silent, usually none. One that has sessions
// and never beat is entered as if it did once, now.
//
// That statement is a loose scan, for which Bun has no words: the distinct nodes
// of open sessions, each found by one look into falcon_sessions_node.
func (d *DB) deadNodes(ctx context.Context) (dead []deadNode, err error) {
	_, err = d.write.ExecContext(ctx, "INSERT INTO falcon_nodes (id, started_at, beat_at) "+
		"WITH RECURSIVE o(node) AS (SELECT min(s.node) FROM falcon_sessions s WHERE s.node <> '' UNION ALL "+
		"SELECT (SELECT min(s.node) FROM falcon_sessions s WHERE s.node > o.node AND s.node <> '') FROM o WHERE o.node IS NOT NULL) "+
		"SELECT o.node, 0, ? FROM o WHERE o.node IS NOT NULL AND o.node NOT IN (SELECT id FROM falcon_nodes) "+
		"ON CONFLICT (id) DO NOTHING", d.clock())
	if err != nil {
		return nil, err
	}
	err = d.read.NewSelect().Model(&dead).ColumnExpr("?TableColumns").ColumnExpr("? - o.beat_at AS silence", d.clock()).
		Where("o.beat_at <= ? - ?", d.clock(), bridge.NodeTimeout.Milliseconds()).Scan(ctx)
	return dead, err
}

// bury removes at most limit sessions that o left open and whose time is over, a
// range of falcon_sessions_node, and returns how many. After nodeGone it removes
// o's connections, too, and then o, but not while a session still counts from its
// last beat. A node that beat again meanwhile keeps all.
func (d *DB) bury(ctx context.Context, o deadNode, limit int) (int, error) {
	still := d.write.NewSelect().Model((*node)(nil)).Column("id").Where("o.id = ?", o.ID).Where("o.beat_at = ?", o.BeatAt)
	sessions := d.write.NewSelect().Model((*session)(nil)).Where("s.node = ?", o.ID).Where("s.node <> ''")
	connections := d.write.NewSelect().Model((*connection)(nil)).Where("c.node = ?", o.ID)
	n, err := d.remove(ctx, "user_id, client_id",
		sessions.Clone().Where("s.expiry_ms <= ?", o.Silence).Where("EXISTS (?)", still), limit)
	if err != nil || o.Silence < nodeGone.Milliseconds() {
		return n, err
	}
	if _, err := d.remove(ctx, "user_id, client_id", connections.Clone().Where("EXISTS (?)", still), limit); err != nil {
		return n, err
	}
	_, err = d.write.NewDelete().Model(&o.node).WherePK().Where("beat_at = ?", o.BeatAt).
		Where("NOT EXISTS (?)", sessions).Where("NOT EXISTS (?)", connections).Exec(ctx)
	return n, err
}

// ExpireKeys removes idempotency keys older than bridge.KeyTTL (falcon_keys_age).
func (d *DB) ExpireKeys(ctx context.Context, limit int) (int, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	n, err := d.remove(ctx, "caller, key", d.write.NewSelect().Model((*key)(nil)).
		Where("created_at <= ? - ?", d.clock(), bridge.KeyTTL.Milliseconds()).Order("created_at"), limit)
	return n, d.fail("expire idempotency keys", err)
}

// retainWindows is how many windows of limit rows one call of Retain looks at:
// more than one only where other transactions hold the inbox rows of a whole one.
const retainWindows = 10

// Retain deletes notifications created before before, oldest first, at most limit.
//
// It walks along the ids, which ascend nearly as the times do, so it needs no
// index of its own; a window without an old row ends the walk. The next call goes
// on where this one ended, so what another transaction holds is left for the next
// walk and keeps nothing waiting.
func (d *DB) Retain(ctx context.Context, before time.Time, limit int) (int, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	n := 0
	for range retainWindows {
		w, err := d.retain(ctx, millis(before), d.retained.Load(), limit-n)
		if err != nil {
			return n, d.fail("delete old notifications", err)
		}
		n += w.Gone
		if w.Old == 0 {
			// Here end the old ones. A walk that found none is over; one that began
			// further on has still to look at what it left out.
			if d.retained.Swap(0) == 0 || n > 0 {
				break
			}
			continue
		}
		d.retained.Store(w.Last)
		if n >= limit {
			break
		}
	}
	return n, nil
}

// window is what one step of Retain saw: the last id, the old rows among limit
// rows, and how many of these it deleted.
type window struct {
	Last      int64
	Old, Gone int
}

func (d *DB) retain(ctx context.Context, before, after int64, limit int) (w window, err error) {
	var rows []struct {
		ID     int64
		UserID bridge.UserID
		Old    bool
	}
	if err := d.read.NewSelect().Model((*notification)(nil)).Column("id", "user_id").ColumnExpr("created_at < ? AS old", before).
		Where("id > ?", after).Order("id").Limit(int64(limit)).Scan(ctx, &rows); err != nil || len(rows) == 0 {
		return w, err
	}
	w.Last = rows[len(rows)-1].ID
	var ids []int64
	var users []bridge.UserID
	for _, r := range rows {
		if r.Old {
			ids, users = append(ids, r.ID), append(users, r.UserID)
		}
	}
	if w.Old = len(ids); w.Old > 0 {
		var gone []notification
		gone, err = d.removeFree(ctx, retainedOut, ids, users)
		w.Gone = len(gone)
	}
	return w, err
}
