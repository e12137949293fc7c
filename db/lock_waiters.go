package db

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

const (
	// waiters is how many transactions may wait for locks of other processes at once.
	// Each of them uses a connection; with a small pool there are fewer.
	waiters = 4
	// lockWait is how long such a transaction waits for a lock before it makes room for the
	// commands of another user.
	lockWait = 250 * time.Millisecond
	// dontWait makes a transaction skip locked rows instead.
	dontWait = -1 * time.Millisecond
)

// lockWaiters are the commands that wait for an inbox row or a report which another
// process has locked, be it another node or an application that idles in a transaction.
// They leave the common batch and wait in separate transactions, one per user, so that
// the commands of all other users go on without them.
type lockWaiters struct {
	mu    sync.Mutex
	m     map[bridge.UserID][]*call // a user with an entry is served by a goroutine
	slots chan struct{}             // a semaphore for transactions
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

// serve runs u's waiting commands until none are left.
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
				w.finish(bridge.Result{}, fmt.Errorf("append: %w: closed", bridge.ErrUnavailable))
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
		c.settle(batch, outs) // parks commands again whose rows are still locked
	}
}

// nextBatch removes and returns those of u's waiting commands that may run in one
// transaction, in which no idempotency key and no report appears twice. If none are left
// it removes the entry of u, and the caller's goroutine must end.
func (l *lockWaiters) nextBatch(u bridge.UserID, ctx context.Context) []*call {
	l.mu.Lock()
	defer l.mu.Unlock()
	var batch, kept []*call
	keys, reports, drafts := map[keyName]bool{}, map[int64]bool{}, 0
	for _, w := range l.m[u] {
		if w.gaveUp.Load() {
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
