package delivery

import (
	"context"
	"sync"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// Acks stores what connections acknowledged, for the follower of late notifications.
// It is for what cursors do not say: a device without a session has none, and that of a
// session that ended is gone.
type Acks interface {
	Acknowledged(ctx context.Context, as []bridge.Ack) error
}

// ackFlush is how often acknowledgements are stored: they are on disk within a second.
const ackFlush = 500 * time.Millisecond

// connection names what an Ack is of.
type ackKey struct {
	device     bridge.Device
	generation int64
}

// acks are the acknowledgements of this node's connections that wait to be stored. What
// fails to be stored waits for the next flush.
type acks struct {
	mu      sync.Mutex // innermost: whoever has it takes no other lock
	pending map[ackKey]bridge.Ack
}

// put joins a with what waits of its connection. A jump begins a new range.
func (s *acks) put(a bridge.Ack) {
	s.mu.Lock()
	defer s.mu.Unlock()
	of := ackKey{a.Device, a.Generation}
	if old, ok := s.pending[of]; ok && a.From <= old.To {
		a.From, a.To = min(a.From, old.From), max(a.To, old.To)
	}
	s.pending[of] = a
}

func (s *acks) drain() []bridge.Ack {
	s.mu.Lock()
	defer s.mu.Unlock()
	as := make([]bridge.Ack, 0, len(s.pending))
	for _, a := range s.pending {
		as = append(as, a)
	}
	clear(s.pending)
	return as
}

// acknowledged notes that the cursor of the own topic moved; c.mu is held.
func (c *Conn) recordAck() {
	if o := &c.hub.o; o.Acks != nil && (o.AllAcks || !c.persistent) && c.acked > c.ackedFrom {
		c.hub.acks.put(bridge.Ack{Device: c.device, Generation: c.gen, From: c.ackedFrom, To: c.acked})
	}
}

// storeAcks stores acknowledgements until ctx ends, and the last ones then.
func (h *Hub) storeAcks(ctx context.Context) {
	t := time.NewTicker(ackFlush)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), h.o.Query)
			defer cancel()
			h.flushAcks(last)
			return
		case <-t.C:
			h.flushAcks(ctx)
		}
	}
}

func (h *Hub) flushAcks(ctx context.Context) {
	as := h.acks.drain()
	for len(as) > 0 {
		n := min(len(as), flushChunk)
		q, cancel := context.WithTimeout(ctx, h.o.Query)
		err := h.o.Acks.Acknowledged(q, as[:n])
		cancel()
		if err != nil {
			for _, a := range as {
				h.acks.put(a)
			}
			if ctx.Err() == nil {
				h.o.Logger.Warn("acknowledgements wait for the database", "error", err)
			}
			return
		}
		as = as[n:]
	}
}
