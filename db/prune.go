package db

import (
	"context"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/uptrace/bun"
)

// nodeGone is how long a node must be silent before all its rows are removed. Until then
// its connections are only left out of lists, since a node that was cut off may come back.
const nodeGone = 10 * time.Minute

// remove deletes at most limit of the rows that find selects, and returns how many. key
// lists their key columns. Rows that another transaction has locked are skipped. If find
// reads a range of an index, then so does the deletion.
func (d *DB) remove(ctx context.Context, key string, find *bun.SelectQuery, limit int) (int, error) {
	find = d.lockRows(find.ColumnExpr(key).Limit(int64(limit)), "UPDATE SKIP LOCKED")
	n, err := affected(d.write.NewDelete().WithQuery(bun.NewWithQuery("x", find).Materialized()).Model(find.GetModel()).
		Where("(?) IN (SELECT * FROM x)", bun.Safe(key)).Exec(ctx))
	return int(n), err
}

// ExpireSessions removes at most limit expired sessions and returns how many. It begins
// with closed sessions past their expiry (a range of falcon_sessions_expiry), and then
// removes sessions that dead nodes left open, whose expiry counts from the node's last
// beat.
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
		left, err := d.reap(ctx, o, limit-n)
		if n += left; err != nil || n == limit {
			return n, d.fail("expire the sessions of a dead node", err)
		}
	}
	return n, nil
}

// ExpirePastSessions removes the records of sessions that ended longer than tombstoneLife
// ago, a range of falcon_past_sessions_age.
func (d *DB) ExpirePastSessions(ctx context.Context, limit int) (int, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	n, err := d.remove(ctx, "user_id, generation", d.write.NewSelect().Model((*pastSession)(nil)).
		Where("ended_at <= ? - ?", d.clock(), tombstoneLife.Milliseconds()).Order("ended_at"), limit)
	return n, d.fail("remove past sessions", err)
}

// deadNode is a node that has been silent for bridge.NodeTimeout or longer.
type deadNode struct {
	node `bun:",extend"`

	Silence int64 `bun:",scanonly"` // ms
}

// deadNodes returns the dead nodes, of which there are usually none. It first adds nodes
// that have open sessions but never sent a beat, as if they had sent one now.
//
// The statement that adds them is a loose index scan, which Bun cannot express: it finds
// each distinct node of the open sessions with one lookup in falcon_sessions_node.
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

// reap removes at most limit of the sessions that the dead node o left open and that have
// expired since, a range of falcon_sessions_node, and returns how many. After nodeGone it
// also removes o's connections, and at last o itself, once no session's expiry counts from
// its last beat. If o has sent a beat meanwhile, nothing is removed.
func (d *DB) reap(ctx context.Context, o deadNode, limit int) (int, error) {
	stillDead := d.write.NewSelect().Model((*node)(nil)).Column("id").Where("o.id = ?", o.ID).Where("o.beat_at = ?", o.BeatAt)
	sessions := d.write.NewSelect().Model((*session)(nil)).Where("s.node = ?", o.ID).Where("s.node <> ''")
	connections := d.write.NewSelect().Model((*connection)(nil)).Where("c.node = ?", o.ID)
	n, err := d.remove(ctx, "user_id, client_id",
		sessions.Clone().Where("s.expiry_ms <= ?", o.Silence).Where("EXISTS (?)", stillDead), limit)
	if err != nil || o.Silence < nodeGone.Milliseconds() {
		return n, err
	}
	if _, err := d.remove(ctx, "user_id, client_id", connections.Clone().Where("EXISTS (?)", stillDead), limit); err != nil {
		return n, err
	}
	_, err = d.write.NewDelete().Model(&o.node).WherePK().Where("beat_at = ?", o.BeatAt).
		Where("NOT EXISTS (?)", sessions).Where("NOT EXISTS (?)", connections).Exec(ctx)
	return n, err
}

// ExpireKeys removes at most limit idempotency keys older than bridge.KeyTTL, a range of
// falcon_keys_age.
func (d *DB) ExpireKeys(ctx context.Context, limit int) (int, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	n, err := d.remove(ctx, "caller, key", d.write.NewSelect().Model((*key)(nil)).
		Where("created_at <= ? - ?", d.clock(), bridge.KeyTTL.Milliseconds()).Order("created_at"), limit)
	return n, d.fail("expire idempotency keys", err)
}

// retainWindows is how many windows of limit rows one call of Retain or
// ExpireNotifications looks at. It looks at more than one only if other transactions have
// locked the inboxes of all rows in a window.
const retainWindows = 10

// Retain deletes at most limit notifications that were created before the given time,
// oldest first, and returns how many.
//
// It walks along the ids, which ascend nearly as the times do, so it needs no index of its
// own. A window without an old row ends the walk. The next call continues where this one
// ended. Rows whose inboxes another transaction has locked are left for the next walk, so
// that the walk never waits for them.
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
			// The walk has passed all old rows. If it began at the start, or deleted
			// something, this call is done. Otherwise rows may have been skipped because
			// they were locked, so it looks once more from the start.
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

// window is the result of one step of Retain.
type window struct {
	Last int64 // the last id that it read
	Old  int   // how many of the rows were old
	Gone int   // how many of the old rows it deleted
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
