package db

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

const (
	// maxDrafts bounds the drafts of a transaction, unless a single command has more.
	// Larger transactions gain nothing and keep their locks longer.
	maxDrafts = 500
	// fullQueue is how many queued commands start a second transaction in parallel to the
	// running one. Fewer are better off together in the next transaction: each costs less,
	// and it commits no later, since commits wait for one write-ahead log anyway. With 8,
	// 32 and 128 callers, no smaller value was faster and all cost more CPU
	// (docs/decisions/0001-one-function-appends.md).
	fullQueue = 128
	// slowAfter is how long a transaction runs before the next one may start in parallel,
	// so that a large one, or one that hangs, does not delay the other commands.
	slowAfter = 10 * time.Millisecond
	// keyPause is how long a command waits before it is tried again when another node has
	// its idempotency key in flight.
	keyPause = 20 * time.Millisecond
)

// committer implements group commit: the commands that arrive while a transaction runs
// are queued and go into the next one together. There is no timer, so a lone command is
// never delayed.
//
// Two transactions of one process never touch the same user, report or idempotency key.
// A command for a user who is in flight stays in the queue until that transaction ends,
// so only other processes can make a command busy; such commands wait apart from the
// queue, see [lockWaiters].
type committer struct {
	d    *DB
	stop context.CancelFunc
	ctx  context.Context // ends with close
	wg   sync.WaitGroup

	mu      sync.Mutex
	work    sync.Cond
	closed  bool
	queue   []*call
	running int                     // transactions that run
	slow    bool                    // the latest of them has taken longer than slowAfter
	timer   *time.Timer             // calls allowParallel
	users   map[bridge.UserID]owner // users whose commands are in flight, or reserved
	reports map[int64]struct{}
	keys    map[keyName]struct{}
	waiting lockWaiters
}

// keyName identifies an idempotency key: callers cannot collide with each other's.
type keyName struct {
	caller bridge.UserID
	key    string
}

func newCommitter(d *DB) *committer {
	c := &committer{d: d, users: make(map[bridge.UserID]owner), reports: make(map[int64]struct{}), keys: make(map[keyName]struct{})}
	c.ctx, c.stop = context.WithCancel(context.Background())
	c.work.L = &c.mu
	c.timer = time.AfterFunc(time.Hour, c.allowParallel)
	c.timer.Stop()
	c.waiting.init(max(1, d.waiters))
	writers := 1
	if d.dialect == Postgres {
		writers = d.o.Writers
	}
	for id := range writers {
		c.wg.Go(func() { c.writer(owner(id)) })
	}
	return c
}

// close waits for the running transactions and refuses the commands that are still queued.
func (c *committer) close() {
	c.mu.Lock()
	c.closed = true
	waiting := c.queue
	c.queue = nil
	c.timer.Stop()
	c.mu.Unlock()
	c.work.Broadcast()
	c.stop()
	for _, w := range waiting {
		w.finish(bridge.Result{}, fmt.Errorf("append: %w: closed", bridge.ErrUnavailable))
	}
	c.wg.Wait()
}

// enqueue adds w to the queue. It returns false after close.
func (c *committer) enqueue(w *call) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.queue = append(c.queue, w)
	if c.roomLocked() && c.freeLocked(w, noOwner) {
		c.work.Signal()
	}
	return true
}

// roomLocked reports whether another transaction may begin now.
func (c *committer) roomLocked() bool {
	return c.running == 0 || c.slow || len(c.queue) >= fullQueue
}

// allowParallel lets another transaction begin while a slow one runs.
func (c *committer) allowParallel() {
	c.mu.Lock()
	c.slow = c.running > 0
	c.mu.Unlock()
	c.work.Signal()
}

// requeue adds w to the queue again, after a pause.
func (c *committer) requeue(w *call) {
	time.AfterFunc(keyPause, func() {
		if !w.gaveUp.Load() && !c.enqueue(w) {
			w.finish(bridge.Result{}, fmt.Errorf("append: %w: closed", bridge.ErrUnavailable))
		}
	})
}

// freeLocked reports whether writer id may run w now.
func (c *committer) freeLocked(w *call, id owner) bool {
	if k := w.cmd.Key; k != nil {
		if _, taken := c.keys[keyName{k.Caller, k.Key}]; taken {
			w.keyInFlight.Store(true) // never reset: the caller's time may run out during the next attempt
			return false
		}
	}
	if s := w.cmd.Change; s != nil {
		if _, taken := c.reports[s.Report]; taken {
			return false
		}
	}
	for i := range w.cmd.Drafts {
		if by, taken := c.users[w.cmd.Drafts[i].User]; taken && by != id {
			return false
		}
	}
	return true
}

// owner is the writer, numbered from 0, that has commands of a user in flight, or one of
// the values below.
type owner int

const (
	noOwner owner = -1 // no writer in particular
	// queueOwner reserves the users of a batch that stays in the queue. Without it, single
	// commands behind the batch could overtake it for ever: one of its many users would
	// always be in flight.
	queueOwner owner = -2
)

// popLocked removes from the queue the commands that writer id may run now, at most
// maxDrafts drafts of them, and appends them to batch.
func (c *committer) popLocked(id owner, batch []*call) []*call {
	kept, drafts := c.queue[:0], 0
	var reserved []bridge.UserID
	for i, w := range c.queue {
		if w.gaveUp.Load() {
			continue
		}
		if drafts > 0 && drafts+len(w.cmd.Drafts) > maxDrafts {
			kept = append(kept, c.queue[i:]...)
			break
		}
		if !c.freeLocked(w, id) {
			kept = append(kept, w)
			if len(w.cmd.Drafts) > 1 {
				for j := range w.cmd.Drafts {
					u := w.cmd.Drafts[j].User
					if _, taken := c.users[u]; !taken {
						c.users[u] = queueOwner
						reserved = append(reserved, u)
					}
				}
			}
			continue
		}
		c.markLocked(w, id)
		drafts += len(w.cmd.Drafts)
		batch = append(batch, w)
	}
	clear(c.queue[len(kept):])
	c.queue = kept
	for _, u := range reserved {
		delete(c.users, u)
	}
	return batch
}

// markLocked marks the users, report and key of w as in flight.
func (c *committer) markLocked(w *call, id owner) {
	if k := w.cmd.Key; k != nil {
		c.keys[keyName{k.Caller, k.Key}] = struct{}{}
	}
	if s := w.cmd.Change; s != nil {
		c.reports[s.Report] = struct{}{}
	}
	for i := range w.cmd.Drafts {
		c.users[w.cmd.Drafts[i].User] = id
	}
}

// unmarkLocked undoes markLocked for a finished batch.
func (c *committer) unmarkLocked(batch []*call) {
	for _, w := range batch {
		if k := w.cmd.Key; k != nil {
			delete(c.keys, keyName{k.Caller, k.Key})
		}
		if s := w.cmd.Change; s != nil {
			delete(c.reports, s.Report)
		}
		for i := range w.cmd.Drafts {
			delete(c.users, w.cmd.Drafts[i].User)
		}
	}
}

// writer runs transactions until close. It clears its marks before it sends the results,
// because once a caller has its result it may reuse the call.
func (c *committer) writer(id owner) {
	var batch []*call
	var outs []outcome
	tx := newAppender(c.d)
	for {
		if batch = c.begin(id, batch[:0]); batch == nil {
			return
		}
		begun := time.Now()
		tx.commits = 0
		outs = tx.run(batch, outs[:0], dontWait)
		c.d.counters.transactions.Add(1)
		c.d.counters.transactionNanos.Add(int64(time.Since(begun)))
		c.d.counters.commitNanos.Add(int64(tx.commits))
		c.end(batch)
		c.settle(batch, outs)
		clear(batch)
		clear(outs)
	}
}

// begin waits until writer id may run a transaction, and returns its commands, or nil
// after close.
func (c *committer) begin(id owner, batch []*call) []*call {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		if c.roomLocked() {
			batch = c.popLocked(id, batch)
		}
		if len(batch) > 0 {
			break
		}
		if c.closed {
			return nil
		}
		c.work.Wait()
	}
	c.running++
	c.slow = false
	c.timer.Reset(slowAfter)
	return batch
}

// end records that the transaction of batch is over, and wakes a writer if more commands
// are queued.
func (c *committer) end(batch []*call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unmarkLocked(batch)
	if c.running--; c.running == 0 {
		c.slow = false
		c.timer.Stop()
	}
	if len(c.queue) > 0 {
		c.work.Signal()
	}
}

// settle sends each caller its result, except for commands that have to wait for another
// process: those are parked or queued again.
func (c *committer) settle(batch []*call, outs []outcome) {
	for i, w := range batch {
		switch outs[i].what {
		case busy:
			c.waiting.park(c, w)
		case inflight:
			w.keyInFlight.Store(true)
			c.requeue(w)
		case abandoned:
		default:
			w.finish(outs[i].result())
		}
	}
}
