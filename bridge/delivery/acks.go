package delivery

import (
	"context"
	"sync"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// Acks stores what connections acknowledged, for package late, which follows notifications
// that were not acknowledged in time. Cursors alone are not enough for it: a device without
// a session has none, and the cursor of an ended session is gone.
type Acks interface {
	// Acknowledged stores acks in one statement. It may fail with ErrUnavailable.
	Acknowledged(ctx context.Context, acks []bridge.Ack) error
}

// ackFlush is the interval at which acknowledgements are stored, so that they are on disk
// within a second.
const ackFlush = 500 * time.Millisecond

// ackKey identifies the connection of an Ack.
type ackKey struct {
	device     bridge.Device
	generation int64
}

// acks has the acknowledgements of this node's connections that are to be stored. If a write
// fails, the next flush repeats it.
type acks struct {
	mu      sync.Mutex // innermost: no other lock is taken while it is held
	pending map[ackKey]bridge.Ack
}

// put adds a. It merges a with a pending acknowledgement of the same connection, unless there
// is a gap between the two: then a replaces the pending one.
func (s *acks) put(a bridge.Ack) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := ackKey{a.Device, a.Generation}
	if old, ok := s.pending[key]; ok && a.From <= old.To {
		a.From, a.To = min(a.From, old.From), max(a.To, old.To)
	}
	s.pending[key] = a
}

func (s *acks) drain() []bridge.Ack {
	s.mu.Lock()
	defer s.mu.Unlock()
	acks := make([]bridge.Ack, 0, len(s.pending))
	for _, a := range s.pending {
		acks = append(acks, a)
	}
	clear(s.pending)
	return acks
}

// recordAck records that the cursor of the own topic has moved. c.mu is held.
func (c *Conn) recordAck() {
	if o := &c.hub.o; o.Acks != nil && (o.AllAcks || !c.persistent) && c.acked > c.ackedFrom {
		c.hub.acks.put(bridge.Ack{Device: c.device, Generation: c.gen, From: c.ackedFrom, To: c.acked})
	}
}

// storeAcks stores acknowledgements until ctx ends, and then the last ones.
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
	acks := h.acks.drain()
	for len(acks) > 0 {
		n := min(len(acks), flushChunk)
		q, cancel := context.WithTimeout(ctx, h.o.Query)
		err := h.o.Acks.Acknowledged(q, acks[:n])
		cancel()
		if err != nil {
			for _, a := range acks {
				h.acks.put(a)
			}
			if ctx.Err() == nil {
				h.failures.warn("storing acknowledgements failed, will be retried", err)
			}
			return
		}
		acks = acks[n:]
	}
}
