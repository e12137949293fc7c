package delivery

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// Run sweeps, polls, flushes cursors, prunes and beats until ctx ends. Then it
// flushes what is left and takes the node out of the cluster's view, each within
// Options.Query.
func (h *Hub) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, f := range []func(context.Context){h.flusher, h.sweeper, h.beater, h.watcher, h.poller, h.registrar, h.pruner} {
		wg.Go(func() { f(ctx) })
	}
	wg.Wait()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), h.o.Query)
	defer cancel()
	err := h.flush(last, false)
	last, cancel = context.WithTimeout(context.WithoutCancel(ctx), h.o.Query)
	defer cancel()
	return errors.Join(err, h.o.Cluster.Leave(last, h.o.Node))
}

// beatEvery is how often a node says that it lives; see NodeTimeout.
const beatEvery = 4 * time.Second

func (h *Hub) beater(ctx context.Context) {
	last := time.Now() // begin of the last beat that was stored: it may be that old
	h.every(ctx, beatEvery, func() {
		begun := time.Now()
		q, cancel := context.WithTimeout(ctx, h.o.Query)
		defer cancel()
		if err := h.o.Cluster.Beat(q, h.o.Node, h.Figures()); err != nil && ctx.Err() == nil {
			h.o.Logger.Warn("the beat waits for the database", "error", err)
		} else if err == nil {
			if time.Since(last) > bridge.NodeTimeout { // taken for dead
				h.roll.again()
			}
			last = begun
		}
	})
}

// every calls f at once and then each d until ctx ends.
func (h *Hub) every(ctx context.Context, d time.Duration, f func()) {
	t := time.NewTicker(d)
	defer t.Stop()
	for {
		f()
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// sweepStep is how many notifications a step of the sweep reads at most.
const sweepStep = 5000

// sweeper repairs lost hints: it asks which users' logs grew since it last
// looked, and wakes them. After a failed read it looks again soon, and then wakes the
// pumps that wait for the database.
func (h *Hub) sweeper(ctx context.Context) {
	tick, retry := time.NewTicker(h.o.Sweep), time.NewTicker(min(h.o.Sweep, 500*time.Millisecond))
	defer tick.Stop()
	defer retry.Stop()
	var pos bridge.Position
	for ctx.Err() == nil {
		next, more, err := h.sweepOnce(ctx, pos)
		if err == nil {
			pos = next
			if h.failed.Swap(false) {
				h.wakeAll(false)
			}
			if more {
				continue
			}
		}
		for wait := true; wait; {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				wait = false
			case <-h.sweep:
				wait = false
			case <-retry.C: // where this sweep failed, or a pump's read since
				wait = pos != "" && !h.failed.Load()
			}
		}
	}
}

// sweepOnce is one step of the sweep, from pos; "" is before the first one.
func (h *Hub) sweepOnce(ctx context.Context, pos bridge.Position) (next bridge.Position, more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, h.o.Query)
	defer cancel()
	if pos == "" {
		if next, err = h.o.Feed.Now(ctx); err == nil {
			h.wakeAll(true) // what came before the first position
		}
		return next, false, err
	}
	changes, next, more, err := h.o.Feed.Changed(ctx, pos, sweepStep)
	if err != nil {
		h.failed.Store(true)
		return pos, false, err
	}
	for _, c := range changes {
		h.Hint(bridge.Hint{Type: bridge.HintAppended, User: c.User, Seq: c.Last}) // no news to most pumps
	}
	return next, more, nil
}

// wakeAll starts the pumps that are behind; with force, every one.
func (h *Hub) wakeAll(force bool) {
	h.each(func(c *Conn) {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, p := range append(c.others[:len(c.others):len(c.others)], c.own) {
			if p != nil {
				p.behind = p.behind || force
				p.start()
			}
		}
	})
}

// watcher ends connections that are silent past the acknowledgement deadline or
// whose token has expired or has lost its key. One pass over all, a few times a deadline, is cheaper
// than a timer a connection.
func (h *Hub) watcher(ctx context.Context) {
	h.every(ctx, max(10*time.Millisecond, min(h.o.AckWait/4, 2*time.Second)), func() {
		now := time.Now()
		h.each(func(c *Conn) {
			c.mu.Lock()
			defer c.mu.Unlock()
			switch {
			case !c.valid(now):
				c.endLocked(bridge.EndExpired)
			case !c.since.IsZero() && now.Sub(c.since) > h.o.AckWait:
				c.endLocked(bridge.EndSilent)
			}
		})
	})
}

// figures count what the hub does.
type figures struct{ connections, sent, acked, reads, oversize atomic.Int64 }

// Figures returns the counters.
func (h *Hub) Figures() bridge.Figures {
	f := &h.figures
	out := bridge.Figures{Connections: f.connections.Load(), Sent: f.sent.Load(), Acked: f.acked.Load(), Reads: f.reads.Load(), Oversize: f.oversize.Load(), Refused: 0}
	if h.o.Refused != nil {
		out.Refused = h.o.Refused()
	}
	return out
}
