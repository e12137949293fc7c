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
	// laneWait is how long one of them waits before the next lane has its turn.
	laneWait = 250 * time.Millisecond
	dontWait = -1 * time.Millisecond
)

// lanes hold the commands of users whose inbox row (or report) another process
// has locked: an application idling in a transaction, or another node. Such a
// command waits for the lock in a transaction of its own, with the others of the
// same user; everybody else goes on.
type lanes struct {
	mu    sync.Mutex
	m     map[bridge.UserID][]*call // present: a goroutine serves the user
	slots chan struct{}
}

func (l *lanes) init(slots int) {
	l.m = make(map[bridge.UserID][]*call)
	l.slots = make(chan struct{}, slots)
}

// park puts w, which was busy, into the lane of its first user.
func (l *lanes) park(c *committer, w *call) {
	u := w.cmd.Drafts[0].User
	l.mu.Lock()
	defer l.mu.Unlock()
	waiting, served := l.m[u]
	l.m[u] = append(waiting, w)
	if !served {
		c.wg.Go(func() { l.serve(c, u) })
	}
}

// serve runs u's lane until it is empty.
func (l *lanes) serve(c *committer, u bridge.UserID) {
	tx := newAppender(c.d)
	for {
		select {
		case l.slots <- struct{}{}:
		case <-c.ctx.Done():
		}
		batch := l.take(u, c.ctx)
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
		outs := tx.run(batch, nil, laneWait)
		<-l.slots
		c.settle(batch, outs) // what is busy still goes to the end of the lane
	}
}

// take moves what may run in one transaction out of u's lane. An empty lane is
// closed.
func (l *lanes) take(u bridge.UserID, ctx context.Context) []*call {
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
