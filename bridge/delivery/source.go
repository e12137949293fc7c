package delivery

import (
	"context"
	"slices"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// cacheMax is how many notifications from hints a source caches. If there are more, it reads
// the log.
const cacheMax = 64

// userLog is the source of a subscription to another user's topic. [ownLog], the source of the
// device's own topic, embeds it.
type userLog struct {
	p    *pump
	user bridge.UserID
	pos  bridge.Seq // the position: everything up to it was sent or is not deliverable

	cache   []bridge.Notification // from hints, contiguous from pos+1
	cacheAt time.Time             // when the append of the oldest cached notification began
	behind  bool                  // the log may have more than cache, and has to be read
	missed  bool                  // the sweep found the log grown before a hint did

	invalidations int      // counts the mutes and deletes that hints reported
	erased        int64    // Order.Before of the last erasure that made the source start over
	asOf          snapshot // at the last pop
}

// snapshot has what must not change between a read and the use of its page.
type snapshot struct {
	pos           bridge.Seq
	invalidations int
}

func (l *userLog) due() bool { return l.behind || len(l.cache) > 0 }

func (l *userLog) reload() { l.behind, l.cache = true, nil }

func (l *userLog) pop(limit int) []bridge.Notification {
	l.asOf = snapshot{l.pos, l.invalidations}
	for len(l.cache) > 0 && l.cache[0].Seq <= l.pos {
		l.cache = l.cache[1:]
	}
	if l.behind || len(l.cache) == 0 || l.cache[0].Seq != l.pos+1 || time.Since(l.cacheAt) > bridge.HintLife {
		l.cache = nil
		l.behind = false // before the read, so that a hint during the read sets it again
		return nil
	}
	n := min(limit, len(l.cache))
	page := l.cache[:n:n]
	if l.cache = l.cache[n:]; len(l.cache) == 0 {
		l.cache = nil
	}
	return page
}

func (l *userLog) read(ctx context.Context, limit int) ([]bridge.Notification, error) {
	return l.p.c.hub.o.Log.After(ctx, l.user, l.asOf.pos, limit)
}

func (l *userLog) accept(page []bridge.Notification, limit, room int) []bridge.Notification {
	if l.asOf != (snapshot{l.pos, l.invalidations}) {
		// During the read a SUBSCRIBE with since moved the position, or a mute or delete was
		// committed.
		l.reload()
		return nil
	}
	if l.missed {
		l.missed = false
		if len(page) > 0 {
			l.p.c.hub.figures.repairs.Add(1)
		}
	}
	if len(page) == limit {
		l.behind = true
	}
	if len(page) > room {
		l.reload()
		page = page[:room]
	}
	return page
}

func (l *userLog) prepare(m *Message) bool {
	l.pos = m.Seq
	return true
}

func (l *userLog) register(h *Hub) {
	h.change(l.user, func(e *entry) { e.logs = append(slices.Clip(e.logs), l) })
}

func (l *userLog) unregister(h *Hub) {
	h.change(l.user, func(e *entry) { e.logs = without(e.logs, l) })
}

// offer handles a hint. It caches the notifications of the hint if they continue what l has;
// otherwise the log is read.
func (l *userLog) offer(h bridge.Hint) {
	l.p.c.mu.Lock()
	defer l.p.c.mu.Unlock()
	if h.Seq <= l.pos {
		return
	}
	next := l.pos + 1
	if n := len(l.cache); n > 0 {
		next = l.cache[n-1].Seq + 1
	}
	items := h.Items
	for len(items) > 0 && items[0].Seq < next {
		items = items[1:]
	}
	if l.behind || len(items) == 0 || items[0].Seq != next || len(l.cache)+len(items) > cacheMax {
		l.reload()
	} else {
		if len(l.cache) == 0 {
			l.cacheAt = h.At
		}
		l.cache = append(l.cache, items...)
	}
	l.p.wake()
}

// markMissed is called when the sweep finds that the log has grown up to seq. If no hint told
// l so, the hint was probably lost, which accept counts as a repair once a read has returned
// something. An empty read is no sign of a lost hint, because muted notifications have none.
func (l *userLog) markMissed(seq bridge.Seq) {
	l.p.c.mu.Lock()
	defer l.p.c.mu.Unlock()
	if seq > l.pos && l.p.state == idle && !l.due() {
		l.missed = true
	}
}

// invalidate discards what hints carried and makes the log be read again, after a mute, the
// end of a mute or a delete was committed. At the end of a mute, notifications that it hid
// become due for a device that connected during it.
func (l *userLog) invalidate() {
	l.p.c.mu.Lock()
	defer l.p.c.mu.Unlock()
	l.invalidations++
	if r := l.p.retained; r != nil {
		r.at = time.Time{}
	}
	l.reload()
	l.p.resume(awaitingAck) // the next notification, whose packet id is in use, may be the deleted one
}

// discardUnsent discards notifications that were read but not sent, because a newer state was
// read meanwhile. c.mu is held.
func (l *userLog) discardUnsent() {
	l.invalidations++
	if r := l.p.retained; r != nil {
		r.at = time.Time{}
	}
	if len(l.cache) > 0 {
		l.reload()
	}
}

// startOver makes l read the log from its start, once for each order. The user was erased,
// and the seqs of a new user with the same id begin at 1 again. Notifications of the new user
// that were sent before the order was read are sent again.
func (l *userLog) startOver(order int64) {
	c := l.p.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gen >= order || l.erased >= order {
		return
	}
	l.erased = order
	l.invalidations++
	l.pos = 0
	l.reload()
	l.p.wake()
}

// moveTo sets the position and discards what hints carried. The log is then read if more is
// true or something was due before. c.mu is held.
func (l *userLog) moveTo(pos bridge.Seq, more bool) {
	l.pos = pos
	l.behind, l.cache = l.due() || more, nil
	if l.p.state == awaitingAck {
		l.p.state = idle
	}
}

// ownLog is the source of the device's own topic. Acknowledgements move the device's cursor,
// so it has a window of what is in flight. Its packet ids follow from the seqs.
type ownLog struct {
	userLog
	sent      bridge.Seq    // the highest seq sent so far; a replay does not lower it
	dupUpTo   bridge.Seq    // up to it, messages may have been sent before and have DUP set
	win       window        // in flight
	skips     []bridge.Skip // the last ranges that the cursor passes without an acknowledgement
	savedSent bridge.Seq    // the value of sent that saveSent saved last
}

// skip records that the cursor passes s without an acknowledgement.
func (l *ownLog) skip(s bridge.Skip) {
	if len(l.skips) == bridge.MaxSkips {
		l.skips = slices.Delete(l.skips, 0, 1)
	}
	l.skips = append(l.skips, s)
}

// passed removes and returns the skips that a cursor at acked has passed. A later connection
// may still send what the other skips contain, if the user ends a mute.
func (l *ownLog) passed(acked bridge.Seq) (out []bridge.Skip) {
	var ahead []bridge.Skip
	for _, s := range l.skips {
		if s.UpTo <= acked {
			out = append(out, s)
		} else {
			ahead = append(ahead, s)
		}
	}
	l.skips = ahead
	return out
}

func (l *ownLog) prepare(m *Message) bool {
	if m.QoS > 0 {
		if !l.win.admits(m.Seq) || l.p.c.retired.uses(PacketID(m.Seq)) {
			return false
		}
		m.PacketID = PacketID(m.Seq)
		m.Dup = m.Seq <= l.dupUpTo
		l.win.add(m.Notification)
	}
	if m.Seq > l.pos+1 {
		l.skip(bridge.Skip{Above: l.pos, UpTo: m.Seq - 1, Why: bridge.SkipUnread})
	}
	l.sent = max(l.sent, m.Seq)
	return l.userLog.prepare(m)
}
