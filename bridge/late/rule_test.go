package late

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

func TestARuleIsReadAsItWasWritten(t *testing.T) {
	for text, want := range map[string]Rule{
		"unacknowledged 10m0s": {Unacknowledged, 10 * time.Minute},
		"unread 1h0m0s":        {Unread, time.Hour},
		"unread 1.5s":          {Unread, 1500 * time.Millisecond},
	} {
		if got, err := parseRule(text); err != nil || got != want || got.String() != text {
			t.Errorf("parseRule(%q) is %v, %v, want %v", text, got, err, want)
		}
	}
	for name, text := range map[string]string{
		"nothing":                     "",
		"another condition":           "unseen 10m0s",
		"Web Push":                    string(Push),
		"a channel of a newer server": "mail unread 10m0s",
		"a condition of another form": "unacknowledged 10m0s weekdays",
		"no time":                     "unread",
		"two rules":                   "unread 1h0m0s, unacknowledged 10m0s",
	} {
		if got, err := parseRule(text); err == nil {
			t.Errorf("%s: parseRule(%q) is %v, want an error", name, text, got)
		}
	}
}

// sharedStore has attempts that are due, as the follower of a newer version stored them.
type sharedStore struct {
	slowStore

	mu       sync.Mutex
	pushes   []Due
	webhooks []Due
	due      map[string]time.Time // by Ref, when it is due next
	results  map[string]Result    // by Ref, the last one
	deleted  []string             // cancelled ones
}

func newSharedStore(pushes, webhooks []Due) *sharedStore {
	s := &sharedStore{pushes: pushes, webhooks: webhooks, due: make(map[string]time.Time), results: make(map[string]Result)}
	for _, d := range slices.Concat(pushes, webhooks) {
		s.due[d.Ref] = time.Now()
	}
	return s
}

func (s *sharedStore) page(list []Due, limit int) (page []Due) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range list {
		if at, waiting := s.due[d.Ref]; waiting && !at.After(time.Now()) && len(page) < limit {
			page = append(page, d)
		}
	}
	return page
}

func (s *sharedStore) DuePush(context.Context, int, []bridge.UserID) ([]Due, error) {
	return s.page(s.pushes, 1000), nil
}

func (s *sharedStore) DueWebhooks(_ context.Context, limit int) ([]Due, error) {
	return s.page(s.webhooks, limit), nil
}

func (s *sharedStore) Begin(_ context.Context, begun, cancelled []string, hold time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ref := range begun {
		s.due[ref] = time.Now().Add(hold)
	}
	for _, ref := range cancelled {
		delete(s.due, ref)
	}
	s.deleted = append(s.deleted, cancelled...)
	return nil
}

func (s *sharedStore) RecordLate(_ context.Context, done []Done) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range done {
		s.results[d.Ref] = d.Result
		if d.Result == Failed || d.Result == Limited {
			s.due[d.Ref] = time.Now().Add(d.After)
		} else {
			delete(s.due, d.Ref)
		}
	}
	return nil
}

// run runs a follower with this store for d. It returns how many attempts it made.
func (s *sharedStore) run(t *testing.T, d time.Duration) (attempts int) {
	t.Helper()
	b := &begun{}
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	f := New(Options{Store: s, Node: "n", Logger: slog.New(slog.DiscardHandler), Pusher: pushes{b}, Poster: posts{b},
		Rules: []Rule{{Unread, time.Second}}, Batch: 2, Posts: 2, Poll: 5 * time.Second})
	if err := f.Run(ctx); err != nil {
		t.Error(err)
	}
	return len(b.at)
}

// During a rolling upgrade a newer node may store attempts with a rule that this version does
// not know, and then this node becomes the follower.
func TestAnAttemptWithAnUnknownRuleIsLeftToANewerNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		phone := bridge.Device{User: "1", ClientID: "phone"}
		registered := bridge.Registration{Device: phone, Endpoint: "e"}
		now := time.Now()
		s := newSharedStore(
			[]Due{
				{Ref: "mail to a device", Rule: "mail", Device: phone, Since: now},
				{Ref: "push", Rule: string(Push), Device: phone, Since: now, Registration: registered},
			},
			[]Due{ // more than a page of unknown ones before a known one
				{Ref: "mail 1", Rule: "mail unread 10m0s", Since: now},
				{Ref: "mail 2", Rule: "mail unread 10m0s", Since: now, Cancelled: true},
				{Ref: "mail 3", Rule: "unseen 10m0s", Since: now},
				{Ref: "webhook", Rule: "unread 10m0s", Since: now},
			})
		if n := s.run(t, time.Minute); n != 2 {
			t.Errorf("%d attempts were made, want those of the push and the webhook", n)
		}
		for ref, want := range map[string]Result{"mail to a device": Limited, "mail 1": Limited, "mail 2": Limited, "mail 3": Limited, "push": Sent, "webhook": Sent} {
			if got := s.results[ref]; got != want {
				t.Errorf("the result of %s is %d, want %d", ref, got, want)
			}
			if _, waiting := s.due[ref]; waiting != (want == Limited) {
				t.Errorf("%s is waiting: %v", ref, waiting)
			}
		}
		if len(s.deleted) > 0 {
			t.Errorf("%q were removed", s.deleted)
		}
	})
}

// If the upgrade is undone for good, nothing remains forever.
func TestAnAttemptWithAnUnknownRuleIsGivenUpInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSharedStore(nil, []Due{{Ref: "mail", Rule: "mail unread 10m0s", Since: time.Now()}})
		if n := s.run(t, Longest-time.Minute); n > 0 || s.results["mail"] != Limited {
			t.Errorf("within %v: %d attempts, result %d", Longest, n, s.results["mail"])
		}
		if n := s.run(t, 3*time.Minute); n > 0 || s.results["mail"] != Rejected {
			t.Errorf("after %v: %d attempts, result %d", Longest, n, s.results["mail"])
		}
	})
}
