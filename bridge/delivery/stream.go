package delivery

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// stream feeds one operator's wildcard subscription: first every user's retained
// message, at the pace of the acknowledgements, then what was committed since
// the subscription, live. It holds no queue: like every pump it reads the log,
// in the commit-safe order of [Feed]. Only its pump's goroutine uses it.
type stream struct {
	place
	was      place     // before the last read
	caughtUp bool      // the backlog that grew during the snapshot is over
	endless  time.Time // since when no read has reached the end of the feed; zero: the last one did, or none ever did
	retained bool      // what read returned last is of the snapshot
	more     bool      // read has more to give
	looks    int       // how often it still looks again for what a hint announced
}

// place is where a stream stands.
type place struct {
	pos  bridge.Position
	user bridge.UserID // the snapshot's keyset
	live bool          // the snapshot is over
}

// A hint may come before its row can be read in the commit-safe order: an older
// transaction is still open somewhere. The stream then looks again this often,
// this long apart, before it leaves the row to the next hint or sweep.
const (
	streamLooks = 20
	streamLook  = 50 * time.Millisecond
)

func (s *stream) read(ctx context.Context, h *Hub, limit int) ([]bridge.Notification, error) {
	s.was, s.retained = s.place, !s.live
	if !s.live {
		items, err := h.o.Feed.Retained(ctx, s.user, limit)
		if err != nil {
			return nil, fmt.Errorf("read retained messages: %w", err)
		}
		s.more = true
		if len(items) == 0 {
			s.live = true
		} else {
			s.user = items[len(items)-1].User
		}
		return items, nil
	}
	items, pos, more, err := h.o.Feed.Since(ctx, s.pos, limit)
	if err != nil {
		return nil, fmt.Errorf("read the feed: %w", err)
	}
	s.pos, s.more = pos, more
	switch {
	case !s.more:
		s.caughtUp, s.endless = true, time.Time{}
	case s.caughtUp && s.endless.IsZero():
		s.endless = time.Now()
	}
	return items, nil
}

// lookAgain has p read once more soon, where a hint announced more than the read
// found. c.mu is held.
func (p *pump) lookAgain(found int) {
	s := p.stream
	if found > 0 || !s.live || s.looks == 0 {
		return
	}
	s.looks--
	time.AfterFunc(streamLook, func() {
		p.c.mu.Lock()
		defer p.c.mu.Unlock()
		p.behind = true
		p.start()
	})
}

// lags reports whether an operator who had caught up has been behind for more than
// limit. A row's CreatedAt is the time of the call that made it. The row may be
// readable only much later: once the transaction it was written in, and every older
// one, has ended. So its age alone says nothing of the operator: the stream must
// have failed to reach the end of the feed for as long.
func (s *stream) lags(items []bridge.Notification, now time.Time, limit time.Duration) bool {
	return !s.endless.IsZero() && now.Sub(s.endless) > limit && len(items) > 0 && now.Sub(items[0].CreatedAt) > limit
}

func (c *Conn) subscribeEveryone(ctx context.Context, r SubscribeRequest, since *bridge.Seq) error {
	c.mu.Lock()
	p := c.find(r.Filter)
	c.mu.Unlock()
	existed := p != nil
	pos, err := c.hub.o.Feed.Now(ctx)
	if err != nil {
		return fmt.Errorf("subscribe to everyone: %w", err)
	}
	if existed { // start the stream anew, as MQTT 5 §3.8.4 replaces the subscription
		c.detach(p)
	}
	snapshot := since == nil && (r.RetainHandling == 0 || r.RetainHandling == 1 && !existed)
	s, err := c.attach(r, "", &stream{place: place{pos: pos, live: !snapshot}, caughtUp: !snapshot})
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s.pump.sub = r.Subscription
	s.pump.behind = true
	return nil
}

// streams are this node's wildcard subscriptions.
type streams struct {
	n   atomic.Int64 // spares the lock where there is none, which is nearly always
	mu  sync.Mutex
	all []*pump
}

func (s *streams) add(p *pump) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all[:len(s.all):len(s.all)], p)
	s.n.Store(int64(len(s.all)))
}

func (s *streams) remove(p *pump) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = without(s.all, p)
	s.n.Store(int64(len(s.all)))
}

func (s *streams) wake() {
	if s.n.Load() == 0 {
		return
	}
	s.mu.Lock()
	all := s.all
	s.mu.Unlock()
	for _, p := range all {
		p.c.mu.Lock()
		p.behind = true
		p.stream.looks = streamLooks
		p.start()
		p.c.mu.Unlock()
	}
}
