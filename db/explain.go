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
	Why         why   // why it is gone; "": it still exists
	GoneAt      int64 // with Why
	ReadAt      int64
	Muted       bool // it was muted when it was appended, so it is never delivered
	Hidden      bool // the user has muted its kind or everything
}

// state returns the state of the notification, regardless of devices.
func (s *subject) state() bridge.Fate {
	switch {
	case s.Why != "":
		return bridge.Fate(s.Why)
	case s.Hidden:
		return bridge.FateMuted
	case s.ReadAt > 0:
		return bridge.FateRead
	case s.Muted:
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
	Recent     []byte // advances after those in Advances
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
	s, err := d.findSubject(ctx, id)
	if err != nil {
		return out, err
	}
	out = bridge.Explanation{ID: s.ID, User: s.UserID, Seq: s.Seq, Kind: s.Kind, CommittedAt: moment(s.CommittedAt), By: s.By, State: s.state()}
	acks, err := d.acknowledgements(ctx, s.UserID, s.Seq)
	if err != nil {
		return out, err
	}
	records, err := d.records(ctx, s.UserID)
	if err != nil {
		return out, err
	}
	type ranked struct {
		bridge.DeviceFate
		rank int
	}
	best := make(map[string]ranked)
	for client, at := range acks {
		if f, known := s.fateOncePassed(client, at); known {
			best[client] = ranked{f, lowestRank}
		}
	}
	for i := range records {
		r := &records[i]
		if f, rank, known := s.deviceFate(r, acks[r.ClientID]); known {
			if former, ok := best[r.ClientID]; !ok || rank < former.rank {
				best[r.ClientID] = ranked{f, rank}
			}
		}
	}
	for _, client := range slices.Sorted(maps.Keys(best)) {
		out.Devices = append(out.Devices, best[client].DeviceFate)
	}
	var calls []lateRow
	if err = d.read.NewSelect().Model(&calls).Where("l.notification_id = ?", s.ID).Where("l.user_id = ?", s.UserID).
		Order("l.client_id", "l.rule").Scan(ctx); err != nil {
		return out, err
	}
	out.Calls = domains(calls, (*lateRow).call)
	return out, nil
}

// findSubject finds a notification, or else its tombstone. In this order it misses no
// notification, because one that is removed between the two statements has left a
// tombstone. It finds nothing of a user who is being erased.
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

// A device may have had several sessions. The fate with the lowest rank counts: that of the
// current session, unless the session began after the notification; then that of a past
// session which acknowledged it; then those of the other sessions.

// lowestRank is the rank, after all others, of a fate that is known from falcon_acks alone.
const lowestRank = 9

// deviceFate returns what became of s on the device of r, and the rank of this session's
// fate among those of the device's sessions. acked is the time by which the device
// acknowledged s according to falcon_acks, 0 if unknown. known is false if the device was
// not subscribed, or if s is gone and nothing shows whether the device had received it.
func (s *subject) deviceFate(r *record, acked int64) (f bridge.DeviceFate, rank int, known bool) {
	if f, known = s.fateInSession(r, acked); !known {
		return f, 0, false
	}
	f.ClientID = r.ClientID
	later := f.Why == bridge.SkippedLater
	switch {
	case r.EndedAt == 0 && later:
		return f, 3, true
	case r.EndedAt == 0:
		return f, 0, true
	}
	rank = 2
	switch {
	case f.State == bridge.DeviceAcknowledged:
		f.Why, rank = string(f.State), 1
	case s.CommittedAt > r.EndedAt:
		f.Why, f.At, rank = "", moment(r.EndedAt), 5
	case later:
		f.At, rank = moment(r.EndedAt), 4
	case f.State != bridge.DeviceSkipped:
		f.Why, f.At = string(f.State), moment(r.EndedAt)
	}
	f.State = bridge.DeviceExpired
	return f, rank, true
}

// fateInSession returns what became of s on the device of r while the session existed.
func (s *subject) fateInSession(r *record, acked int64) (f bridge.DeviceFate, known bool) {
	if s.Muted {
		return bridge.DeviceFate{State: bridge.DeviceSkipped, Why: bridge.SkippedMuted}, true
	}
	passed := pass(s.Seq, r.FromSeq, r.AckedSeq, decodeAdvances(slices.Concat(r.Advances, r.Recent)), decodeSkips(r.Skips))
	switch passed.How {
	case passedAcknowledged:
		return bridge.DeviceFate{State: bridge.DeviceAcknowledged, At: moment(earlier(passed.At, acked))}, true
	case passedSkipped:
		return bridge.DeviceFate{State: bridge.DeviceSkipped, Why: s.skippedFor(passed), At: moment(passed.At)}, true
	case passedBefore:
		if acked > 0 {
			return s.fateOncePassed(r.ClientID, acked)
		}
		return bridge.DeviceFate{State: bridge.DeviceSkipped, Why: bridge.SkippedLater}, r.Subscribed || r.AckedSeq >= s.Seq
	case passedPerhaps:
		if s.Why != "" && passed.At == 0 && acked == 0 && !r.Open && r.UsedAt <= s.GoneAt {
			// The connection ended while s still existed, so s was acknowledged, not skipped.
			return bridge.DeviceFate{State: bridge.DeviceAcknowledged}, true
		}
		return s.fateOncePassed(r.ClientID, earlier(passed.At, acked))
	case passedUnknown:
		if acked > 0 {
			return s.fateOncePassed(r.ClientID, acked)
		}
		return f, false
	}
	switch sent, at := r.sentUpTo(); {
	case !r.Subscribed:
		return f, false
	case s.Seq <= sent && (s.Why == "" || at <= s.GoneAt):
		return bridge.DeviceFate{State: bridge.DeviceSent, At: moment(at)}, true
	case s.Why == "" || r.EndedAt > 0 && s.GoneAt > r.EndedAt:
		return bridge.DeviceFate{State: bridge.DeviceBehind}, true
	// s is gone. It was never sent if it lies above everything that was sent, including what
	// the currently open connection has sent.
	case at > 0 && s.Seq > sent && (!r.Open || s.GoneAt <= r.UsedAt):
		return bridge.DeviceFate{State: bridge.DeviceSkipped, At: moment(s.GoneAt), Why: s.goneFor()}, true
	}
	return f, false
}

// sentUpTo returns the seq up to which r's connections had sent at the time at. If at is 0,
// the time is unknown, and they may have sent more.
func (r *record) sentUpTo() (seq bridge.Seq, at int64) {
	if !r.Open && r.SentSeq >= 0 {
		return r.SentSeq, r.UsedAt
	}
	return r.WrittenSeq, r.WrittenAt
}

// earlier returns the earlier of two times, of which 0 is unknown.
func earlier(a, b int64) int64 {
	if a == 0 || b > 0 && b < a {
		return b
	}
	return a
}

// fateOncePassed returns what became of s on a device whose cursor passed it by the time
// passedAt, 0 if unknown. If s was gone by then, it is not known whether the device received
// it.
func (s *subject) fateOncePassed(client string, passedAt int64) (f bridge.DeviceFate, known bool) {
	if s.Why != "" && (passedAt == 0 || passedAt > s.GoneAt) {
		return f, false
	}
	return bridge.DeviceFate{ClientID: client, State: bridge.DeviceAcknowledged, At: moment(passedAt)}, true
}

// clockSkew is how far apart the clocks of a node and the database may be, in ms.
const clockSkew = 60_000

// skippedFor returns why a cursor passed s without an acknowledgement. If the node's read
// of the log did not return s, although s still exists or was removed well after that read,
// then s was muted.
func (s *subject) skippedFor(passed passage) string {
	switch {
	case passed.Why == bridge.SkipTooLarge:
		return bridge.SkippedTooLarge
	case passed.Why == skipReplayCap && (s.Why == "" || s.GoneAt > passed.At):
		return bridge.SkippedReplayCap
	case s.Why == "" || passed.Why == bridge.SkipUnread && s.GoneAt > passed.At+clockSkew:
		return bridge.SkippedMuted
	}
	return s.goneFor()
}

// goneFor returns why s is gone, as devices name it: for them a notification that was
// retained out is deleted.
func (s *subject) goneFor() string {
	if s.Why == retainedOut {
		return string(deleted)
	}
	return string(s.Why)
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
