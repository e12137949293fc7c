package delivery

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// A cursor moves in memory with every acknowledgement, and is written once every
// Options.Flush. After a crash in between, the device receives some notifications again,
// with DUP, but never misses one.

// moveCursor moves the cursor as far as the window of the own topic allows. c.mu is held.
func (c *Conn) moveCursor() {
	if a := c.own.win.acked(c.own.pos); a > c.acked {
		c.acked = a
		moved := c.cursor()
		moved.Skipped = c.own.passed(a)
		c.save(moved)
		c.recordAck()
	}
}

// advanceTo moves the cursor forward to start, over notifications that the replay cap leaves
// out.
func (c *Conn) advanceTo(start bridge.Seq) {
	if start > c.acked {
		c.setCursor(start)
	}
}

// setCursor sets the cursor to start, in either direction, and records that the notifications
// before start were not sent.
func (c *Conn) setCursor(start bridge.Seq) {
	c.acked, c.ackedFrom = start, start
	a := c.cursor()
	a.From = start
	c.save(a)
}

// cursor returns the current cursor, as it is stored.
func (c *Conn) cursor() bridge.Advance {
	a := bridge.Advance{Device: c.device, Generation: c.gen, Acked: c.acked}
	if c.own != nil {
		a.Sent = c.own.sent
	}
	a.Sent = max(a.Sent, a.Acked)
	if c.shared { // it is unknown what the previous connection sent meanwhile
		a.Sent = -1
	}
	return a
}

// slowAfter is how long a device may take to acknowledge before saveSent saves for it.
const slowAfter = 500 * time.Millisecond

// saveSent saves how far the connection has sent, if its device does not acknowledge. If the
// device does, Sent is saved whenever the cursor moves. Only explain uses it, so saveSent is
// called with each pass of [Hub.endExpiredAndSilent] and not for each message. c.mu is held.
func (c *Conn) saveSent(now time.Time) {
	own := c.own
	if own == nil || len(own.win.flights) == 0 || own.sent <= own.savedSent || c.frozen || now.Sub(c.ackWaitStart) < slowAfter {
		return
	}
	own.savedSent = own.sent
	c.save(c.cursor())
}

// freezeCursor writes the pending cursor, if there is one, and prevents further writes until
// release is called. release must be called even if freezeCursor fails.
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

// save makes the next flush write a. c.mu is held.
func (c *Conn) save(a bridge.Advance) {
	if c.persistent && !c.frozen {
		c.hub.cursors.put(a)
	}
}

// cursors has the cursors of this node's devices that are to be written. If a write fails,
// the next flush repeats it.
type cursors struct {
	sessions Sessions
	query    time.Duration // deadline of a call to the database
	failures *failures

	shards   [64]cursorShard
	closed   chan struct{} // cursors of closed connections are pending
	flushing sync.Mutex    // one flush at a time
}

type cursorShard struct {
	mu      sync.Mutex // innermost: no other lock is taken while it is held
	pending map[bridge.Device]bridge.Advance
	writing map[bridge.Device]bool
}

func newCursors(o Options, f *failures) *cursors {
	c := &cursors{sessions: o.Sessions, query: o.Query, failures: f, closed: make(chan struct{}, 1)}
	for i := range c.shards {
		c.shards[i].pending = make(map[bridge.Device]bridge.Advance)
		c.shards[i].writing = make(map[bridge.Device]bool)
	}
	return c
}

func (c *cursors) shard(d bridge.Device) *cursorShard {
	return &c.shards[hash(d.User)%uint32(len(c.shards))]
}

// put adds a, and merges it with a pending cursor of the same session. If the generations
// differ, only the newer cursor is kept.
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

// putClosed adds the last cursor of a closed connection and has it written at once.
func (c *cursors) putClosed(a bridge.Advance) {
	c.put(a)
	nudge(c.closed)
}

// drain removes the pending cursors, or only those of closed connections, and marks them as
// being written.
func (c *cursors) drain(closedOnly bool) []bridge.Advance {
	var advances []bridge.Advance
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		for d, a := range s.pending {
			if a.Closed || !closedOnly {
				advances = append(advances, a)
				delete(s.pending, d)
				s.writing[d] = true
			}
		}
		s.mu.Unlock()
	}
	return advances
}

// written removes the marks that drain set.
func (c *cursors) written(advances []bridge.Advance) {
	for _, a := range advances {
		s := c.shard(a.Device)
		s.mu.Lock()
		delete(s.writing, a.Device)
		s.mu.Unlock()
	}
}

// flushChunk is how many cursors one statement writes.
const flushChunk = 1000

// flush writes the pending cursors, or only those of closed connections.
func (c *cursors) flush(ctx context.Context, closedOnly bool) error {
	c.flushing.Lock()
	defer c.flushing.Unlock()
	advances := c.drain(closedOnly)
	defer c.written(advances)
	for len(advances) > 0 {
		n := min(len(advances), flushChunk)
		q, cancel := context.WithTimeout(ctx, c.query)
		err := c.advance(q, advances[:n])
		cancel()
		if err != nil {
			c.requeue(advances[n:])
			return fmt.Errorf("advance %d cursors: %w", len(advances), err)
		}
		advances = advances[n:]
	}
	return nil
}

// flushDevice writes the pending cursor of one device before its session is opened again, so
// that what it acknowledged is not sent again.
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

// waitAndFlush waits for a flush that is running, and then writes the pending cursor of one
// device.
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

// advance writes cursors, or puts them back if that fails.
func (c *cursors) advance(ctx context.Context, advances []bridge.Advance) error {
	err := c.sessions.Advance(ctx, advances)
	if err != nil {
		c.requeue(advances)
	}
	return err
}

func (c *cursors) requeue(advances []bridge.Advance) {
	for _, a := range advances {
		c.put(a)
	}
}

// run writes the pending cursors every interval until ctx ends, and those of closed
// connections at once.
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
			c.failures.warn("writing cursors failed, will be retried", err)
		}
	}
}
