package delivery

import (
	"slices"

	"github.com/falconalert/falconbridge/bridge"
)

// Packet ids are split into two ranges, so that the id alone says what an
// acknowledgement completes:
//
//   - 1 to ownIDs: the device's own notifications. The id follows from the seq, so it
//     needs no map, and a resend after a crash has the id of the first attempt.
//   - above: everything else, that is retained copies and other users' notifications,
//     by allocation.
const (
	ownIDs = 49152
	lastID = 65535
	auxIDs = lastID - ownIDs
)

// PacketID is the packet id under which s is sent to a device of its own user.
func PacketID(s bridge.Seq) uint16 { return uint16(1 + (s-1)%ownIDs) }

// window holds what was sent with QoS 1 and not yet acknowledged, ascending.
type window struct{ flights []flight }

// flight is a notification on its way.
type flight struct {
	seq    bridge.Seq
	commit int64     // when it was committed, in ms since 1970
	span   *sentSpan // nil: not traced
}

// is reports whether f has the packet id.
func (f flight) has(id uint16) bool { return PacketID(f.seq) == id }

// admits reports whether s may be sent while the seqs of w are in flight. Two seqs that
// are a multiple of ownIDs apart share a packet id, so the later one has to wait.
func (w *window) admits(s bridge.Seq) bool {
	if len(w.flights) == 0 || s-w.flights[0].seq < ownIDs {
		return true
	}
	return !w.uses(PacketID(s))
}

func (w *window) add(n *bridge.Notification) {
	w.flights = append(w.flights, flight{seq: n.Seq, commit: n.CreatedAt.UnixMilli()})
}

// uses reports whether the packet id is that of a seq in w.
func (w *window) uses(id uint16) bool {
	return slices.ContainsFunc(w.flights, func(f flight) bool { return f.has(id) })
}

// complete removes and returns the flight with that packet id; false where there is none.
func (w *window) complete(id uint16) (done flight, found bool) {
	for i, f := range w.flights {
		if f.has(id) {
			w.flights = slices.Delete(w.flights, i, i+1)
			return f, true
		}
	}
	return flight{}, false
}

func (w *window) drop(s bridge.Seq) {
	w.flights = slices.DeleteFunc(w.flights, func(f flight) bool { return f.seq == s })
}

// acked is the cursor: the highest seq such that nothing up to it awaits an
// acknowledgement, where sent is the last seq that was sent.
//
// The cursor is safe to store: no device misses by it what it was promised. A seq above
// sent was not read yet, as seqs become visible in order (see [Log]). One at or below the
// cursor is in one of these cases:
//
//   - It was acknowledged, or was over the device's Maximum Packet Size, which counts as
//     delivered.
//   - Its row is gone: deleted, superseded, expired and swept, or retained out. No row
//     comes back and no seq is given twice. What superseded it has a higher seq, in the
//     same commit, and is delivered in its turn.
//   - It came while all or its kind was muted. The row says so for ever (muted), and is
//     never delivered.
//   - It came before its kind was muted, and was hidden when the pump read past it. It is
//     listed again once the mute ends, and not delivered to this device: the cursor does
//     not go back, as the contract says. Where the pump sent nothing behind it, the cursor
//     is still before it, and it is delivered. While all is muted nothing is read at all, so
//     that no cursor moves.
//   - It had expired by the database's clock, by which a row expires for every read at once,
//     or by the hub's reading of it, which is exact to half of what a poll takes. That clock
//     passes each instant once: set back, it may show a row again that a cursor has passed,
//     and nothing is promised of that one (docs/guarantees.md).
//
// TestModelKeepsEveryInvariant checks this with mutes of kinds, supersession and expiry.
func (w *window) acked(sent bridge.Seq) bridge.Seq {
	if len(w.flights) == 0 {
		return sent
	}
	return w.flights[0].seq - 1
}

// aux is the in-flight table of the second id range.
type aux struct {
	next     uint16 // offset of the next id to try
	inflight []uint16
}

// acquire allocates an id. There are at most as many entries as the device's window
// allows, so one is always free.
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

// complete removes the entry with that id; false where there is none.
func (a *aux) complete(id uint16) bool {
	n := len(a.inflight)
	a.inflight = slices.DeleteFunc(a.inflight, func(used uint16) bool { return used == id })
	return len(a.inflight) < n
}
