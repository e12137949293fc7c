package delivery

import (
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// traces keeps the traceparents that hints carried, for [bridge.HintLife]. A pump looks here
// for each notification that it sends, even for one that it has read from the log: hints of
// other nodes carry no notifications, and a notification that supersedes others is always
// read. A notification that is sent after HintLife is not live and has no trace.
//
// It has at most maxTraces entries in a shard, and costs one atomic load for each message
// while nothing is traced.
type traces struct {
	last   atomic.Int64 // when add was last called, Unix nanoseconds
	shards [64]traceShard
}

type traceShard struct {
	mu  sync.Mutex   // innermost: no other lock is taken while it is held
	all []traceEntry // oldest first
}

// traceEntry is the traceparent of a user's notifications from one seq to another.
type traceEntry struct {
	user        bridge.UserID
	from, to    bridge.Seq
	traceparent string
	at          time.Time
}

// maxTraces is how many entries a shard keeps; if there are more, the oldest is dropped. All
// shards together have room for 16,384 traced calls a second.
const maxTraces = 256

func (t *traces) shard(u bridge.UserID) *traceShard {
	return &t.shards[hash(u)%uint32(len(t.shards))]
}

func (t *traces) add(n traceEntry) {
	s := t.shard(n.user)
	s.mu.Lock()
	defer s.mu.Unlock()
	stale := 0
	for stale < len(s.all) && (n.at.Sub(s.all[stale].at) > bridge.HintLife || len(s.all)-stale >= maxTraces) {
		stale++
	}
	s.all = append(slices.Delete(s.all, 0, stale), n)
	t.last.Store(n.at.UnixNano())
}

// find returns the traceparent of u's seq, or "" if none is known.
func (t *traces) find(u bridge.UserID, seq bridge.Seq, now time.Time) string {
	if now.UnixNano()-t.last.Load() > int64(bridge.HintLife) {
		return ""
	}
	s := t.shard(u)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range slices.Backward(s.all) {
		if n.user == u && n.from <= seq && seq <= n.to && now.Sub(n.at) <= bridge.HintLife {
			return n.traceparent
		}
	}
	return ""
}

// traceHint adds the traceparent of a hint that wakes a pump on this node. If it is sampled,
// the deliveries become children of a span of this node, which done ends.
func (h *Hub) traceHint(hint bridge.Hint) (done func(error)) {
	n := traceEntry{user: hint.User, from: hint.From, to: hint.Seq, traceparent: hint.Traceparent, at: time.Now()}
	done = func(error) {}
	if bridge.Sampled(h.o.Tracer, n.traceparent) {
		n.traceparent, done = h.o.Tracer.Start(n.traceparent, bridge.SpanHint, n.at, slog.Int64("falconbridge.seq", int64(hint.Seq)))
	}
	h.traces.add(n)
	return done
}

// sentSpan is the span of a message in flight.
type sentSpan struct {
	traceparent string
	at          time.Time // when it was reserved
}

// traceMessage sets the traceparent of m, which was reserved at now, if a hint brought one and
// m is delivered live. If it is sampled, a span begins. c.mu is held.
func (p *pump) traceMessage(m *Message, now time.Time) {
	c := p.c
	o := &c.hub.o
	m.Traceparent = c.hub.traces.find(m.User, m.Seq, now)
	if m.Traceparent == "" {
		return
	}
	if !c.live(m.CreatedAt) { // replayed to a device that connected later
		m.Traceparent = ""
		return
	}
	if !bridge.Sampled(o.Tracer, m.Traceparent) {
		return
	}
	m.Traceparent, m.end = o.Tracer.Start(m.Traceparent, bridge.SpanSend, now,
		slog.String("falconbridge.transport", c.request.Transport), slog.Int64("falconbridge.seq", int64(m.Seq)))
	if c.isOwn(p) && m.QoS > 0 {
		c.own.win.flights[len(c.own.win.flights)-1].span = &sentSpan{m.Traceparent, now}
	}
}

// traceAck records the span of the acknowledgement of f, if f is traced. c.mu is held.
func (c *Conn) traceAck(f flight) {
	if f.span != nil {
		_, end := c.hub.o.Tracer.Start(f.span.traceparent, bridge.SpanAck, f.span.at)
		end(nil)
	}
}
