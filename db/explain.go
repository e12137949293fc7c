package db

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/uptrace/bun"
)

// story is a notification or its tombstone, with what decides its state.
type story struct {
	ID          int64
	UserID      bridge.UserID
	Seq         bridge.Seq
	Kind        bridge.Kind
	CommittedAt int64
	By          string
	Why         why   // "": it is not gone
	GoneAt      int64 // with Why
	ReadAt      int64
	Muted       bool // when it came: it is never delivered
	Hidden      bool // the user muted its kind, or everything, since
}

// state is e's state.
func (e *story) state() bridge.Fate {
	switch {
	case e.Why != "":
		return bridge.Fate(e.Why)
	case e.Hidden:
		return bridge.FateMuted
	case e.ReadAt > 0:
		return bridge.FateRead
	case e.Muted:
		return bridge.FateMuted
	}
	return bridge.FateLive
}

// keptSession is a session, and whether it is kept.
type keptSession struct {
	session `bun:",extend"`

	Kept bool `bun:",scanonly"`
}

// Explain implements bridge.History. Each of its statements reads a row, or the sessions,
// acknowledgements or late rows of one user or notification: a range of an index.
func (d *DB) Explain(ctx context.Context, id int64) (bridge.Explanation, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	out, err := d.explain(ctx, id)
	return out, d.fail("explain a notification", err)
}

func (d *DB) explain(ctx context.Context, id int64) (out bridge.Explanation, err error) {
	e, err := d.findStory(ctx, id)
	if err != nil {
		return out, err
	}
	out = bridge.Explanation{ID: e.ID, User: e.UserID, Seq: e.Seq, Kind: e.Kind, CommittedAt: moment(e.CommittedAt), By: e.By, State: e.state()}
	var rows []keptSession
	if err = withHost(d.read.NewSelect().Model(&rows)).ColumnExpr("?TableColumns").ColumnExpr("? AS kept", d.kept()).Where("s.user_id = ?", e.UserID).
		Where("s.generation > ?", bun.Safe(currentEpoch)).Order("s.client_id").Scan(ctx); err != nil {
		return out, err
	}
	acks, err := d.acknowledgements(ctx, e.UserID, e.Seq)
	if err != nil {
		return out, err
	}
	for i := range rows {
		s := &rows[i]
		if f, known := e.at(s, acks[s.ClientID]); known {
			out.Devices = append(out.Devices, f)
		}
		delete(acks, s.ClientID)
	}
	for client, at := range acks { // of devices without a session
		if f, known := e.passed(client, at); known {
			out.Devices = append(out.Devices, f)
		}
	}
	slices.SortFunc(out.Devices, func(a, b bridge.DeviceFate) int { return strings.Compare(a.ClientID, b.ClientID) })
	var calls []lateRow
	if err = d.read.NewSelect().Model(&calls).Where("l.notification_id = ?", e.ID).Where("l.user_id = ?", e.UserID).
		Order("l.client_id", "l.rule").Scan(ctx); err != nil {
		return out, err
	}
	out.Calls = domains(calls, (*lateRow).call)
	return out, nil
}

// findStory finds a notification, or else its tombstone: what is removed between the
// two statements has left one. Nothing is found of what is being erased.
func (d *DB) findStory(ctx context.Context, id int64) (e story, err error) {
	err = d.read.NewSelect().TableExpr("falcon_notifications AS n").Join("JOIN falcon_inboxes AS i ON i.user_id = n.user_id").
		Column("n.id", "n.user_id", "n.seq", "n.kind", "n.by", "n.read_at", "n.muted").ColumnExpr("n.created_at AS committed_at").
		ColumnExpr("n.hidden OR NOT i.review_enabled AS hidden").
		ColumnExpr("CASE WHEN ? THEN '' ELSE ? END AS why", bun.Safe(d.live("n")), expired).
		ColumnExpr("n.expires_at AS gone_at").Where("n.id = ?", id).Where("n.seq > i.erased_seq").Scan(ctx, &e)
	if !errors.Is(err, sql.ErrNoRows) {
		return e, err
	}
	err = d.read.NewSelect().TableExpr("falcon_tombstones AS g").Join("LEFT JOIN falcon_inboxes AS i ON i.user_id = g.user_id").
		Column("g.id", "g.user_id", "g.seq", "g.kind", "g.by", "g.committed_at", "g.why").ColumnExpr("g.at AS gone_at").
		Where("g.id = ?", id).Where("g.seq > coalesce(i.erased_seq, 0)").Scan(ctx, &e)
	return e, err
}

// at is what became of e at the device of s, which acknowledged it by acked, 0: not known.
// It is not known of a device that was not subscribed; nor, of what is gone, where nothing
// shows whether the device got it before. An open connection does not: what it sent is
// known where it is open only.
func (e *story) at(s *keptSession, acked int64) (f bridge.DeviceFate, known bool) {
	f.ClientID = s.ClientID
	switch {
	case e.Muted:
		f.State, f.Why, known = bridge.DeviceSkipped, bridge.SkippedMuted, true
	case e.Seq <= s.FromSeq && acked == 0:
		f.State, f.Why, known = bridge.DeviceSkipped, bridge.SkippedLater, s.Subscribed || s.AckedSeq >= e.Seq
	case e.Seq <= s.AckedSeq:
		if e.Why != "" && acked == 0 && s.Node == "" && s.UsedAt <= e.GoneAt {
			// The connection ended before e was gone, so e was acknowledged before.
			f.State, known = bridge.DeviceAcknowledged, true
		} else {
			f, known = e.passed(s.ClientID, acked)
		}
	case !s.Subscribed:
	case e.Seq <= s.SentSeq && (e.Why == "" || s.UsedAt <= e.GoneAt):
		f.State, f.At, known = bridge.DeviceSent, moment(s.UsedAt), true
	case e.Why != "":
		if s.SentSeq >= 0 && s.SentSeq < e.Seq {
			f, known = e.skipped(s.ClientID), true
		}
	default:
		f.State, known = bridge.DeviceBehind, true
	}
	if known && !s.Kept {
		f.Why, f.State, f.At = string(f.State), bridge.DeviceExpired, moment(s.ExpiresAt)
	}
	return f, known
}

// passed is what became of e at a device whose cursor passed it by then, 0: not known when.
func (e *story) passed(client string, then int64) (f bridge.DeviceFate, known bool) {
	if e.Why != "" && (then == 0 || then > e.GoneAt) {
		return f, false
	}
	return bridge.DeviceFate{ClientID: client, State: bridge.DeviceAcknowledged, At: moment(then)}, true
}

// skipped is what became of e, which is gone, at a device that had not passed it. To a
// device, what is retained out is deleted.
func (e *story) skipped(client string) bridge.DeviceFate {
	w := e.Why
	if w == retainedOut {
		w = deleted
	}
	return bridge.DeviceFate{ClientID: client, State: bridge.DeviceSkipped, At: moment(e.GoneAt), Why: string(w)}
}

// call is l as package bridge knows it.
func (l *lateRow) call() bridge.LateCall {
	c := bridge.LateCall{ClientID: l.ClientID, State: bridge.LateWaiting, Tries: l.Tries, Status: l.Status, At: moment(l.DueAt)}
	if l.ClientID == "" {
		c.Ref, c.When = l.Ref, l.Rule
	}
	switch l.State {
	case lateSent:
		c.State, c.At = bridge.LateSent, moment(l.DoneAt)
	case lateGivenUp:
		c.State, c.At = bridge.LateGivenUp, moment(l.DoneAt)
	}
	return c
}
