package delivery

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// Run sweeps, polls, flushes cursors, prunes and beats until ctx ends. Then it flushes
// the remaining cursors and has the node leave the cluster, each within Options.Query.
func (h *Hub) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, f := range []func(context.Context){h.flushCursors, h.sweepRegularly, h.checkDeadlines, h.pruneRegularly, h.expireRegularly,
		h.node.beat, h.node.pollRegularly, h.node.registerRegularly} {
		wg.Go(func() { f(ctx) })
	}
	if h.o.Acks != nil {
		wg.Go(func() { h.storeAcks(ctx) })
	}
	wg.Wait()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), h.o.Query)
	defer cancel()
	err := h.cursors.flush(last, false)
	last, cancel = context.WithTimeout(context.WithoutCancel(ctx), h.o.Query)
	defer cancel()
	return errors.Join(err, h.o.Cluster.Leave(last, h.o.Node))
}

// every calls f at once and then each d until ctx ends.
func every(ctx context.Context, d time.Duration, f func()) {
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

func (h *Hub) flushCursors(ctx context.Context) { h.cursors.run(ctx, h.o.Flush) }

// sweepStep is how many notifications one step of the sweep reads at most.
const sweepStep = 5000

// sweepRegularly repairs lost hints: it reads which users' logs grew since the last
// sweep, and wakes their pumps. After a failed read, by itself or by a pump, it tries
// again soon; once that succeeds it wakes the pumps that wait for the database.
func (h *Hub) sweepRegularly(ctx context.Context) {
	tick, retry := time.NewTicker(h.o.Sweep), time.NewTicker(min(h.o.Sweep, 500*time.Millisecond))
	defer tick.Stop()
	defer retry.Stop()
	var pos bridge.Position
	for ctx.Err() == nil {
		next, more, err := h.sweepOnce(ctx, pos)
		if err == nil {
			pos = next
			if h.readFailed.Swap(false) {
				h.wakeAll(false)
			}
			if more {
				continue
			}
			if err = h.sweepStates(ctx); err != nil {
				h.readFailed.Store(true)
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
			case <-retry.C: // only where this sweep failed, or a pump's read since
				wait = pos != "" && !h.readFailed.Load()
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
			h.wakeAll(true) // their logs may have grown before the first position
		}
		return next, false, err
	}
	changes, next, more, err := h.o.Feed.Changed(ctx, pos, sweepStep)
	if err != nil {
		h.readFailed.Store(true)
		return pos, false, err
	}
	for _, c := range changes {
		for _, l := range h.entry(c.User).logs {
			l.markMissed(c.Last)
		}
		h.Hint(bridge.Hint{Type: bridge.HintAppended, User: c.User, Seq: c.Last}) // most pumps have sent it already
	}
	return next, more, nil
}

// wakeAll wakes every pump that has something to send; with reload, every pump reads
// its log.
func (h *Hub) wakeAll(reload bool) {
	h.each(func(c *Conn) {
		c.mu.Lock()
		defer c.mu.Unlock()
		for p := range c.pumps {
			if reload {
				p.source.reload()
			}
			p.wake()
		}
		c.follower.wake()
	})
}

// watch ends connections that are silent past the acknowledgement deadline, or whose
// token has expired or lost its key. A pass over all connections, a few times a deadline,
// is cheaper than a timer for each.
func (h *Hub) checkDeadlines(ctx context.Context) {
	every(ctx, max(10*time.Millisecond, min(h.o.AckWait/4, 2*time.Second)), func() {
		now := time.Now()
		h.each(func(c *Conn) {
			c.mu.Lock()
			defer c.mu.Unlock()
			switch {
			case !c.valid(now):
				c.endLocked(bridge.EndExpired)
			case !c.ackWaitStart.IsZero() && now.Sub(c.ackWaitStart) > h.o.AckWait:
				c.endLocked(bridge.EndSilent)
			default:
				c.saveSent(now)
			}
		})
	})
}

// figures count what the hub does.
type figures struct {
	connections, sent, copies, acked, reads, oversize atomic.Int64

	repairs atomic.Int64
	removed [len(removals)]atomic.Int64
}

// Upkeep counts what the node's regular work did since its start.
type Upkeep struct {
	Repairs int64            // logs that the sweep found grown, with something to send, before a hint said so
	Removed map[string]int64 // rows, by why; every reason is there
}

// Upkeep returns the counters.
func (h *Hub) Upkeep() Upkeep {
	u := Upkeep{Repairs: h.figures.repairs.Load(), Removed: make(map[string]int64, len(removals))}
	for i, why := range removals {
		u.Removed[why] = h.figures.removed[i].Load()
	}
	return u
}

// Figures returns the counters, without InFlight, which a beat adds.
func (h *Hub) Figures() bridge.Figures {
	f := &h.figures
	out := bridge.Figures{Connections: f.connections.Load(), Sent: f.sent.Load(), Copies: f.copies.Load(), Acked: f.acked.Load(), Reads: f.reads.Load(), Oversize: f.oversize.Load(), Refused: 0}
	if h.o.Refused != nil {
		out.Refused = h.o.Refused()
	}
	return out
}

// Backlog is what this node's devices have not acknowledged.
type Backlog struct {
	Sessions int // devices that are behind: something is in flight or due
	InFlight int // notifications sent and not acknowledged
	Own      int // of InFlight: on users' own topics
	Open     map[Kind]int
	Oldest   time.Time // commit of the oldest of the devices' own in flight; zero: none
}

// Kind is how a device connected.
type Kind struct {
	Transport string // one of Transports
	Protocol  byte   // 4 or 5
}

// Backlog looks at every connection. That takes some 10 ms for 100,000, and a lock of one
// at a time.
func (h *Hub) Backlog() (b Backlog) {
	b.Open = make(map[Kind]int)
	h.each(func(c *Conn) {
		c.mu.Lock()
		defer c.mu.Unlock()
		b.Open[Kind{c.request.Transport, c.request.Protocol}]++
		n := c.inflight() - c.follower.inflight()
		behind := n > 0
		for p := range c.pumps {
			behind = behind || p.source.due()
		}
		if b.InFlight += n; behind {
			b.Sessions++
		}
		if c.own == nil || len(c.own.win.flights) == 0 {
			return
		}
		b.Own += len(c.own.win.flights)
		if at := time.UnixMilli(c.own.win.flights[0].commit); b.Oldest.IsZero() || at.Before(b.Oldest) {
			b.Oldest = at
		}
	})
	return b
}
