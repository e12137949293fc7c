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
		if s.Generation, committed, err = d.generations.generation(ctx, tx); err != nil {
			return err
		}
		switch {
		case !s.Present && o.Expiry == 0 && existed:
			_, err = tx.NewDelete().Model(&found).WherePK().Exec(ctx)
			return err
		case !s.Present && o.Expiry == 0:
			return nil
		case s.Present:
			if err := s.bounded(ctx, tx); err != nil {
				return err
			}
		}
		return d.storeSession(ctx, tx, o, s.session, !existed)
	})
	if err == nil {
		committed()
	}
	return s, err
}

// bounded keeps the seqs of s within its user's log.
func (s *session) bounded(ctx context.Context, tx bun.Tx) error {
	in := inbox{UserID: s.UserID}
	if err := tx.NewSelect().Model(&in).WherePK().Scan(ctx); err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if s.SentSeq < 0 {
		s.SentSeq = in.LastSeq
	}
	s.FromSeq, s.AckedSeq, s.SentSeq = min(s.FromSeq, in.LastSeq), min(s.AckedSeq, in.LastSeq), min(s.SentSeq, in.LastSeq)
	return nil
}

// storeSession writes s as open on o.Node. A new session may make the one unused
// for longest go.
func (d *DB) storeSession(ctx context.Context, tx bun.Tx, o bridge.OpenSession, s session, isNew bool) error {
	s.Node, s.ExpiryMs, s.ExpiresAt, s.SentSeq = o.Node, o.Expiry.Milliseconds(), 0, -1
	_, err := tx.NewInsert().Model(&s).Value("used_at", "?", d.clock()).On("CONFLICT (user_id, client_id) DO UPDATE").Exec(ctx)
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

// subscribeSession is falcon_subscribe for SQLite.
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
		if err := withLatest(tx.NewSelect().Model(&in)).WherePK().Scan(ctx); err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		head = in.head()
		s.subscribe(sub, head.Last, since)
		_, err = tx.NewUpdate().Model(&s).Column("subscribed", "qos", "rap", "sub_id", "from_seq", "acked_seq").WherePK().Exec(ctx)
		return err
	})
	return head, stale, err
}

// subscribe changes s as falcon_subscribe does: a first subscription and a leap
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
