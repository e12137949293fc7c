package delivery

import (
	"slices"

	"github.com/falconalert/falconbridge/bridge"
)

// Packet ids are split into two ranges, so that the id of an acknowledgement shows what it
// completes:
//
//   - 1 to ownIDs: notifications of the own topic. The id follows from the seq, see
//     [PacketID], so there is no table of ids, and a resend after a crash has the id of the
//     first attempt, as [MQTT-4.4.0-1] requires.
//   - ownIDs+1 to lastID: everything else (retained copies, other users' notifications,
//     state messages), allocated by aux.
const (
	ownIDs = 49152
	lastID = 65535
	auxIDs = lastID - ownIDs
)

// PacketID returns the packet id with which the notification s is sent on the own topic.
func PacketID(s bridge.Seq) uint16 { return uint16(1 + (s-1)%ownIDs) }

// window has the notifications of the own topic that were sent with QoS 1 and are not
// acknowledged, with ascending seqs.
type window struct{ flights []flight }

// flight is one notification in flight.
type flight struct {
	seq    bridge.Seq
	commit int64     // when it was committed, Unix milliseconds
	span   *sentSpan // nil: not traced
}

// has reports whether f has the packet id.
func (f flight) has(id uint16) bool { return PacketID(f.seq) == id }

// admits reports whether s may be sent while the seqs of w are in flight. Seqs that are a
// multiple of ownIDs apart have the same packet id, so the later one has to wait.
func (w *window) admits(s bridge.Seq) bool {
	if len(w.flights) == 0 || s-w.flights[0].seq < ownIDs {
		return true
	}
	return !w.uses(PacketID(s))
}

func (w *window) add(n *bridge.Notification) {
	w.flights = append(w.flights, flight{seq: n.Seq, commit: n.CreatedAt.UnixMilli()})
}

// uses reports whether a seq in w has the packet id.
func (w *window) uses(id uint16) bool {
	return slices.ContainsFunc(w.flights, func(f flight) bool { return f.has(id) })
}

// complete removes and returns the flight with the packet id; found is false if there is
// none.
func (w *window) complete(id uint16) (done flight, found bool) {
	for i, f := range w.flights {
		if f.has(id) {
			w.flights = slices.Delete(w.flights, i, i+1)
			return f, true
		}
	}
	return flight{}, false
}

// drop removes the flight of s, if there is one.
func (w *window) drop(s bridge.Seq) {
	w.flights = slices.DeleteFunc(w.flights, func(f flight) bool { return f.seq == s })
}

// acked returns the cursor: the highest seq such that nothing up to it is in flight. sent is
// the last seq that was sent.
//
// The cursor is safe to store, that is, no device misses a notification because of it. A seq
// above sent has not been read yet, because seqs become visible in order (see [LogReader]). For a
// seq at or below the cursor one of these holds:
//
//   - It was acknowledged, or exceeded the device's Maximum Packet Size, which counts as
//     delivered.
//   - Its row is gone: deleted, superseded, expired or retained out. Rows do not come back,
//     and no seq is used twice. The notification that superseded it was committed in the same
//     transaction with a higher seq, and is delivered as well.
//   - It was appended while everything, or its kind, was muted. The row records that
//     permanently, and it is never delivered.
//   - It was appended before its kind was muted, and the pump read past it during the mute.
//     When the mute ends it is listed again, but not delivered to this device, because a
//     cursor does not go back. If the pump sent nothing after it, the cursor is still before
//     it, and it is delivered. While everything is muted nothing is read, so no cursor moves.
//   - It had expired by the database's clock, or by the hub's reading of that clock, which is
//     off by at most half the time of a poll. If the database's clock is set back, a row may
//     become visible again after a cursor has passed it; nothing is promised about such a row
//     (docs/guarantees.md).
//
// TestModelKeepsEveryInvariant checks this with mutes of kinds, supersession and expiry.
func (w *window) acked(sent bridge.Seq) bridge.Seq {
	if len(w.flights) == 0 {
		return sent
	}
	return w.flights[0].seq - 1
}

// aux allocates the packet ids of the second range and has those in flight.
type aux struct {
	next     uint16 // offset in the range of the next id to try
	inflight []uint16
}

// acquire allocates an id. One is always free, because at most as many are in flight as the
// device's window has room for.
func (a *aux) acquire() uint16 {
	for {
		id := uint16(ownIDs + 1 + int(a.next)%auxIDs)
		a.next = uint16((int(a.next) + 1) % auxIDs)
		if !a.uses(id) {
			a.inflight = append(a.inflight, id)
			return id
		}
	}
}

func (a *aux) uses(id uint16) bool {
	return slices.Contains(a.inflight, id)
}

// complete releases the id. It returns false if the id is not in flight.
func (a *aux) complete(id uint16) bool {
	n := len(a.inflight)
	a.inflight = slices.DeleteFunc(a.inflight, func(used uint16) bool { return used == id })
	return len(a.inflight) < n
}
