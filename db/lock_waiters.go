package db

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

const (
	// waiters is how many transactions may wait for other processes' locks at
	// once, each on a connection of its own where there are enough.
	waiters = 4
	// lockWait is how long one of them waits before another user's commands get its
	// connection.
	lockWait = 250 * time.Millisecond
	dontWait = -1 * time.Millisecond
)

// lockWaiters are the commands that wait for an inbox row (or report) that another
// process has locked: an application idling in a transaction, or another node. They
// leave the common batch and wait in a transaction of their own, one a user, so that
// the commands of all other users go on without them.
type lockWaiters struct {
	mu    sync.Mutex
	m     map[bridge.UserID][]*call // present: a goroutine serves the user
	slots chan struct{}
}

func (l *lockWaiters) init(slots int) {
	l.m = make(map[bridge.UserID][]*call)
	l.slots = make(chan struct{}, slots)
}

// park adds w, whose rows were locked, to the waiting commands of its first user.
func (l *lockWaiters) park(c *committer, w *call) {
	u := w.cmd.Drafts[0].User
	l.mu.Lock()
	defer l.mu.Unlock()
	waiting, served := l.m[u]
	l.m[u] = append(waiting, w)
	if !served {
		c.wg.Go(func() { l.serve(c, u) })
	}
}

// serve runs u's waiting commands until there are none.
func (l *lockWaiters) serve(c *committer, u bridge.UserID) {
	tx := newAppender(c.d)
	for {
		select {
		case l.slots <- struct{}{}:
		case <-c.ctx.Done():
		}
		batch := l.nextBatch(u, c.ctx)
		if c.ctx.Err() != nil {
			for _, w := range batch {
				w.answer(bridge.Result{}, fmt.Errorf("append: %w: closed", bridge.ErrUnavailable))
			}
			if len(batch) == 0 {
				return
			}
			continue
		}
		if len(batch) == 0 {
			<-l.slots
			return
		}
		outs := tx.run(batch, nil, lockWait)
		<-l.slots
		c.settle(batch, outs) // parks again what is still locked
	}
}

// nextBatch removes and returns those of u's waiting commands that may run in one
// transaction: no idempotency key and no report appears twice. Where it returns none, u
// is no longer served.
func (l *lockWaiters) nextBatch(u bridge.UserID, ctx context.Context) []*call {
	l.mu.Lock()
	defer l.mu.Unlock()
	var batch, kept []*call
	keys, reports, drafts := map[keyName]bool{}, map[int64]bool{}, 0
	for _, w := range l.m[u] {
		if w.left.Load() {
			continue
		}
		twice := drafts > 0 && drafts+len(w.cmd.Drafts) > maxDrafts
		if k := w.cmd.Key; k != nil {
			n := keyName{k.Caller, k.Key}
			twice, keys[n] = twice || keys[n], true
		}
		if s := w.cmd.Change; s != nil {
			twice, reports[s.Report] = twice || reports[s.Report], true
		}
		if twice && ctx.Err() == nil {
			kept = append(kept, w)
			continue
		}
		drafts += len(w.cmd.Drafts)
		batch = append(batch, w)
	}
	if len(batch) == 0 {
		delete(l.m, u)
	} else {
		l.m[u] = kept
	}
	return batch
}
