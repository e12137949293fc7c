package delivery

import (
	"context"
	"slices"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// cacheMax bounds how many notifications a source keeps from hints; past it the log
// is read.
const cacheMax = 64

// userLog is another user's log, or the own one of a device without what only that
// has, see [ownLog].
type userLog struct {
	p    *pump
	user bridge.UserID
	pos  bridge.Seq // everything up to here was sent, or is not deliverable

	cache   []bridge.Notification // contiguous from pos+1, from hints
	cacheAt time.Time             // of the oldest
	behind  bool                  // the log may hold more than cache
	missed  bool                  // the sweep made it due, and no hint did

	invalidations int      // mutes and deletes that were committed, as hints said
	erased        int64    // Before of the last order that made it start over
	asOf          snapshot // of the last pop
}

// snapshot is what must not have changed between a read and the use of its page.
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
		l.behind = false // before the read: a hint that comes during it sets it again
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
		// A SUBSCRIBE with since moved the position, or a mute or delete was committed.
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

// offer takes what a hint carries where it continues what l has; otherwise the log is
// to be read.
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

// grew notes, for the figures, that the sweep found the log grown up to seq before a hint
// said so. Whether there is something to send is known once the log is read: what is muted
// makes no hint.
func (l *userLog) markMissed(seq bridge.Seq) {
	l.p.c.mu.Lock()
	defer l.p.c.mu.Unlock()
	if seq > l.pos && l.p.state == idle && !l.due() {
		l.missed = true
	}
}

// forget drops what hints carried and has the log read again: a mute, its end or a
// delete was committed. What a mute hid from a device that came during it is due once
// it ends.
func (l *userLog) invalidate() {
	l.p.c.mu.Lock()
	defer l.p.c.mu.Unlock()
	l.invalidations++
	if r := l.p.retained; r != nil {
		r.at = time.Time{}
	}
	l.reload()
	l.p.resume(awaitingAck) // the seq it waits for may be the one deleted
}

// void drops what was read before now, and not sent: it is older than a state that was
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

// startOver reads the log from its start, once an order: the user was erased, and
// whoever has the same id now gets seqs from 1 on. Notifications that were sent before
// the order came are sent again.
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

// restart is for another position: what hints carried is to be read from the log.
// c.mu is held.
func (l *userLog) moveTo(pos bridge.Seq, more bool) {
	l.pos = pos
	l.behind, l.cache = l.due() || more, nil
	if l.p.state == awaitingAck {
		l.p.state = idle
	}
}

// ownLog is the log of the device's own user. Its acknowledgements move the device's
// cursor, so it knows what it sent, and its packet ids follow from the seqs.
type ownLog struct {
	userLog
	sent      bridge.Seq // the highest seq sent, across a replay that went back
	dupUpTo   bridge.Seq // a former attempt may have sent up to here
	win       window
	skips     []bridge.Skip // what the cursor will pass without an acknowledgement, the last ones
	savedSent bridge.Seq    // sent, as it was saved last while the device did not acknowledge
}

// skip notes that s is passed without an acknowledgement.
func (l *ownLog) skip(s bridge.Skip) {
	if len(l.skips) == bridge.MaxSkips {
		l.skips = slices.Delete(l.skips, 0, 1)
	}
	l.skips = append(l.skips, s)
}

// passed returns the skips that a cursor at acked has passed, and forgets them. Those above
// it may be sent yet, by another connection: the user may end a mute.
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
