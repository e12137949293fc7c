package delivery

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// feed is the source of an operator's wildcard subscription. First it sends a snapshot, every
// user's retained message, at the pace of the acknowledgements. Then it sends what was
// committed since the subscription. Like every source it has no queue and reads the log, in
// the order of [Feed].
type feed struct {
	p           *pump
	feedCursor             // the position
	next        feedCursor // the position after the page that was read last
	behind      bool       // there may be more to read
	retained    bool       // the page that was read last belongs to the snapshot
	more        bool       // the last read stopped at its limit
	retries     int        // how many more times to read for what a hint announced
	caughtUp    bool       // a read has reached the end of the feed since the snapshot
	behindSince time.Time  // since when no read has reached the end; zero: the last read did, or no read has yet
}

// feedCursor is a position in the snapshot, or after it in the feed.
type feedCursor struct {
	pos  bridge.Position
	user bridge.UserID // the last user of the snapshot so far
	live bool          // the snapshot is complete
}

// A hint may arrive before its notification can be read in the order of [Feed], because an
// older transaction is still open. The feed then reads again, up to feedRetries times with a
// pause of feedRetryWait. After that, the next hint or sweep makes it read.
const (
	feedRetries   = 20
	feedRetryWait = 50 * time.Millisecond
)

func (f *feed) due() bool { return f.behind }

func (f *feed) reload() { f.behind = true }

func (f *feed) pop(int) []bridge.Notification {
	f.behind = false // before the read, so that a hint during the read sets it again
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

// accept returns all of page or nothing, because f.next is the position after all of it. It
// ends the connection of an operator who has fallen behind.
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

// wake makes the feed be read, because a log has grown.
func (f *feed) wake() {
	f.p.c.mu.Lock()
	defer f.p.c.mu.Unlock()
	f.retries = feedRetries
	f.reload()
	f.p.wake()
}

// retrySoon schedules another read if a hint announced more than the last read found. The
// connection's mu is held.
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
// Options.MaxLag. The age of a row alone does not show that: CreatedAt is the time of the
// call that appended the row, and the row becomes readable only when its transaction and
// every older one have ended, possibly much later. So lags also requires that no read has
// reached the end of the feed for that long.
func (f *feed) lags(page []bridge.Notification, now time.Time) bool {
	limit := f.p.c.hub.o.MaxLag
	return !f.behindSince.IsZero() && now.Sub(f.behindSince) > limit && len(page) > 0 && now.Sub(page[0].CreatedAt) > limit
}

// feeds has this node's wildcard subscriptions.
type feeds struct {
	n   atomic.Int64 // len(all); saves the lock when there are none, which is nearly always
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

// nonEmpty reports whether there are any.
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
