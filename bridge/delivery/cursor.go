package delivery

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// A cursor moves in memory with every acknowledgement and on disk at most once
// per Options.Flush: a crash in between costs repeats, never a loss.

// moveCursor takes c.acked to where the own window allows; c.mu is held.
func (c *Conn) moveCursor() {
	if a := c.own.win.acked(c.own.pos); a > c.acked {
		c.acked = a
		moved := c.cursor()
		moved.Skipped = c.own.passed(a)
		c.save(moved)
		c.recordAck()
	}
}

// jump moves the cursor over what the replay cap leaves out.
func (c *Conn) advanceTo(start bridge.Seq) {
	if start > c.acked {
		c.setCursor(start)
	}
}

func (c *Conn) setCursor(start bridge.Seq) {
	c.acked, c.ackedFrom = start, start
	a := c.cursor()
	a.From = start
	c.save(a)
}

// cursor is the cursor as it stands.
func (c *Conn) cursor() bridge.Advance {
	a := bridge.Advance{Device: c.device, Generation: c.gen, Acked: c.acked}
	if c.own != nil {
		a.Sent = c.own.sent
	}
	a.Sent = max(a.Sent, a.Acked)
	if c.shared { // what the former connection sent meanwhile is not known here
		a.Sent = -1
	}
	return a
}

// noteAfter is the silence after which a device counts as slow to acknowledge.
const slowAfter = 500 * time.Millisecond

// noteSent saves how far the connection has sent, where the device does not acknowledge it:
// a cursor that moves is saved with it anyway. It is for explain only, so it is saved when
// [Hub.watch] passes by, not with each message. c.mu is held.
func (c *Conn) saveSent(now time.Time) {
	own := c.own
	if own == nil || len(own.win.flights) == 0 || own.sent <= own.savedSent || c.frozen || now.Sub(c.ackWaitStart) < slowAfter {
		return
	}
	own.savedSent = own.sent
	c.save(c.cursor())
}

// freezeCursor writes what is waiting of the cursor, and keeps it from being
// written again until release is called.
func (c *Conn) freezeCursor(ctx context.Context) (release func(), err error) {
	c.mu.Lock()
	c.frozen = true
	c.mu.Unlock()
	release = func() {
		c.mu.Lock()
		c.frozen = false
		c.mu.Unlock()
	}
	return release, c.hub.cursors.waitAndFlush(ctx, c.device)
}

// save leaves a for the next flush.
func (c *Conn) save(a bridge.Advance) {
	if c.persistent && !c.frozen {
		c.hub.cursors.put(a)
	}
}

// cursors are the cursors of this node's devices that wait to be written. What fails to
// be written waits for the next flush.
type cursors struct {
	sessions Sessions
	query    time.Duration // longest wait for the database
	logger   *slog.Logger

	shards   [64]cursorShard
	closed   chan struct{} // cursors of closed connections wait
	flushing sync.Mutex    // one flush at a time
}

type cursorShard struct {
	mu      sync.Mutex // innermost: whoever holds it takes no other lock
	pending map[bridge.Device]bridge.Advance
	writing map[bridge.Device]bool
}

func newCursors(o Options) *cursors {
	c := &cursors{sessions: o.Sessions, query: o.Query, logger: o.Logger, closed: make(chan struct{}, 1)}
	for i := range c.shards {
		c.shards[i].pending = make(map[bridge.Device]bridge.Advance)
		c.shards[i].writing = make(map[bridge.Device]bool)
	}
	return c
}

func (c *cursors) shard(d bridge.Device) *cursorShard {
	return &c.shards[hash(d.User)%uint32(len(c.shards))]
}

// put keeps the newer of two advances of one device.
func (c *cursors) put(a bridge.Advance) {
	s := c.shard(a.Device)
	s.mu.Lock()
	defer s.mu.Unlock()
	old, ok := s.pending[a.Device]
	if ok && old.Generation > a.Generation {
		return
	}
	if ok && old.Generation == a.Generation {
		a.Acked = max(a.Acked, old.Acked)
		a.Sent = max(a.Sent, old.Sent)
		a.From = max(a.From, old.From)
		if a.Skipped = slices.Concat(old.Skipped, a.Skipped); len(a.Skipped) > bridge.MaxSkips {
			a.Skipped = a.Skipped[len(a.Skipped)-bridge.MaxSkips:]
		}
		if old.Closed && !a.Closed {
			a.Closed, a.Expiry = true, old.Expiry
		}
	}
	s.pending[a.Device] = a
}

// putLast takes the cursor of a closed connection and has it written at once.
func (c *cursors) putClosed(a bridge.Advance) {
	c.put(a)
	nudge(c.closed)
}

// drain moves the waiting advances to those being written, all or only those of
// closed connections.
func (c *cursors) drain(closedOnly bool) []bridge.Advance {
	var as []bridge.Advance
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		for d, a := range s.pending {
			if a.Closed || !closedOnly {
				as = append(as, a)
				delete(s.pending, d)
				s.writing[d] = true
			}
		}
		s.mu.Unlock()
	}
	return as
}

// written forgets that as are being written.
func (c *cursors) written(as []bridge.Advance) {
	for _, a := range as {
		s := c.shard(a.Device)
		s.mu.Lock()
		delete(s.writing, a.Device)
		s.mu.Unlock()
	}
}

// flushChunk is how many cursors one statement moves.
const flushChunk = 1000

// flush writes the waiting cursors.
func (c *cursors) flush(ctx context.Context, closedOnly bool) error {
	c.flushing.Lock()
	defer c.flushing.Unlock()
	as := c.drain(closedOnly)
	defer c.written(as)
	for len(as) > 0 {
		n := min(len(as), flushChunk)
		q, cancel := context.WithTimeout(ctx, c.query)
		err := c.advance(q, as[:n])
		cancel()
		if err != nil {
			c.requeue(as[n:])
			return fmt.Errorf("advance %d cursors: %w", len(as), err)
		}
		as = as[n:]
	}
	return nil
}

// flushDevice writes the waiting cursor of one device, before its session is
// opened again: what it acknowledged is then not sent twice.
func (c *cursors) flushDevice(ctx context.Context, d bridge.Device) error {
	s := c.shard(d)
	s.mu.Lock()
	writing := s.writing[d]
	s.mu.Unlock()
	if writing {
		return c.waitAndFlush(ctx, d)
	}
	return c.flushWaiting(ctx, d)
}

// settle waits for a flush under way and then writes the waiting cursor of one device.
func (c *cursors) waitAndFlush(ctx context.Context, d bridge.Device) error {
	c.flushing.Lock()
	defer c.flushing.Unlock()
	return c.flushWaiting(ctx, d)
}

func (c *cursors) flushWaiting(ctx context.Context, d bridge.Device) error {
	s := c.shard(d)
	s.mu.Lock()
	a, ok := s.pending[d]
	delete(s.pending, d)
	s.mu.Unlock()
	if !ok {
		return nil
	}
	return c.advance(ctx, []bridge.Advance{a})
}

// advance writes as; they wait again where that fails.
func (c *cursors) advance(ctx context.Context, as []bridge.Advance) error {
	err := c.sessions.Advance(ctx, as)
	if err != nil {
		c.requeue(as)
	}
	return err
}

func (c *cursors) requeue(as []bridge.Advance) {
	for _, a := range as {
		c.put(a)
	}
}

// run flushes every interval, and cursors of closed connections at once.
func (c *cursors) run(ctx context.Context, interval time.Duration) {
	t := time.NewTicker(interval)
	defer t.Stop()
	for {
		closedOnly := false
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		case <-c.closed:
			closedOnly = true
		}
		if err := c.flush(ctx, closedOnly); err != nil && ctx.Err() == nil {
			c.logger.Warn("cursors wait for the database", "error", err)
		}
	}
}
