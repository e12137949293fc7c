package delivery

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// Run does the hub's regular work until ctx ends: it sweeps, polls, writes cursors, prunes
// and sends heartbeats. Then it writes the remaining cursors and removes the node from the
// cluster, each within Options.Query, and returns the errors of these two.
func (h *Hub) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for i, f := range []func(context.Context){h.node.pollRegularly, h.node.beat, h.sweepRegularly, h.flushCursors,
		h.node.registerRegularly, h.endExpiredAndSilent, h.pruneRegularly, h.expireRegularly} {
		wg.Go(func() {
			pause(ctx, time.Duration(i)*stagger)
			f(ctx)
		})
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

// stagger is the time between the starts of two of Run's loops. Their intervals are 1 to 5 s,
// so loops that start together would query the database together every few seconds, and
// notifications would wait for all of these queries at once. The first loop to start is the
// poll, because the hub delivers nothing before it.
const stagger = 20 * time.Millisecond

// every calls f at once and then at intervals of d until ctx ends.
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

// sweepStep is the most notifications that one step of the sweep reads. Postgres needs 2 to
// 5 ms for it, in which it delays an append on a busy machine by as much.
const sweepStep = 1000

// sweepRegularly makes up for lost hints until ctx ends. A sweep reads which users' logs have
// grown since the last sweep, and wakes their pumps. If a read of the sweep or of a pump has
// failed, the next sweep begins soon. Once one succeeds, sweepRegularly wakes the pumps that
// went idle because of the failure.
//
// Between two steps of a sweep there is a pause of twice the time that a step took, so that
// the sweep of a busy cluster does not occupy the database. The pauses end when the sweep has
// taken as long as the interval between two, because it would fall behind.
func (h *Hub) sweepRegularly(ctx context.Context) {
	tick, retry := time.NewTicker(h.o.Sweep), time.NewTicker(min(h.o.Sweep, 500*time.Millisecond))
	defer tick.Stop()
	defer retry.Stop()
	var pos bridge.Position
	begun := time.Now()
	for ctx.Err() == nil {
		step := time.Now()
		next, more, err := h.sweepOnce(ctx, pos)
		if err == nil {
			pos = next
			if h.readFailed.Swap(false) {
				h.wakeAll(false)
			}
			if more {
				rest := time.NewTimer(min(2*time.Since(step), h.o.Sweep-time.Since(begun)))
				select {
				case <-ctx.Done():
				case <-rest.C:
				case <-h.sweep: // what it is about is ahead of this sweep
				}
				rest.Stop()
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
			case <-retry.C: // sweep only if the last sweep or a read since then has failed
				wait = pos != "" && !h.readFailed.Load()
			}
		}
		begun = time.Now()
	}
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// sweepOnce does one step of the sweep from pos, "" for the first step, and returns the
// position of the next step. more reports that the sweep is not complete.
func (h *Hub) sweepOnce(ctx context.Context, pos bridge.Position) (next bridge.Position, more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, h.o.Query)
	defer cancel()
	if pos == "" {
		if next, err = h.o.Feed.Now(ctx); err == nil {
			h.wakeAll(true) // logs may have grown before the first position
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
		h.Hint(bridge.Hint{Type: bridge.HintAppended, User: c.User, Seq: c.Last}) // most pumps have sent it by now
	}
	return next, more, nil
}

// wakeAll wakes every pump and every follower of states. With reload, every pump reads its log.
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

// figures are the hub's counters.
type figures struct {
	connections, sent, copies, acked, reads, oversize atomic.Int64

	repairs atomic.Int64
	removed [len(removals)]atomic.Int64
}

// Upkeep are counters of the hub's regular work since it was made.
type Upkeep struct {
	Repairs int64            // times that the sweep found something to send before a hint did
	Removed map[string]int64 // removed rows by reason; has every reason
}

// Upkeep returns the counters.
func (h *Hub) Upkeep() Upkeep {
	u := Upkeep{Repairs: h.figures.repairs.Load(), Removed: make(map[string]int64, len(removals))}
	for i, why := range removals {
		u.Removed[why] = h.figures.removed[i].Load()
	}
	return u
}

// Figures returns the counters except InFlight, which the heartbeat adds from [Hub.Backlog].
func (h *Hub) Figures() bridge.Figures {
	f := &h.figures
	out := bridge.Figures{Connections: f.connections.Load(), Sent: f.sent.Load(), Copies: f.copies.Load(), Acked: f.acked.Load(), Reads: f.reads.Load(), Oversize: f.oversize.Load(), Refused: 0}
	if h.o.Refused != nil {
		out.Refused = h.o.Refused()
	}
	return out
}

// Backlog describes what this node's devices have not received or acknowledged.
type Backlog struct {
	Sessions int                    // connections with something in flight or to be sent
	InFlight int                    // notifications sent and not acknowledged
	Own      int                    // how many of InFlight were sent on users' own topics
	Open     map[ConnectionType]int // connections
	Oldest   time.Time              // when the oldest of Own was committed; zero: none
}

// ConnectionType is the transport and protocol of a connection.
type ConnectionType struct {
	Transport string // one of Transports
	Protocol  byte   // 4 or 5
}

// Backlog looks at every connection, locking one at a time. That takes some 10 ms for 100,000.
func (h *Hub) Backlog() (b Backlog) {
	b.Open = make(map[ConnectionType]int)
	h.each(func(c *Conn) {
		c.mu.Lock()
		defer c.mu.Unlock()
		b.Open[ConnectionType{c.request.Transport, c.request.Protocol}]++
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
