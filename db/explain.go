package db

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"maps"
	"slices"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/uptrace/bun"
)

// subject is the notification to explain, or its tombstone, with what decides its state.
type subject struct {
	ID          int64
	UserID      bridge.UserID
	Seq         bridge.Seq
	Kind        bridge.Kind
	CommittedAt int64
	By          string
	Why         why   // why it is gone; "": it is not
	GoneAt      int64 // with Why
	ReadAt      int64
	Muted       bool // it was muted when it was appended, so it is never delivered
	Hidden      bool // the user has muted its kind or everything
}

// state returns what became of e as a whole.
func (e *subject) state() bridge.Fate {
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

// record is what is known of a session or of a past session.
type record struct {
	ClientID   string
	Generation int64
	EndedAt    int64 // 0: it has not ended
	Open       bool
	UsedAt     int64 // when its connection was last opened or closed
	Subscribed bool
	FromSeq    bridge.Seq
	AckedSeq   bridge.Seq
	SentSeq    bridge.Seq
	WrittenSeq bridge.Seq
	WrittenAt  int64
	Advances   []byte
	Recent     []byte // advances after those
	Skips      []byte
}

// Explain implements bridge.History. Each of its statements reads one row, or a range of an
// index: the sessions or acknowledgements of one user, or the late attempts of one
// notification.
func (d *DB) Explain(ctx context.Context, id int64) (bridge.Explanation, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	out, err := d.explain(ctx, id)
	return out, d.fail("explain a notification", err)
}

func (d *DB) explain(ctx context.Context, id int64) (out bridge.Explanation, err error) {
	e, err := d.findSubject(ctx, id)
	if err != nil {
		return out, err
	}
	out = bridge.Explanation{ID: e.ID, User: e.UserID, Seq: e.Seq, Kind: e.Kind, CommittedAt: moment(e.CommittedAt), By: e.By, State: e.state()}
	acks, err := d.acknowledgements(ctx, e.UserID, e.Seq)
	if err != nil {
		return out, err
	}
	records, err := d.records(ctx, e.UserID)
	if err != nil {
		return out, err
	}
	type ranked struct {
		bridge.DeviceFate
		rank int
	}
	best := make(map[string]ranked)
	for client, at := range acks {
		if f, known := e.passed(client, at); known {
			best[client] = ranked{f, lowestRank}
		}
	}
	for i := range records {
		p := &records[i]
		if f, rank, known := e.at(p, acks[p.ClientID]); known {
			if former, ok := best[p.ClientID]; !ok || rank < former.rank {
				best[p.ClientID] = ranked{f, rank}
			}
		}
	}
	for _, client := range slices.Sorted(maps.Keys(best)) {
		out.Devices = append(out.Devices, best[client].DeviceFate)
	}
	var calls []lateRow
	if err = d.read.NewSelect().Model(&calls).Where("l.notification_id = ?", e.ID).Where("l.user_id = ?", e.UserID).
		Order("l.client_id", "l.rule").Scan(ctx); err != nil {
		return out, err
	}
	out.Calls = domains(calls, (*lateRow).call)
	return out, nil
}

// findSubject finds a notification, or else its tombstone. In this order no notification is
// missed: one that is removed between the two statements has left its tombstone. Nothing of
// a user who is being erased is found.
func (d *DB) findSubject(ctx context.Context, id int64) (e subject, err error) {
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

// records returns u's sessions and then those that ended, the latest first. It reads ranges
// of three primary keys. Sessions of a former epoch are left out, because their seqs belong
// to the log before the restore.
func (d *DB) records(ctx context.Context, u bridge.UserID) (out []record, err error) {
	err = d.read.NewRaw("SELECT s.client_id, s.generation, CASE WHEN ?1 THEN 0 ELSE coalesce(nullif(s.expires_at, 0), s.used_at) END AS ended_at, "+
		"s.node <> '' AS open, s.used_at, s.subscribed, s.from_seq, s.acked_seq, s.sent_seq, s.written_seq, s.written_at, "+
		"coalesce(h.advances, ?2) AS advances, s.recent, coalesce(h.skips, ?2) AS skips "+
		"FROM falcon_sessions AS s LEFT JOIN falcon_nodes AS host ON host.id = s.node "+
		"LEFT JOIN falcon_histories AS h ON h.user_id = s.user_id AND h.client_id = s.client_id "+
		"WHERE s.user_id = ?0 AND s.generation > ?3 "+
		"UNION ALL SELECT p.client_id, p.generation, p.ended_at, false, p.used_at, p.subscribed, p.from_seq, p.acked_seq, p.sent_seq, "+
		"p.written_seq, p.written_at, p.advances, ?2, p.skips FROM falcon_past_sessions AS p WHERE p.user_id = ?0 AND p.generation > ?3",
		u, d.kept(), []byte{}, bun.Safe(currentEpoch)).Scan(ctx, &out)
	slices.SortFunc(out, func(a, b record) int {
		if (a.EndedAt == 0) != (b.EndedAt == 0) {
			return cmp.Compare(a.EndedAt, b.EndedAt) // sessions that have not ended have 0
		}
		return cmp.Or(cmp.Compare(b.EndedAt, a.EndedAt), cmp.Compare(b.Generation, a.Generation))
	})
	return out, err
}

// A device may have had several sessions. The one whose fate has the lowest rank counts:
// first the current session, unless it began after e; then a past session that
// acknowledged e; then the others.

// lowestRank is the rank, after all others, of a fate that is known from falcon_acks alone.
const lowestRank = 9

// at returns what became of e at the device of p, and the rank of that among the device's
// sessions. acked is the time by which the device acknowledged e according to falcon_acks, 0
// if unknown. known is false if the device was not subscribed, or if e is gone and nothing
// shows whether the device had received it before.
func (e *subject) at(p *record, acked int64) (f bridge.DeviceFate, rank int, known bool) {
	if f, known = e.fate(p, acked); !known {
		return f, 0, false
	}
	f.ClientID = p.ClientID
	later := f.Why == bridge.SkippedLater
	switch {
	case p.EndedAt == 0 && later:
		return f, 3, true
	case p.EndedAt == 0:
		return f, 0, true
	}
	rank = 2
	switch {
	case f.State == bridge.DeviceAcknowledged:
		f.Why, rank = string(f.State), 1
	case e.CommittedAt > p.EndedAt:
		f.Why, f.At, rank = "", moment(p.EndedAt), 5
	case later:
		f.At, rank = moment(p.EndedAt), 4
	case f.State != bridge.DeviceSkipped:
		f.Why, f.At = string(f.State), moment(p.EndedAt)
	}
	f.State = bridge.DeviceExpired
	return f, rank, true
}

// fate returns what became of e at the device of p while the session existed.
func (e *subject) fate(p *record, acked int64) (f bridge.DeviceFate, known bool) {
	if e.Muted {
		return bridge.DeviceFate{State: bridge.DeviceSkipped, Why: bridge.SkippedMuted}, true
	}
	by := pass(e.Seq, p.FromSeq, p.AckedSeq, decodeAdvances(slices.Concat(p.Advances, p.Recent)), decodeSkips(p.Skips))
	switch by.How {
	case passedAcknowledged:
		return bridge.DeviceFate{State: bridge.DeviceAcknowledged, At: moment(earlier(by.At, acked))}, true
	case passedSkipped:
		return bridge.DeviceFate{State: bridge.DeviceSkipped, Why: e.skippedFor(by), At: moment(by.At)}, true
	case passedBefore:
		if acked > 0 {
			return e.passed(p.ClientID, acked)
		}
		return bridge.DeviceFate{State: bridge.DeviceSkipped, Why: bridge.SkippedLater}, p.Subscribed || p.AckedSeq >= e.Seq
	case passedPerhaps:
		if e.Why != "" && by.At == 0 && acked == 0 && !p.Open && p.UsedAt <= e.GoneAt {
			// The connection ended before e was gone, so e was acknowledged before that.
			return bridge.DeviceFate{State: bridge.DeviceAcknowledged}, true
		}
		return e.passed(p.ClientID, earlier(by.At, acked))
	case passedUnknown:
		if acked > 0 {
			return e.passed(p.ClientID, acked)
		}
		return f, false
	}
	switch sent, at := p.sent(); {
	case !p.Subscribed:
		return f, false
	case e.Seq <= sent && (e.Why == "" || at <= e.GoneAt):
		return bridge.DeviceFate{State: bridge.DeviceSent, At: moment(at)}, true
	case e.Why == "" || p.EndedAt > 0 && e.GoneAt > p.EndedAt:
		return bridge.DeviceFate{State: bridge.DeviceBehind}, true
	// e is gone. It was never sent if it lies above everything that was, including what the
	// currently open connection has sent.
	case at > 0 && e.Seq > sent && (!p.Open || e.GoneAt <= p.UsedAt):
		return bridge.DeviceFate{State: bridge.DeviceSkipped, At: moment(e.GoneAt), Why: e.goneFor()}, true
	}
	return f, false
}

// sent returns the seq up to which p's connections had sent at the time at. If at is 0 the
// time is unknown, and they may have sent more.
func (p *record) sent() (seq bridge.Seq, at int64) {
	if !p.Open && p.SentSeq >= 0 {
		return p.SentSeq, p.UsedAt
	}
	return p.WrittenSeq, p.WrittenAt
}

// earlier returns the earlier of two times, of which 0 is unknown.
func earlier(a, b int64) int64 {
	if a == 0 || b > 0 && b < a {
		return b
	}
	return a
}

// passed returns what became of e at a device whose cursor passed it by the time then, 0 if
// unknown. If e was gone by then, it is not known whether the device received it.
func (e *subject) passed(client string, then int64) (f bridge.DeviceFate, known bool) {
	if e.Why != "" && (then == 0 || then > e.GoneAt) {
		return f, false
	}
	return bridge.DeviceFate{ClientID: client, State: bridge.DeviceAcknowledged, At: moment(then)}, true
}

// clockSkew is how far apart the clocks of a node and the database may be, in ms.
const clockSkew = 60_000

// skippedFor returns why a cursor passed e without an acknowledgement. If the node's read
// of the log did not return e, although e still exists or was removed well after that read,
// then e was muted.
func (e *subject) skippedFor(by passage) string {
	switch {
	case by.Why == bridge.SkipTooLarge:
		return bridge.SkippedTooLarge
	case by.Why == skipReplayCap && (e.Why == "" || e.GoneAt > by.At):
		return bridge.SkippedReplayCap
	case e.Why == "" || by.Why == bridge.SkipUnread && e.GoneAt > by.At+clockSkew:
		return bridge.SkippedMuted
	}
	return e.goneFor()
}

// goneFor returns why e is gone in the terms of a device, to which "retained out" is the
// same as deleted.
func (e *subject) goneFor() string {
	if e.Why == retainedOut {
		return string(deleted)
	}
	return string(e.Why)
}

// call converts l to the type of package bridge.
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
