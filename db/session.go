package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/uptrace/bun"
)

// openedSession is what Open found or made.
type openedSession struct {
	session `bun:",extend"`

	Present bool `bun:",scanonly"`
}

// Open finds or makes the session of a device, see bridge.Sessions. On Postgres it
// is one call of falcon_open, because a login is one round trip; on SQLite one
// transaction, which touches the disk only where a row changes.
func (d *DB) Open(ctx context.Context, o bridge.OpenSession) (bridge.Session, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	var s openedSession
	var err error
	if d.dialect == Postgres {
		err = d.write.NewRaw("SELECT o.gen AS generation, o.present, o.subscribed, o.qos, o.rap, o.sub_id, o.from_seq, o.acked_seq, o.sent_seq "+
			"FROM falcon_open(?, ?, ?, ?, ?, ?, ?) AS o", o.Device.User, o.Device.ClientID, o.Node, o.Clean, o.Expiry.Milliseconds(),
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
	out.From, out.Acked, out.Sent = s.FromSeq, s.AckedSeq, s.SentSeq
	if s.Subscribed {
		out.Subscribed = &bridge.Subscription{QoS: s.Qos, RetainAsPublished: s.Rap, ID: s.SubID}
	}
	return out
}

// subscribedRow is what falcon_subscribe returns: the user's last seq, and the
// retained message or a row of zeros.
type subscribedRow struct {
	notification `bun:",extend"`

	Last bridge.Seq `bun:",scanonly"`
}

// Subscribe stores s for the device and returns its user's head, see
// bridge.Sessions. On Postgres it is one call of falcon_subscribe, because a
// SUBSCRIBE is one round trip.
func (d *DB) Subscribe(ctx context.Context, dev bridge.Device, gen int64, s bridge.Subscription, since *bridge.Seq) (bridge.Head, bool, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	if d.dialect != Postgres {
		head, stale, err := d.subscribeSession(ctx, dev, gen, s, since)
		return head, stale, d.fail("subscribe", err)
	}
	var row subscribedRow
	err := d.write.NewRaw("SELECT * FROM falcon_subscribe(?, ?, ?, ?, ?, ?, ?)",
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

// kept reports of a session s, joined with the node of its open connection as
// host, whether it is still there: not expired, or open on a node that lives, or
// left open by one that died, since whose last beat its expiry counts.
func (d *DB) kept() bun.Safe {
	return bun.Safe(fmt.Sprintf("CASE WHEN s.node = '' THEN s.expires_at > %[1]s ELSE coalesce(host.beat_at, s.used_at) + "+
		"CASE WHEN s.expiry_ms > %[2]d THEN s.expiry_ms ELSE %[2]d END > %[1]s END", d.clock(), bridge.NodeTimeout.Milliseconds()))
}

// withHost joins a session or connection with its node, for a condition.
func withHost(q *bun.SelectQuery) *bun.SelectQuery {
	return q.Relation("Host", func(q *bun.SelectQuery) *bun.SelectQuery { return q.ExcludeColumn("*") })
}
