package delivery

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// feed is the source of an operator's wildcard subscription: first every user's
// retained message, at the pace of the acknowledgements, then what was committed since
// the subscription, live. It holds no queue: like every source it reads the log, in the
// commit-safe order of [Feed].
type feed struct {
	p           *pump
	feedCursor             // where the operator stands
	next        feedCursor // where the operator stands once the page that was read last is sent
	behind      bool       // there may be more to read
	retained    bool       // the page that was read last is of the snapshot
	more        bool       // the last read stopped at its limit
	retries     int        // how often it still looks again for what a hint announced
	caughtUp    bool       // the backlog that grew during the snapshot is over
	behindSince time.Time  // since when no read has reached the end of the feed; zero: the last one did, or none ever did
}

// place is a position in the snapshot, or after it in the feed.
type feedCursor struct {
	pos  bridge.Position
	user bridge.UserID // the snapshot's keyset
	live bool          // the snapshot is over
}

// A hint may come before its row can be read in the commit-safe order: an older
// transaction is still open somewhere. The feed then looks again this often,
// this long apart, before it leaves the row to the next hint or sweep.
const (
	feedRetries   = 20
	feedRetryWait = 50 * time.Millisecond
)

func (f *feed) due() bool { return f.behind }

func (f *feed) reload() { f.behind = true }

func (f *feed) pop(int) []bridge.Notification {
	f.behind = false // before the read: a hint that comes during it sets it again
	return nil
}

func (f *feed) read(ctx context.Context, limit int) ([]bridge.Notification, error) {
	store := f.p.c.hub.o.Feed
	f.next, f.retained = f.feedCursor, !f.live
	if !f.live {
		items, err := store.Retained(ctx, f.user, limit)
		if err != nil {
			return nil, fmt.Errorf("read retained messages: %w", err)
		}
		f.more = true
		if len(items) == 0 {
			f.next.live = true
		} else {
			f.next.user = items[len(items)-1].User
		}
		return items, nil
	}
	items, pos, more, err := store.Since(ctx, f.pos, limit)
	if err != nil {
		return nil, fmt.Errorf("read the feed: %w", err)
	}
	f.next.pos, f.more = pos, more
	switch {
	case !more:
		f.caughtUp, f.behindSince = true, time.Time{}
	case f.caughtUp && f.behindSince.IsZero():
		f.behindSince = time.Now()
	}
	return items, nil
}

// accept returns the page whole or not at all, as the place is behind all of it. An
// operator who has fallen behind is disconnected.
func (f *feed) accept(page []bridge.Notification, _, room int) []bridge.Notification {
	if len(page) > room {
		f.reload()
		return nil
	}
	f.feedCursor = f.next
	f.behind = f.behind || f.more
	f.retrySoon(len(page))
	if f.lags(page, time.Now()) {
		f.p.c.endLocked(bridge.EndSlow)
		return nil
	}
	return page
}

func (f *feed) prepare(m *Message) bool {
	m.Topic = f.p.c.hub.o.Topics.Status(m.User)
	m.Retain = m.Retain || f.retained
	return true
}

func (f *feed) register(h *Hub) { h.feeds.add(f) }

func (f *feed) unregister(h *Hub) { h.feeds.remove(f) }

// wake has the feed read: a log grew.
func (f *feed) wake() {
	f.p.c.mu.Lock()
	defer f.p.c.mu.Unlock()
	f.retries = feedRetries
	f.reload()
	f.p.wake()
}

// lookAgain has the feed read once more soon, where a hint announced more than the
// last read found. The connection's mu is held.
func (f *feed) retrySoon(found int) {
	if found > 0 || !f.live || f.retries == 0 {
		return
	}
	f.retries--
	time.AfterFunc(feedRetryWait, func() {
		f.p.c.mu.Lock()
		defer f.p.c.mu.Unlock()
		f.reload()
		f.p.wake()
	})
}

// lags reports whether an operator who had caught up has been behind for longer than
// Options.MaxLag. A row's CreatedAt is the time of the call that made it. The row may
// be readable only much later: once the transaction it was written in, and every older
// one, has ended. So its age alone says nothing of the operator: the feed must have
// failed to reach its end for as long.
func (f *feed) lags(page []bridge.Notification, now time.Time) bool {
	limit := f.p.c.hub.o.MaxLag
	return !f.behindSince.IsZero() && now.Sub(f.behindSince) > limit && len(page) > 0 && now.Sub(page[0].CreatedAt) > limit
}

// feeds are this node's wildcard subscriptions.
type feeds struct {
	n   atomic.Int64 // spares the lock where there is none, which is nearly always
	mu  sync.Mutex
	all []*feed // replaced, never changed in place
}

func (s *feeds) add(f *feed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all[:len(s.all):len(s.all)], f)
	s.n.Store(int64(len(s.all)))
}

func (s *feeds) remove(f *feed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = without(s.all, f)
	s.n.Store(int64(len(s.all)))
}

// some reports whether there is one.
func (s *feeds) nonEmpty() bool { return s.n.Load() > 0 }

func (s *feeds) wake() {
	if !s.nonEmpty() {
		return
	}
	s.mu.Lock()
	all := s.all
	s.mu.Unlock()
	for _, f := range all {
		f.wake()
	}
}
