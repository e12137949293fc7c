package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/uptrace/bun"
)

// generations gives SQLite's generations. They are taken from falcon_meta in
// blocks, so that a connection that stores nothing costs no write.
type generations struct {
	mu   sync.Mutex
	next int64
	end  int64 // of the block, exclusive
}

// generationBlock is how many generations a start of the process may leave unused.
const generationBlock = 1000

// generation gives the next one. Its caller's transaction holds the one write
// lock, so generations are in the order of transactions. It returns what to call
// after the commit: a block that was rolled back must not be used.
func (g *generations) generation(ctx context.Context, tx bun.Tx) (gen int64, committed func(), err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.next < g.end {
		g.next++
		return g.next - 1, func() {}, nil
	}
	var end int64
	err = tx.QueryRowContext(ctx, "UPDATE falcon_meta SET value = CAST(value AS INTEGER) + ? WHERE key = 'generation' "+
		"RETURNING CAST(value AS INTEGER)", generationBlock).Scan(&end)
	if err != nil {
		return 0, nil, fmt.Errorf("take generations: %w", err)
	}
	gen = end - generationBlock + 1
	return gen, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if end+1 > g.end { // the next transaction may have been here first
			g.next, g.end = gen+1, end+1
		}
	}, nil
}

const sessionColumns = "s.generation, s.subscribed, s.qos, s.rap, s.sub_id, s.from_seq, s.acked_seq, s.sent_seq"

// openSession is falcon_open for SQLite.
func (d *DB) openSession(ctx context.Context, o bridge.OpenSession) (s session, present bool, err error) {
	committed := func() {}
	err = d.inTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		err := tx.QueryRowContext(ctx, "SELECT "+sessionColumns+", "+d.kept()+" FROM falcon_sessions s "+
			"LEFT JOIN falcon_nodes n ON n.id = s.node WHERE s.user_id = ? AND s.client_id = ?", o.Device.User, o.Device.ClientID).
			Scan(&s.Generation, &s.Subscribed, &s.Qos, &s.Rap, &s.SubID, &s.FromSeq, &s.AckedSeq, &s.SentSeq, &present)
		existed := err == nil
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if present = present && !o.Clean; !present {
			s = session{}
		}
		if s.Generation, committed, err = d.generations.generation(ctx, tx); err != nil {
			return err
		}
		switch {
		case !present && o.Expiry == 0 && existed:
			_, err = tx.ExecContext(ctx, "DELETE FROM falcon_sessions WHERE user_id = ? AND client_id = ?", o.Device.User, o.Device.ClientID)
			return err
		case !present && o.Expiry == 0:
			return nil
		case present:
			if err := s.bounded(ctx, tx, o.Device.User); err != nil {
				return err
			}
		}
		return d.storeSession(ctx, tx, o, s, !existed)
	})
	if err == nil {
		committed()
	}
	return s, present, err
}

// bounded keeps the seqs of s within its user's log.
func (s *session) bounded(ctx context.Context, tx bun.Tx, u bridge.UserID) error {
	var last bridge.Seq
	err := tx.QueryRowContext(ctx, "SELECT last_seq FROM falcon_inboxes WHERE user_id = ?", u).Scan(&last)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if s.SentSeq < 0 {
		s.SentSeq = last
	}
	s.FromSeq, s.AckedSeq, s.SentSeq = min(s.FromSeq, last), min(s.AckedSeq, last), min(s.SentSeq, last)
	return nil
}

// storeSession writes s as open on o.Node. A new session may make the one unused
// for longest go.
func (d *DB) storeSession(ctx context.Context, tx bun.Tx, o bridge.OpenSession, s session, isNew bool) error {
	_, err := tx.ExecContext(ctx, "INSERT OR REPLACE INTO falcon_sessions "+
		"(user_id, client_id, generation, node, expiry_ms, used_at, subscribed, qos, rap, sub_id, from_seq, acked_seq) "+
		"VALUES (?, ?, ?, ?, ?, "+d.clock()+", ?, ?, ?, ?, ?, ?)", o.Device.User, o.Device.ClientID, s.Generation, o.Node,
		o.Expiry.Milliseconds(), s.Subscribed, s.Qos, s.Rap, s.SubID, s.FromSeq, s.AckedSeq)
	if err != nil || !isNew {
		return err
	}
	_, err = tx.ExecContext(ctx, "DELETE FROM falcon_sessions WHERE user_id = ? AND client_id IN ("+
		"SELECT s.client_id FROM falcon_sessions s LEFT JOIN falcon_nodes n ON n.id = s.node AND n.beat_at > "+d.clock()+" - ? "+
		"WHERE s.user_id = ? AND s.client_id <> ? ORDER BY n.id IS NULL, s.used_at DESC, s.client_id LIMIT -1 OFFSET ?)",
		o.Device.User, bridge.NodeTimeout.Milliseconds(), o.Device.User, o.Device.ClientID, bridge.MaxSessions-1)
	return err
}

// subscribeSession is falcon_subscribe for SQLite.
func (d *DB) subscribeSession(ctx context.Context, dev bridge.Device, gen int64, s bridge.Subscription, since *bridge.Seq) (head bridge.Head, stale bool, err error) {
	err = d.inTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		var current bool
		err := tx.QueryRowContext(ctx, "SELECT generation = ? FROM falcon_sessions WHERE user_id = ? AND client_id = ?",
			gen, dev.User, dev.ClientID).Scan(&current)
		if stale = !current; stale && (err == nil || errors.Is(err, sql.ErrNoRows)) {
			return nil
		}
		if err != nil {
			return err
		}
		head, err = scanHead(tx.QueryRowContext(ctx, "SELECT h.last_seq, "+pageColumns+" FROM "+
			"(SELECT coalesce(max(last_seq), 0) AS last_seq, min(review_enabled) AS listed FROM falcon_inboxes WHERE user_id = ?) h "+
			"LEFT JOIN (SELECT * FROM falcon_notifications WHERE user_id = ? ORDER BY seq DESC LIMIT 1) n ON h.listed", dev.User, dev.User))
		if err != nil {
			return err
		}
		start, given := head.Last, since != nil
		if given {
			start = min(max(*since, 0), head.Last)
		}
		_, err = tx.ExecContext(ctx, "UPDATE falcon_sessions SET subscribed = ?, qos = ?, rap = ?, sub_id = ?, "+
			"from_seq = CASE WHEN NOT subscribed THEN ? WHEN NOT ? THEN from_seq WHEN ? > acked_seq THEN ? ELSE min(from_seq, ?) END, "+
			"acked_seq = CASE WHEN subscribed AND NOT ? THEN acked_seq ELSE ? END WHERE user_id = ? AND client_id = ?",
			true, s.QoS, s.RetainAsPublished, s.ID, start, given, start, start, start, given, start, dev.User, dev.ClientID)
		return err
	})
	return head, stale, err
}
