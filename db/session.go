package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"sync"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/uptrace/bun"
)

// openedSession is the session that Open found or made.
type openedSession struct {
	session `bun:",extend"`

	Present bool `bun:",scanonly"`
	Shared  bool `bun:",scanonly"`
}

// Open finds or makes the session of a device, see delivery.Sessions.
//
// On Postgres it is one call of falcon_open, whose current text is in the migration
// 20261129000220_history, so that a login costs one round trip. openSession does the same
// for SQLite, in one transaction that touches the disk only if a row changes. Both enforce
// [bridge.MaxSessions], as storeSession explains.
func (d *DB) Open(ctx context.Context, o bridge.OpenSession) (bridge.Session, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	var s openedSession
	var err error
	if d.dialect == Postgres {
		err = d.write.NewRaw("SELECT o.gen AS generation, o.present, o.subscribed, o.qos, o.rap, o.sub_id, o.from_seq, o.acked_seq, o.sent_seq, "+
			// This reads the row as it was before the call, from the statement's snapshot.
			"coalesce((SELECT s.node <> '' FROM falcon_sessions s WHERE s.user_id = ? AND s.client_id = ?), false) AS shared "+
			"FROM falcon_open(?, ?, ?, ?, ?, ?, ?) AS o", o.Device.User, o.Device.ClientID, o.Device.User, o.Device.ClientID, o.Node, o.Clean, o.Expiry.Milliseconds(),
			bridge.MaxSessions, bridge.NodeTimeout.Milliseconds()).Scan(ctx, &s)
	} else {
		s, err = d.openSession(ctx, o)
	}
	if err != nil {
		return bridge.Session{}, d.fail("open a session", err)
	}
	return s.domain(), nil
}

// domain converts s to the type of package bridge.
func (s *openedSession) domain() bridge.Session {
	out := bridge.Session{Generation: s.Generation, Present: s.Present}
	if !s.Present {
		return out
	}
	out.From, out.Acked, out.Sent, out.Shared = s.FromSeq, s.AckedSeq, s.SentSeq, s.Shared
	if s.Subscribed {
		out.Subscribed = &bridge.Subscription{QoS: s.Qos, RetainAsPublished: s.Rap, ID: s.SubID}
	}
	return out
}

// subscribedRow is what falcon_follow returns: the user's last seq, and the retained
// message or zeros.
type subscribedRow struct {
	notification `bun:",extend"`

	Last bridge.Seq `bun:",scanonly"`
}

// Subscribe stores s for the device and returns its user's head, see delivery.Sessions.
// On Postgres it is one call of falcon_follow, whose current text is in the migration
// 20261129000121_kinds, so that a SUBSCRIBE costs one round trip. subscribeSession does the
// same for SQLite.
func (d *DB) Subscribe(ctx context.Context, dev bridge.Device, gen int64, s bridge.Subscription, since *bridge.Seq) (bridge.Head, bool, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	if d.dialect != Postgres {
		head, stale, err := d.subscribeSession(ctx, dev, gen, s, since)
		return head, stale, d.fail("subscribe", err)
	}
	var row subscribedRow
	err := d.write.NewRaw("SELECT * FROM falcon_follow(?, ?, ?, ?, ?, ?, ?)",
		dev.User, dev.ClientID, gen, s.QoS, s.RetainAsPublished, s.ID, since).Scan(ctx, &row)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return bridge.Head{}, true, nil
	case err != nil:
		return bridge.Head{}, false, d.fail("subscribe", err)
	}
	box := inbox{LastSeq: row.Last}
	if row.ID != 0 {
		box.Latest = &row.notification
	}
	return box.head(), false, nil
}

// Unsubscribe clears the subscription, if gen is still the session's generation.
func (d *DB) Unsubscribe(ctx context.Context, dev bridge.Device, gen int64) error {
	ctx, cancel := bound(ctx)
	defer cancel()
	s := session{UserID: dev.User, ClientID: dev.ClientID}
	_, err := d.write.NewUpdate().Model(&s).Column("subscribed", "qos", "rap", "sub_id").WherePK().Where("generation = ?", gen).Exec(ctx)
	return d.fail("unsubscribe", err)
}

// kept returns a condition for sessions that have not expired. The statement calls the
// session s, and has joined the node of its open connection as host.
//
// A closed session is kept until its expires_at. An open one is kept while its node is
// alive; if the node died, its expiry counts from the node's last beat.
func (d *DB) kept() bun.Safe {
	return bun.Safe(fmt.Sprintf("CASE WHEN s.node = '' THEN s.expires_at > %[1]s ELSE coalesce(host.beat_at, s.used_at) + "+
		"CASE WHEN s.expiry_ms > %[2]d THEN s.expiry_ms ELSE %[2]d END > %[1]s END", d.clock(), bridge.NodeTimeout.Milliseconds()))
}

// withHost joins a session or a connection with its node, without selecting columns of it.
func withHost(q *bun.SelectQuery) *bun.SelectQuery {
	return q.Relation("Host", func(q *bun.SelectQuery) *bun.SelectQuery { return q.ExcludeColumn("*") })
}

// generations hands out the generations of connections on SQLite. It takes them from
// falcon_meta in blocks, so that a connection which stores nothing else costs no write.
type generations struct {
	mu   sync.Mutex
	next int64
	end  int64 // of the block, exclusive
}

// generationBlock is the size of a block, and so how many generations a restart may leave
// unused.
const generationBlock = 1000

// generation returns the next generation. The caller's transaction holds the only write
// lock, so generations are in the order of transactions. The caller must call committed
// after its commit. After a rollback it must not, because a block whose transaction was
// rolled back must not be used.
func (g *generations) generation(ctx context.Context, tx bun.Tx) (gen int64, committed func(), err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.next < g.end {
		g.next++
		return g.next - 1, func() {}, nil
	}
	var end int64
	err = tx.NewUpdate().Model((*meta)(nil)).Set("value = CAST(value AS INTEGER) + ?", generationBlock).
		Where("m.key = 'generation'").Returning("value").Scan(ctx, &end)
	if err != nil {
		return 0, nil, fmt.Errorf("reserve generations: %w", err)
	}
	gen = end - generationBlock + 1
	return gen, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if end+1 > g.end { // otherwise the next transaction was here first
			g.next, g.end = gen+1, end+1
		}
	}, nil
}

// discard drops the current block when a new epoch begins, whose generations are higher
// than floor. The caller's transaction holds the write lock.
func (g *generations) discard(floor int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.next, g.end = floor, floor
}

// openSession does for SQLite what falcon_open does for Postgres.
func (d *DB) openSession(ctx context.Context, o bridge.OpenSession) (s openedSession, err error) {
	committed := func() {}
	err = d.inTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		found := session{UserID: o.Device.User, ClientID: o.Device.ClientID}
		s = openedSession{session: found}
		err := withHost(tx.NewSelect().Model(&s)).ColumnExpr("?TableColumns").ColumnExpr("? AS present", d.kept()).WherePK().Scan(ctx)
		existed := err == nil
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if s.Present = s.Present && !o.Clean; !s.Present {
			s.session = found
		}
		formerGeneration := s.Generation
		if s.Generation, committed, err = d.generations.generation(ctx, tx); err != nil {
			return err
		}
		if existed && !s.Present { // a trigger makes it a past session
			if _, err := tx.NewDelete().Model(&found).WherePK().Exec(ctx); err != nil {
				return err
			}
		}
		if !s.Present && o.Expiry == 0 {
			return nil
		}
		if s.Present {
			if err := s.resume(ctx, tx, formerGeneration); err != nil {
				return err
			}
		}
		return d.storeSession(ctx, tx, o, s.session, !s.Present)
	})
	if err == nil {
		committed()
	}
	return s, err
}

// resume adapts s, which was last written under generation, to the current log, as
// falcon_open does. After a restore the log may end before the session's seqs, or may
// have continued with other notifications. In both cases the cursor goes back to the last
// notification that both logs share, and the history of its moves is dropped.
func (s *session) resume(ctx context.Context, tx bun.Tx, generation int64) error {
	var former bool
	if err := tx.NewRaw("SELECT ? <= "+currentEpoch, generation).Scan(ctx, &former); err != nil {
		return err
	}
	if former {
		s.Recent, s.WrittenSeq, s.WrittenAt = []byte{}, 0, 0
		if _, err := tx.NewDelete().Model(&history{UserID: s.UserID, ClientID: s.ClientID}).WherePK().Exec(ctx); err != nil {
			return err
		}
	} else if s.WrittenAt = 0; s.SentSeq >= 0 {
		s.WrittenSeq, s.WrittenAt = s.SentSeq, s.UsedAt
	}
	var lastFormer bridge.Seq
	err := tx.NewRaw("SELECT coalesce((SELECT n.seq FROM falcon_notifications n WHERE n.user_id = ?0 AND n.seq <= ?1 "+
		"AND n.id <= e.last_id ORDER BY n.seq DESC LIMIT 1), 0) FROM falcon_epochs e "+
		"WHERE e.number = (SELECT max(number) FROM falcon_epochs) AND ?2 <= e.generation AND e.last_id < (SELECT n.id FROM falcon_notifications n "+
		"WHERE n.user_id = ?0 AND n.seq <= ?1 ORDER BY n.seq DESC LIMIT 1)", s.UserID, s.AckedSeq, generation).Scan(ctx, &lastFormer)
	switch {
	case err == nil:
		s.AckedSeq, s.FromSeq = lastFormer, min(s.FromSeq, lastFormer)
	case !errors.Is(err, sql.ErrNoRows):
		return err
	}
	box := inbox{UserID: s.UserID}
	if err := tx.NewSelect().Model(&box).WherePK().Scan(ctx); err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if s.SentSeq < 0 {
		s.SentSeq = box.LastSeq
	}
	s.FromSeq, s.AckedSeq, s.SentSeq = min(s.FromSeq, box.LastSeq), min(s.AckedSeq, box.LastSeq), min(s.SentSeq, box.LastSeq)
	s.WrittenSeq = min(s.WrittenSeq, box.LastSeq)
	return nil
}

// storeSession writes s as open on o.Node. If s is new and its user now has more than
// [bridge.MaxSessions] sessions, the surplus is removed: closed sessions before open ones,
// and in each group the least recently used first. falcon_open does the same on Postgres,
// with the limit as an argument. (Devices registered for Web Push have a separate limit,
// see RegisterDevice.)
func (d *DB) storeSession(ctx context.Context, tx bun.Tx, o bridge.OpenSession, s session, isNew bool) error {
	if s.Recent == nil {
		s.Recent = []byte{}
	}
	s.Node, s.ExpiryMs, s.ExpiresAt, s.SentSeq = o.Node, o.Expiry.Milliseconds(), 0, -1
	insert := tx.NewInsert().Model(&s).Value("used_at", "?", d.clock())
	if isNew {
		insert.Value("written_at", "?", d.clock())
	}
	_, err := insert.On("CONFLICT (user_id, client_id) DO UPDATE").Exec(ctx)
	if err != nil || !isNew {
		return err
	}
	// s itself stays, and the first bridge.MaxSessions - 1 in this order. SQLite has no
	// OFFSET without a LIMIT.
	surplus := tx.NewSelect().Model((*session)(nil)).Column("client_id").
		Join("LEFT JOIN falcon_nodes AS n ON n.id = s.node AND n.beat_at > ? - ?", d.clock(), bridge.NodeTimeout.Milliseconds()).
		Where("s.user_id = ?", s.UserID).Where("s.client_id <> ?", s.ClientID).
		OrderExpr("n.id IS NULL, s.used_at DESC, s.client_id").Limit(math.MaxInt64).Offset(bridge.MaxSessions - 1)
	_, err = tx.NewDelete().Model((*session)(nil)).Where("user_id = ?", s.UserID).Where("client_id IN (?)", surplus).Exec(ctx)
	return err
}

// subscribeSession does for SQLite what falcon_follow does for Postgres.
func (d *DB) subscribeSession(ctx context.Context, dev bridge.Device, gen int64, sub bridge.Subscription, since *bridge.Seq) (head bridge.Head, stale bool, err error) {
	err = d.inTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		s := session{UserID: dev.User, ClientID: dev.ClientID}
		err := tx.NewSelect().Model(&s).WherePK().Where("s.generation = ?", gen).Scan(ctx)
		if stale = errors.Is(err, sql.ErrNoRows); stale {
			return nil
		}
		if err != nil {
			return err
		}
		box := inbox{UserID: dev.User}
		if err := d.withLatest(tx.NewSelect().Model(&box)).WherePK().Scan(ctx); err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		head = box.head()
		s.subscribe(sub, head.Last, since)
		_, err = tx.NewUpdate().Model(&s).Column("subscribed", "qos", "rap", "sub_id", "from_seq", "acked_seq").WherePK().Exec(ctx)
		return err
	})
	return head, stale, err
}

// subscribe changes s as falcon_follow does. A first subscription starts at since, or
// without since at the end of the log. On a later subscription, since moves the cursor: if
// forward, the notifications in between are skipped; if back, they are delivered again.
func (s *session) subscribe(sub bridge.Subscription, last bridge.Seq, since *bridge.Seq) {
	start := last
	if since != nil {
		start = min(max(*since, 0), last)
	}
	switch {
	case !s.Subscribed || since != nil && start > s.AckedSeq:
		s.FromSeq = start
	case since != nil:
		s.FromSeq = min(s.FromSeq, start)
	}
	if !s.Subscribed || since != nil {
		s.AckedSeq = start
	}
	s.Subscribed, s.Qos, s.Rap, s.SubID = true, sub.QoS, sub.RetainAsPublished, sub.ID
}
