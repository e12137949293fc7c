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

// record is what is known of a session, or of one that ended.
type record struct {
	ClientID   string
	Generation int64
	EndedAt    int64 // 0: it is there
	Open       bool
	UsedAt     int64 // when the connection was opened or closed
	Subscribed bool
	FromSeq    bridge.Seq
	AckedSeq   bridge.Seq
	SentSeq    bridge.Seq
	WrittenSeq bridge.Seq
	WrittenAt  int64
	Advances   []byte
	Recent     []byte // after them
	Skips      []byte
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

// records are those of u's sessions and then the ones that ended, the last one first: ranges of three
// primary keys. Connections of a former epoch counted in a log that is gone.
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
			return cmp.Compare(a.EndedAt, b.EndedAt) // what has not ended has 0
		}
		return cmp.Or(cmp.Compare(b.EndedAt, a.EndedAt), cmp.Compare(b.Generation, a.Generation))
	})
	return out, err
}

// lowestRank is that of what is known from acknowledgements alone. Of one device the
// session that is there says most, but for one that began behind e; then a past one that
// acknowledged e.
const lowestRank = 9

// at is what became of e at the device of p, which acknowledged it by acked as far as
// falcon_acks has it, 0: not known; rank compares it with those of the device's other
// sessions. It is not known of a device that was not subscribed; nor, of what is gone, where
// nothing shows whether the device got it before.
func (e *story) at(p *record, acked int64) (f bridge.DeviceFate, rank int, known bool) {
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

// fate is what became of e at the device of p while its session was there.
func (e *story) fate(p *record, acked int64) (f bridge.DeviceFate, known bool) {
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
			// The connection ended before e was gone, so e was acknowledged before.
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
	// Gone: it was never sent where it is above all that was, also by what is open since.
	case at > 0 && e.Seq > sent && (!p.Open || e.GoneAt <= p.UsedAt):
		return bridge.DeviceFate{State: bridge.DeviceSkipped, At: moment(e.GoneAt), Why: e.goneFor()}, true
	}
	return f, false
}

// sent is how far p's connections have sent, by at; 0: not known, they may have sent more.
func (p *record) sent() (seq bridge.Seq, at int64) {
	if !p.Open && p.SentSeq >= 0 {
		return p.SentSeq, p.UsedAt
	}
	return p.WrittenSeq, p.WrittenAt
}

// earlier is the earlier of two times, 0: not known.
func earlier(a, b int64) int64 {
	if a == 0 || b > 0 && b < a {
		return b
	}
	return a
}

// passed is what became of e at a device whose cursor passed it by then, 0: not known when.
func (e *story) passed(client string, then int64) (f bridge.DeviceFate, known bool) {
	if e.Why != "" && (then == 0 || then > e.GoneAt) {
		return f, false
	}
	return bridge.DeviceFate{ClientID: client, State: bridge.DeviceAcknowledged, At: moment(then)}, true
}

// clockSkew is how far apart the clocks of a node and the database may be.
const clockSkew = 60_000 // ms

// skippedFor is why a cursor passed e without an acknowledgement. What no read returned
// was muted where it is there, or went well after that.
func (e *story) skippedFor(by passage) string {
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

// goneFor is why e is gone, to a device: what is retained out is deleted.
func (e *story) goneFor() string {
	if e.Why == retainedOut {
		return string(deleted)
	}
	return string(e.Why)
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
