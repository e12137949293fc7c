package delivery

import (
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// traces remembers, for [bridge.HintLife], whose traceparents live hints carried. A pump
// looks here for what it claims, whether its notification came with a hint or was read
// from the log: other nodes' hints carry no notification, and one that supersedes is
// always read. What comes later than that is no live delivery and has no trace.
//
// It is bounded by maxTraces a shard, and costs one atomic read a message while nothing is
// traced.
type traces struct {
	last   atomic.Int64 // when add was called last, in ns since 1970
	shards [64]traceShard
}

type traceShard struct {
	mu  sync.Mutex   // innermost: whoever has it takes no other lock
	all []traceEntry // oldest first
}

// trace is the traceparent of a user's notifications from one seq to another.
type traceEntry struct {
	user        bridge.UserID
	from, to    bridge.Seq
	traceparent string
	at          time.Time
}

// maxTraces of a shard are kept, in all 16,384: that many traced calls a second. The
// oldest goes.
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

// of returns the traceparent of u's seq; "" where none is known.
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

// trace remembers the traceparent of a hint that wakes somebody here. Where it is sampled
// the deliveries go below a span of this node; done ends it.
func (h *Hub) traceHint(hint bridge.Hint) (done func(error)) {
	n := traceEntry{user: hint.User, from: hint.From, to: hint.Seq, traceparent: hint.Traceparent, at: time.Now()}
	done = func(error) {}
	if bridge.Sampled(h.o.Tracer, n.traceparent) {
		n.traceparent, done = h.o.Tracer.Start(n.traceparent, bridge.SpanHint, n.at, slog.Int64("falconbridge.seq", int64(hint.Seq)))
	}
	h.traces.add(n)
	return done
}

// sent is the span of a message that awaits its acknowledgement.
type sentSpan struct {
	traceparent string
	at          time.Time // when it was claimed
}

// trace gives m, which was just claimed at now, its trace where a live hint brought one.
// c.mu is held.
func (p *pump) traceMessage(m *Message, now time.Time) {
	c := p.c
	o := &c.hub.o
	m.Traceparent = c.hub.traces.find(m.User, m.Seq, now)
	if m.Traceparent == "" {
		return
	}
	if !c.live(m.CreatedAt) { // it is replayed to a device that came after it
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

// traceAck records that the device acknowledged f; c.mu is held.
func (c *Conn) traceAck(f flight) {
	if f.span != nil {
		_, end := c.hub.o.Tracer.Start(f.span.traceparent, bridge.SpanAck, f.span.at)
		end(nil)
	}
}
