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

// openedSession is the session that Open found or created.
type openedSession struct {
	session `bun:",extend"`

	Present bool `bun:",scanonly"`
	Shared  bool `bun:",scanonly"`
}

// Open finds or makes the session of a device, see delivery.Sessions. On Postgres it
// is one call of falcon_open, because a login is one round trip; on SQLite one
// transaction, which touches the disk only where a row changes.
func (d *DB) Open(ctx context.Context, o bridge.OpenSession) (bridge.Session, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	var s openedSession
	var err error
	if d.dialect == Postgres {
		err = d.write.NewRaw("SELECT o.gen AS generation, o.present, o.subscribed, o.qos, o.rap, o.sub_id, o.from_seq, o.acked_seq, o.sent_seq, "+
			// The row as it was before the call, which is this statement's snapshot.
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

// domain is s as package bridge knows it.
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

// subscribedRow is what falcon_follow returns: the user's last seq, and the
// retained message or a row of zeros.
type subscribedRow struct {
	notification `bun:",extend"`

	Last bridge.Seq `bun:",scanonly"`
}

// Subscribe stores s for the device and returns its user's head, see
// delivery.Sessions. On Postgres it is one call of falcon_follow, because a
// SUBSCRIBE is one round trip.
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
	in := inbox{LastSeq: row.Last}
	if row.ID != 0 {
		in.Latest = &row.notification
	}
	return in.head(), false, nil
}

// Unsubscribe clears the subscription, where gen is the current generation.
func (d *DB) Unsubscribe(ctx context.Context, dev bridge.Device, gen int64) error {
	ctx, cancel := bound(ctx)
	defer cancel()
	s := session{UserID: dev.User, ClientID: dev.ClientID}
	_, err := d.write.NewUpdate().Model(&s).Column("subscribed", "qos", "rap", "sub_id").WherePK().Where("generation = ?", gen).Exec(ctx)
	return d.fail("unsubscribe", err)
}

// kept is SQL that reports whether a session s, joined with the node of its open connection
// as host, still exists: not expired, or open on a node that lives, or
// left open by one that died, since whose last beat its expiry counts.
func (d *DB) kept() bun.Safe {
	return bun.Safe(fmt.Sprintf("CASE WHEN s.node = '' THEN s.expires_at > %[1]s ELSE coalesce(host.beat_at, s.used_at) + "+
		"CASE WHEN s.expiry_ms > %[2]d THEN s.expiry_ms ELSE %[2]d END > %[1]s END", d.clock(), bridge.NodeTimeout.Milliseconds()))
}

// withHost joins a session or connection with its node, for a condition.
func withHost(q *bun.SelectQuery) *bun.SelectQuery {
	return q.Relation("Host", func(q *bun.SelectQuery) *bun.SelectQuery { return q.ExcludeColumn("*") })
}

// generations gives SQLite's generations. They are taken from falcon_meta in
// blocks, so that a connection that stores nothing costs no write.
type generations struct {
	mu   sync.Mutex
	next int64
	end  int64 // of the block, exclusive
}

// generationBlock is how many generations a start of the process may leave unused.
const generationBlock = 1000

// generation returns the next one. Its caller's transaction holds the one write
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
	err = tx.NewUpdate().Model((*meta)(nil)).Set("value = CAST(value AS INTEGER) + ?", generationBlock).
		Where("m.key = 'generation'").Returning("value").Scan(ctx, &end)
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

// leave discards the current block, after a new epoch began whose generations are higher
// than floor. Its caller's transaction holds the write lock.
func (g *generations) leave(floor int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.next, g.end = floor, floor
}

// openSession is falcon_open for SQLite.
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
		was := s.Generation
		if s.Generation, committed, err = d.generations.generation(ctx, tx); err != nil {
			return err
		}
		if existed && !s.Present { // a trigger remembers it
			if _, err := tx.NewDelete().Model(&found).WherePK().Exec(ctx); err != nil {
				return err
			}
		}
		if !s.Present && o.Expiry == 0 {
			return nil
		}
		if s.Present {
			if err := s.resume(ctx, tx, was); err != nil {
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

// resume keeps the seqs of s, which was written under that generation, within its user's
// log, and forgets what its cursor did in a former epoch: see falcon_open.
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
	var past bridge.Seq
	err := tx.NewRaw("SELECT coalesce((SELECT n.seq FROM falcon_notifications n WHERE n.user_id = ?0 AND n.seq <= ?1 "+
		"AND n.id <= e.last_id ORDER BY n.seq DESC LIMIT 1), 0) FROM falcon_epochs e "+
		"WHERE e.number = (SELECT max(number) FROM falcon_epochs) AND ?2 <= e.generation AND e.last_id < (SELECT n.id FROM falcon_notifications n "+
		"WHERE n.user_id = ?0 AND n.seq <= ?1 ORDER BY n.seq DESC LIMIT 1)", s.UserID, s.AckedSeq, generation).Scan(ctx, &past)
	switch {
	case err == nil:
		s.AckedSeq, s.FromSeq = past, min(s.FromSeq, past)
	case !errors.Is(err, sql.ErrNoRows):
		return err
	}
	in := inbox{UserID: s.UserID}
	if err := tx.NewSelect().Model(&in).WherePK().Scan(ctx); err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if s.SentSeq < 0 {
		s.SentSeq = in.LastSeq
	}
	s.FromSeq, s.AckedSeq, s.SentSeq = min(s.FromSeq, in.LastSeq), min(s.AckedSeq, in.LastSeq), min(s.SentSeq, in.LastSeq)
	s.WrittenSeq = min(s.WrittenSeq, in.LastSeq)
	return nil
}

// storeSession writes s as open on o.Node. A new session may make the one unused
// for longest go.
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
	// Those that stay are the bridge.MaxSessions - 1 used last, open ones first. SQLite
	// has no OFFSET without a LIMIT.
	surplus := tx.NewSelect().Model((*session)(nil)).Column("client_id").
		Join("LEFT JOIN falcon_nodes AS n ON n.id = s.node AND n.beat_at > ? - ?", d.clock(), bridge.NodeTimeout.Milliseconds()).
		Where("s.user_id = ?", s.UserID).Where("s.client_id <> ?", s.ClientID).
		OrderExpr("n.id IS NULL, s.used_at DESC, s.client_id").Limit(math.MaxInt64).Offset(bridge.MaxSessions - 1)
	_, err = tx.NewDelete().Model((*session)(nil)).Where("user_id = ?", s.UserID).Where("client_id IN (?)", surplus).Exec(ctx)
	return err
}

// subscribeSession is falcon_follow for SQLite.
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
		in := inbox{UserID: dev.User}
		if err := d.withLatest(tx.NewSelect().Model(&in)).WherePK().Scan(ctx); err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		head = in.head()
		s.subscribe(sub, head.Last, since)
		_, err = tx.NewUpdate().Model(&s).Column("subscribed", "qos", "rap", "sub_id", "from_seq", "acked_seq").WherePK().Exec(ctx)
		return err
	})
	return head, stale, err
}

// subscribe changes s as falcon_follow does: a first subscription and a leap
// forward start at since or the end, a step back takes back what lies between.
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
