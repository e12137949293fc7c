package delivery

import (
	"context"
	"fmt"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// A cursor moves in memory with every acknowledgement and on disk at most once
// per Options.Flush: a crash in between costs repeats, never a loss.

// moveCursor takes c.acked to where the own window allows; c.mu is held.
func (c *Conn) moveCursor() {
	if a := c.own.win.acked(c.own.pos); a > c.acked {
		c.acked = a
		c.save(c.place())
	}
}

// jump moves the cursor over what the replay cap leaves out.
func (c *Conn) jump(start bridge.Seq) {
	if start > c.acked {
		c.jumped(start)
	}
}

func (c *Conn) jumped(start bridge.Seq) {
	c.acked = start
	a := c.place()
	a.From = start
	c.save(a)
}

// place is the cursor as it stands.
func (c *Conn) place() bridge.Advance {
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

// holdCursor writes what is waiting of the cursor, and keeps it from being
// written again until release is called.
func (c *Conn) holdCursor(ctx context.Context) (release func(), err error) {
	c.mu.Lock()
	c.held = true
	c.mu.Unlock()
	release = func() {
		c.mu.Lock()
		c.held = false
		c.mu.Unlock()
	}
	c.hub.flushing.Lock() // waits for a flush under way
	defer c.hub.flushing.Unlock()
	return release, c.hub.flushDevice(ctx, c.device)
}

// save leaves a for the next flush.
func (c *Conn) save(a bridge.Advance) {
	if !c.persistent || c.held {
		return
	}
	c.hub.shard(c.device.User).put(a)
}

// put keeps the newer of two advances of one device.
func (s *shard) put(a bridge.Advance) {
	s.cursorMu.Lock()
	defer s.cursorMu.Unlock()
	old, ok := s.cursors[a.Device]
	if ok && old.Generation > a.Generation {
		return
	}
	if ok && old.Generation == a.Generation {
		a.Acked = max(a.Acked, old.Acked)
		a.Sent = max(a.Sent, old.Sent)
		a.From = max(a.From, old.From)
		if old.Closed && !a.Closed {
			a.Closed, a.Expiry = true, old.Expiry
		}
	}
	s.cursors[a.Device] = a
}

// leave saves the cursor of a closed connection and has it flushed at once.
func (h *Hub) leave(a bridge.Advance) {
	h.shard(a.Device.User).put(a)
	nudge(h.kick)
}

// take removes the waiting advances from the shards, all or only those of
// closed connections.
func (h *Hub) take(closedOnly bool) []bridge.Advance {
	var as []bridge.Advance
	for i := range h.shards {
		s := &h.shards[i]
		s.cursorMu.Lock()
		for d, a := range s.cursors {
			if a.Closed || !closedOnly {
				as = append(as, a)
				delete(s.cursors, d)
				s.writing[d] = true
			}
		}
		s.cursorMu.Unlock()
	}
	return as
}

// written forgets that as are being flushed.
func (h *Hub) written(as []bridge.Advance) {
	for _, a := range as {
		s := h.shard(a.Device.User)
		s.cursorMu.Lock()
		delete(s.writing, a.Device)
		s.cursorMu.Unlock()
	}
}

func (h *Hub) giveBack(as []bridge.Advance) {
	for _, a := range as {
		h.shard(a.Device.User).put(a)
	}
}

// flushChunk is how many cursors one statement moves.
const flushChunk = 1000

// flush writes the waiting cursors; what fails waits for the next flush.
func (h *Hub) flush(ctx context.Context, closedOnly bool) error {
	h.flushing.Lock()
	defer h.flushing.Unlock()
	as := h.take(closedOnly)
	defer h.written(as)
	for len(as) > 0 {
		n := min(len(as), flushChunk)
		q, cancel := context.WithTimeout(ctx, h.o.Query)
		err := h.o.Sessions.Advance(q, as[:n])
		cancel()
		if err != nil {
			h.giveBack(as)
			return fmt.Errorf("advance %d cursors: %w", len(as), err)
		}
		as = as[n:]
	}
	return nil
}

// flushDevice writes the waiting cursor of one device, before its session is
// opened again: what it acknowledged is then not sent twice.
func (h *Hub) flushDevice(ctx context.Context, d bridge.Device) error {
	s := h.shard(d.User)
	s.cursorMu.Lock()
	writing := s.writing[d]
	s.cursorMu.Unlock()
	if writing {
		h.flushing.Lock() // waits for the flush that has it; see flush for its end
		defer h.flushing.Unlock()
	}
	s.cursorMu.Lock()
	a, ok := s.cursors[d]
	delete(s.cursors, d)
	s.cursorMu.Unlock()
	if !ok {
		return nil
	}
	if err := h.o.Sessions.Advance(ctx, []bridge.Advance{a}); err != nil {
		h.giveBack([]bridge.Advance{a})
		return err
	}
	return nil
}

// flusher writes cursors every Options.Flush, and those of closed connections
// at once.
func (h *Hub) flusher(ctx context.Context) {
	t := time.NewTicker(h.o.Flush)
	defer t.Stop()
	for {
		closedOnly := false
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		case <-h.kick:
			closedOnly = true
		}
		if err := h.flush(ctx, closedOnly); err != nil && ctx.Err() == nil {
			h.o.Logger.Warn("cursors wait for the database", "error", err)
		}
	}
}
