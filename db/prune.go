package db

import (
	"context"
	"fmt"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/uptrace/bun"
)

// nodeGone is the silence after which nothing is kept of a dead node. Until then
// its connections are only left out of the cluster's view, for a node that was
// merely cut off and comes back.
const nodeGone = 10 * time.Minute

// remove deletes at most limit rows of a table, those that find selects by key,
// and leaves out those that another transaction holds. Where find is a range of
// an index, so is this.
func (d *DB) remove(ctx context.Context, table, key, find string, args ...any) (int, error) {
	n, err := affected(d.write.ExecContext(ctx, fmt.Sprintf("WITH x AS MATERIALIZED (%s LIMIT ?%s) DELETE FROM %s WHERE (%s) IN (SELECT %s FROM x)",
		find, d.skipLocked(), table, key, key), args...))
	return int(n), err
}

// ExpireSessions removes sessions past their expiry (falcon_sessions_expiry), then
// those left open by dead nodes, whose expiry counts from the last beat, and tells
// how many.
func (d *DB) ExpireSessions(ctx context.Context, limit int) (int, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	n, err := d.remove(ctx, "falcon_sessions", "user_id, client_id",
		"SELECT user_id, client_id FROM falcon_sessions WHERE expires_at > 0 AND expires_at <= "+d.clock()+" ORDER BY expires_at", limit)
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

// deadNode is a node that is silent for longer than bridge.NodeTimeout.
type deadNode struct {
	id      string
	beatAt  int64
	silence int64 // ms
}

// deadNodes lists the nodes that are silent, usually none. One that has sessions
// and never beat is entered as if it did once, now.
func (d *DB) deadNodes(ctx context.Context) (out []deadNode, err error) {
	// The distinct nodes of open sessions, each found by one look into
	// falcon_sessions_node.
	_, err = d.write.ExecContext(ctx, "INSERT INTO falcon_nodes (id, started_at, beat_at) "+
		"WITH RECURSIVE o(node) AS (SELECT min(s.node) FROM falcon_sessions s WHERE s.node <> '' UNION ALL "+
		"SELECT (SELECT min(s.node) FROM falcon_sessions s WHERE s.node > o.node AND s.node <> '') FROM o WHERE o.node IS NOT NULL) "+
		"SELECT o.node, 0, "+d.clock()+" FROM o WHERE o.node IS NOT NULL AND o.node NOT IN (SELECT id FROM falcon_nodes) "+
		"ON CONFLICT (id) DO NOTHING")
	if err != nil {
		return nil, err
	}
	rows, err := d.rows(ctx, "SELECT id, beat_at, "+d.clock()+" - beat_at FROM falcon_nodes WHERE beat_at <= "+d.clock()+" - ?",
		bridge.NodeTimeout.Milliseconds())
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var o deadNode
		if err := rows.Scan(&o.id, &o.beatAt, &o.silence); err != nil {
			return nil, err
		}
		out = append(out, o)
	}
	return out, rows.Err()
}

// bury removes at most limit sessions that o left open and whose time is over, a
// range of falcon_sessions_node, and tells how many. After nodeGone it removes
// o's connections, too, and then o, but not while a session still counts from its
// last beat. A node that beat again meanwhile keeps all.
func (d *DB) bury(ctx context.Context, o deadNode, limit int) (int, error) {
	const still = "EXISTS (SELECT 1 FROM falcon_nodes n WHERE n.id = ? AND n.beat_at = ?)"
	n, err := d.remove(ctx, "falcon_sessions", "user_id, client_id", "SELECT s.user_id, s.client_id FROM falcon_sessions s "+
		"WHERE s.node = ? AND s.node <> '' AND s.expiry_ms <= ? AND "+still, o.id, o.silence, o.id, o.beatAt, limit)
	if err != nil || o.silence < nodeGone.Milliseconds() {
		return n, err
	}
	if _, err := d.remove(ctx, "falcon_connections", "user_id, client_id", "SELECT c.user_id, c.client_id FROM falcon_connections c "+
		"WHERE c.node = ? AND "+still, o.id, o.id, o.beatAt, limit); err != nil {
		return n, err
	}
	_, err = d.write.ExecContext(ctx, "DELETE FROM falcon_nodes WHERE id = ? AND beat_at = ? "+
		"AND NOT EXISTS (SELECT 1 FROM falcon_sessions s WHERE s.node = ? AND s.node <> '') "+
		"AND NOT EXISTS (SELECT 1 FROM falcon_connections c WHERE c.node = ?)", o.id, o.beatAt, o.id, o.id)
	return n, err
}

// ExpireKeys removes idempotency keys older than bridge.KeyTTL (falcon_keys_age).
func (d *DB) ExpireKeys(ctx context.Context, limit int) (int, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	n, err := d.remove(ctx, "falcon_keys", "caller, key",
		"SELECT caller, key FROM falcon_keys WHERE created_at <= "+d.clock()+" - ? ORDER BY created_at", bridge.KeyTTL.Milliseconds(), limit)
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
		n += w.gone
		if w.old == 0 {
			// Here end the old ones. A walk that found none is over; one that began
			// further on has still to look at what it left out.
			if d.retained.Swap(0) == 0 || n > 0 {
				break
			}
			continue
		}
		d.retained.Store(w.last)
		if n >= limit {
			break
		}
	}
	return n, nil
}

// window is what one step of Retain saw: the last id, the old rows among limit
// rows, and how many of these it deleted.
type window struct {
	last      int64
	old, gone int
}

// retainPostgres is one statement, so it holds locks for no round trip. It never
// waits: inbox rows that are held are left out. Rows that changed since its
// snapshot are deleted, counted and returned as they are now, because under READ
// COMMITTED an UPDATE and a DELETE look again at the newest version; what was
// appended since is younger than the window.
const retainPostgres = `
WITH w AS MATERIALIZED (
	SELECT n.id, n.user_id, n.created_at < ? AS old FROM falcon_notifications n WHERE n.id > ? ORDER BY n.id LIMIT ?
), i AS MATERIALIZED (
	SELECT i.user_id FROM falcon_inboxes i WHERE i.user_id IN (SELECT w.user_id FROM w WHERE w.old)
	ORDER BY i.user_id FOR NO KEY UPDATE SKIP LOCKED
), gone AS (
	DELETE FROM falcon_notifications n USING w, i WHERE w.old AND n.id = w.id AND i.user_id = w.user_id RETURNING n.user_id, n.read_at
), counted AS (
	UPDATE falcon_inboxes f SET total = f.total - g.total, unread = f.unread - g.unread
	FROM (SELECT user_id, count(*) AS total, count(*) FILTER (WHERE read_at = 0) AS unread FROM gone GROUP BY user_id) g
	WHERE f.user_id = g.user_id
)
SELECT coalesce(max(w.id), 0), count(*) FILTER (WHERE w.old), (SELECT count(*) FROM gone) FROM w`

func (d *DB) retain(ctx context.Context, before, after int64, limit int) (w window, err error) {
	if d.dialect == Postgres {
		err = d.row(ctx, retainPostgres, before, after, limit).Scan(&w.last, &w.old, &w.gone)
		return w, err
	}
	err = d.inTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		err := tx.QueryRowContext(ctx, "SELECT coalesce(max(w.id), 0), count(*) FILTER (WHERE w.old) FROM "+
			"(SELECT id, created_at < ? AS old FROM falcon_notifications WHERE id > ? ORDER BY id LIMIT ?) w", before, after, limit).Scan(&w.last, &w.old)
		if err != nil || w.old == 0 {
			return err
		}
		_, err = tx.ExecContext(ctx, "UPDATE falcon_inboxes AS f SET total = f.total - g.total, unread = f.unread - g.unread FROM "+
			"(SELECT user_id, count(*) AS total, count(*) FILTER (WHERE read_at = 0) AS unread FROM falcon_notifications "+
			"WHERE id > ? AND id <= ? AND created_at < ? GROUP BY user_id) g WHERE f.user_id = g.user_id", after, w.last, before)
		if err != nil {
			return err
		}
		n, err := affected(tx.ExecContext(ctx, "DELETE FROM falcon_notifications WHERE id > ? AND id <= ? AND created_at < ?", after, w.last, before))
		w.gone = int(n)
		return err
	})
	return w, err
}
