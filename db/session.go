package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/falconalert/falconbridge/bridge"
)

// Open finds or makes the session of a device, see bridge.Sessions. On Postgres
// it is one call of falcon_open, on SQLite one transaction, which touches the
// disk only where a row changes.
func (d *DB) Open(ctx context.Context, o bridge.OpenSession) (bridge.Session, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	var s session
	var present bool
	var err error
	if d.dialect == Postgres {
		present, err = s.scanOpened(d.row(ctx, "SELECT gen, present, subscribed, qos, rap, sub_id, from_seq, acked_seq, sent_seq "+
			"FROM falcon_open(?, ?, ?, ?, ?, ?, ?)", o.Device.User, o.Device.ClientID, o.Node, o.Clean, o.Expiry.Milliseconds(),
			bridge.MaxSessions, bridge.NodeTimeout.Milliseconds()))
	} else {
		s, present, err = d.openSession(ctx, o)
	}
	if err != nil {
		return bridge.Session{}, d.fail("open a session", err)
	}
	return s.domain(present), nil
}

// scanOpened reads what falcon_open returns, where all but the generation is NULL
// for a session that was not there.
func (s *session) scanOpened(from scanner) (present bool, err error) {
	var subscribed, rap sql.NullBool
	var qos, subID, fromSeq, acked, sent sql.NullInt64
	err = from.Scan(&s.Generation, &present, &subscribed, &qos, &rap, &subID, &fromSeq, &acked, &sent)
	s.Subscribed, s.Qos, s.Rap, s.SubID = subscribed.Bool, byte(qos.Int64), rap.Bool, int(subID.Int64)
	s.FromSeq, s.AckedSeq, s.SentSeq = bridge.Seq(fromSeq.Int64), bridge.Seq(acked.Int64), bridge.Seq(sent.Int64)
	return present, err
}

// domain is s as package bridge knows it.
func (s *session) domain(present bool) bridge.Session {
	out := bridge.Session{Generation: s.Generation, Present: present}
	if !present {
		return out
	}
	out.From, out.Acked, out.Sent = s.FromSeq, s.AckedSeq, s.SentSeq
	if s.Subscribed {
		out.Subscribed = &bridge.Subscription{QoS: s.Qos, RetainAsPublished: s.Rap, ID: s.SubID}
	}
	return out
}

// Subscribe stores s for the device and returns its user's head, see
// bridge.Sessions.
func (d *DB) Subscribe(ctx context.Context, dev bridge.Device, gen int64, s bridge.Subscription, since *bridge.Seq) (bridge.Head, bool, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	if d.dialect != Postgres {
		head, stale, err := d.subscribeSession(ctx, dev, gen, s, since)
		return head, stale, d.fail("subscribe", err)
	}
	head, err := scanHead(d.row(ctx, "SELECT last, "+pageColumns+" FROM falcon_subscribe(?, ?, ?, ?, ?, ?, ?) n",
		dev.User, dev.ClientID, gen, s.QoS, s.RetainAsPublished, s.ID, since))
	if errors.Is(err, sql.ErrNoRows) {
		return bridge.Head{}, true, nil
	}
	return head, false, d.fail("subscribe", err)
}

// scanHead reads a last seq and the pageColumns of the retained message.
func scanHead(from scanner) (bridge.Head, error) {
	var h bridge.Head
	var n notification
	if err := from.Scan(append([]any{&h.Last}, n.dest()...)...); err != nil {
		return bridge.Head{}, err
	}
	if n.ID != 0 {
		latest := n.domain()
		h.Latest = &latest
	}
	return h, nil
}

// Unsubscribe clears the subscription, where gen is the current generation.
func (d *DB) Unsubscribe(ctx context.Context, dev bridge.Device, gen int64) error {
	ctx, cancel := bound(ctx)
	defer cancel()
	_, err := d.write.ExecContext(ctx, "UPDATE falcon_sessions SET subscribed = ?, qos = 0, rap = ?, sub_id = 0 "+
		"WHERE user_id = ? AND client_id = ? AND generation = ?", false, false, dev.User, dev.ClientID, gen)
	return d.fail("unsubscribe", err)
}

// clock is the database's clock in Unix ms, as a scalar subquery so that an index
// condition may use it: a volatile function is none.
func (d *DB) clock() string {
	if d.dialect == Postgres {
		return "(SELECT falcon_now())"
	}
	return "(SELECT CAST(round(unixepoch('subsec') * 1000) AS INTEGER))"
}

// kept tells of a session s, joined with the node n of its open connection,
// whether it is still there: not expired, or open on a node that lives, or left
// open by one that died, since whose last beat its expiry counts.
func (d *DB) kept() string {
	return fmt.Sprintf("CASE WHEN s.node = '' THEN s.expires_at > %[1]s ELSE coalesce(n.beat_at, s.used_at) + "+
		"CASE WHEN s.expiry_ms > %[2]d THEN s.expiry_ms ELSE %[2]d END > %[1]s END", d.clock(), bridge.NodeTimeout.Milliseconds())
}
