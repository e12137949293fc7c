package late

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/fakeclock"
)

// slowStore has one attempt that is due, until an acknowledgement cancels it. Begin takes as long
// as begin.
type slowStore struct {
	Store
	begin time.Duration
	acked time.Time

	mu   sync.Mutex
	done []Done
}

func (s *slowStore) LeaseLate(context.Context, string, time.Duration) (string, bool, error) {
	return `{"log":"x"}`, true, nil
}
func (s *slowStore) ReleaseLate(context.Context, string) error { return nil }
func (s *slowStore) Enter(_ context.Context, _ string, p Position, _ time.Duration, _ []Rule, _ int) (Position, bool, bool, error) {
	return p, false, true, nil
}
func (s *slowStore) due(rule string, client string) []Due {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.done {
		if d.Ref == rule && d.Result == Sent {
			return nil
		}
	}
	dev := bridge.Device{User: "1", ClientID: client}
	return []Due{{Ref: rule, Rule: rule, Device: dev, Since: time.Now(), Registration: bridge.Registration{Device: dev, Endpoint: "e"},
		Cancelled: !time.Now().Before(s.acked)}}
}
func (s *slowStore) DuePush(context.Context, int, []bridge.UserID) ([]Due, error) {
	return s.due(string(Push), "phone"), nil
}
func (s *slowStore) DueWebhooks(context.Context, int) ([]Due, error) {
	return s.due("unread 1s", ""), nil
}
func (s *slowStore) Begin(context.Context, []string, []string, time.Duration) error {
	fakeclock.Spend(s.begin)
	return nil
}
func (s *slowStore) RecordLate(_ context.Context, done []Done) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done = append(s.done, done...)
	return nil
}
func (s *slowStore) PruneLate(context.Context, time.Duration, time.Duration, int) (int, error) {
	return 0, nil
}

// begun records when attempts begin.
type begun struct {
	mu sync.Mutex
	at []time.Time
}

func (b *begun) note() Outcome {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.at = append(b.at, time.Now())
	return Outcome{Result: Sent, Status: 201}
}

type pushes struct{ *begun }

func (b pushes) Send(context.Context, bridge.Registration, []bridge.Notification) Outcome {
	return b.note()
}

type posts struct{ *begun }

func (b posts) Send(context.Context, string, Rule, *bridge.Notification) Outcome { return b.note() }

// Whether an attempt is still necessary is read before it begins, and then the database may take
// long to record that it begins. If the decision is too old by then, the attempt is not made,
// and the decision is repeated.
func TestNoAttemptBeginsMoreThanASecondAfterAnAcknowledgement(t *testing.T) {
	for begin := 100 * time.Millisecond; begin <= 1900*time.Millisecond; begin += 150 * time.Millisecond {
		for acked := time.Duration(0); acked < 3*time.Second; acked += 250 * time.Millisecond {
			synctest.Test(t, func(t *testing.T) {
				b := &begun{}
				s := &slowStore{begin: begin, acked: time.Now().Add(acked)}
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				f := New(Options{Store: s, Node: "n", Logger: slog.New(slog.DiscardHandler), Pusher: pushes{b}, Poster: posts{b}, Rules: []Rule{{Unread, time.Second}}})
				if err := f.Run(ctx); err != nil {
					t.Error(err)
				}
				for _, at := range b.at {
					if after := at.Sub(s.acked); after > time.Second {
						t.Errorf("the database takes %v: an attempt began %v after the acknowledgement", begin, after)
					}
				}
				if begin < maxJudgementAge/2 && acked > 2*time.Second && len(b.at) != 2 {
					t.Errorf("the database takes %v: %d attempts", begin, len(b.at))
				}
			})
		}
	}
}

// pagedStore returns a page of due pushes for each call.
type pagedStore struct {
	slowStore
	pages [][]Due
}

func (s *pagedStore) DuePush(context.Context, int, []bridge.UserID) ([]Due, error) {
	if len(s.pages) == 0 {
		return nil, nil
	}
	page := s.pages[0]
	s.pages = s.pages[1:]
	return page, nil
}

// After a long outage one device has so many due that they fill a page. Others must not wait
// for the next poll for each such device.
func TestADeviceThatFillsAPageDoesNotDelayOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		due := func(u bridge.UserID, n int) (page []Due) {
			dev := bridge.Device{User: u, ClientID: "phone"}
			for i := range n {
				page = append(page, Due{Ref: fmt.Sprint(u, i), Rule: string(Push), Device: dev, Since: time.Now(), Registration: bridge.Registration{Device: dev, Endpoint: "e"}})
			}
			return page
		}
		b := &begun{}
		s := &pagedStore{pages: [][]Due{due("1", summaryAbove+1), due("2", summaryAbove+1), due("3", 1)}}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		begin := time.Now()
		f := New(Options{Store: s, Node: "n", Logger: slog.New(slog.DiscardHandler), Pusher: pushes{b}, Poll: time.Minute})
		if err := f.Run(ctx); err != nil {
			t.Error(err)
		}
		if len(b.at) != 3 || b.at[2].Sub(b.at[0]) >= time.Minute {
			t.Errorf("pushes began at %v after the start at %v, want all three in one poll", b.at, begin)
		}
	})
}
