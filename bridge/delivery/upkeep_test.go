package delivery

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/fakeclock"
)

func TestOnlyLogsThatTheSweepRepairsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Options{})
		_, l := w.subscribed("7")
		repairs := func(want int64) {
			t.Helper()
			fakeclock.Advance(10 * time.Second) // a sweep
			if got := w.hub.Upkeep().Repairs; got != want {
				t.Errorf("%d repairs, want %d", got, want)
			}
		}
		w.notify("7", "a")
		w.expect(l, "1")
		repairs(0)
		w.appendUnheard("7")
		repairs(1)
		w.expect(l, "2")
		w.log.setMuted("7", true)
		w.appendUnheard("7") // its hint is lost
		repairs(1)
		w.appendUnheard("8") // has no device
		repairs(1)
	})
}

// pruner removes a thousand rows of each kind, in two steps, or fails with err.
type pruner struct {
	mu    sync.Mutex
	steps map[string]int
	err   error
}

func (p *pruner) step(what string, limit int) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return 0, p.err
	}
	if p.steps[what]++; p.steps[what] > 2 {
		return 0, nil
	}
	return limit, nil
}

func (p *pruner) ExpireSessions(_ context.Context, n int) (int, error) { return p.step("sessions", n) }
func (p *pruner) ExpireKeys(_ context.Context, n int) (int, error)     { return p.step("keys", n) }
func (p *pruner) ExpireRevocations(_ context.Context, _ time.Duration, n int) (int, error) {
	return p.step("revocations", n)
}

func (p *pruner) ExpireNotifications(_ context.Context, n int) (int, []bridge.UserID, error) {
	n, err := p.step("expired", n)
	return n, nil, err
}
func (p *pruner) ExpireTombstones(_ context.Context, n int) (int, error)   { return p.step("tombs", n) }
func (p *pruner) ExpirePastSessions(_ context.Context, n int) (int, error) { return p.step("past", n) }
func (p *pruner) ExpireAudit(_ context.Context, _ time.Duration, n int) (int, error) {
	return p.step("audit", n)
}

func (p *pruner) Retain(_ context.Context, _ time.Time, n int) (int, error) {
	return p.step("retention", n)
}
func (p *pruner) Continue(_ context.Context, n int) (int, error) { return p.step("continue", n) }

func TestRemovedRowsAreCountedByReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Options{Retention: time.Hour, AuditAge: time.Hour, Pruner: &pruner{steps: make(map[string]int)}})
		synctest.Wait()
		fakeclock.Advance(5 * time.Second)
		removed := w.hub.Upkeep().Removed
		if len(removed) != len(removals) {
			t.Errorf("the reasons are %v", removed)
		}
		for why, n := range removed {
			if n != 2*pruneRows {
				t.Errorf("%s: %d rows, want %d", why, n, 2*pruneRows)
			}
		}
	})
}

// clockedFeed is a feed whose sweep has a number of steps that take a while. It notes when
// each one began.
type clockedFeed struct {
	*memLog
	pace time.Duration

	mu    sync.Mutex
	steps int
	began []time.Time
}

func (f *clockedFeed) Changed(_ context.Context, p bridge.Position, _ int) ([]bridge.Change, bridge.Position, bool, error) {
	f.mu.Lock()
	f.began = append(f.began, time.Now())
	f.steps--
	more := f.steps > 0
	f.mu.Unlock()
	fakeclock.Spend(f.pace)
	return nil, p, more, nil
}

// runs starts a hub that runs until the test ends.
func runs(t *testing.T, o Options) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	hub := NewHub(o)
	go func() { done <- hub.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
}

// The sweep of a busy cluster must leave the database to others in between, and must not fall
// behind when the database is slow.
func TestASweepPausesBetweenItsStepsUntilItIsLate(t *testing.T) {
	for name, tt := range map[string]struct {
		pace time.Duration
		gaps []time.Duration
	}{
		"short steps": {10 * time.Millisecond, []time.Duration{30 * time.Millisecond, 30 * time.Millisecond, 30 * time.Millisecond}},
		"slow steps":  {1900 * time.Millisecond, []time.Duration{5 * time.Second, 1900 * time.Millisecond, 1900 * time.Millisecond}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newMemLog()
				f := &clockedFeed{memLog: l, pace: tt.pace, steps: len(tt.gaps) + 1}
				runs(t, Options{Log: l, Sessions: l, Feed: f, Cluster: singleNode{}, Epoch: func() string { return "e1" }, Sweep: 5 * time.Second})
				fakeclock.Advance(started + 15*time.Second)
				f.mu.Lock()
				defer f.mu.Unlock()
				for i, want := range tt.gaps {
					if len(f.began) <= i+1 {
						t.Fatalf("the sweep made %d steps, want %d", len(f.began), len(tt.gaps)+1)
					}
					if got := f.began[i+1].Sub(f.began[i]); got != want {
						t.Errorf("step %d began %v after the one before, want %v", i+1, got, want)
					}
				}
			})
		})
	}
}

// clockedCluster notes when the loops of the hub call it.
type clockedCluster struct {
	singleNode
	mu    sync.Mutex
	calls map[time.Time][]string
}

func (c *clockedCluster) note(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls[time.Now()] = append(c.calls[time.Now()], what)
}

func (c *clockedCluster) Beat(context.Context, string, bridge.Figures) error {
	c.note("beat")
	return nil
}

func (c *clockedCluster) Poll(context.Context, string, time.Time) ([]bridge.Order, time.Time, error) {
	c.note("poll")
	return nil, time.Now(), nil
}

func (c *clockedCluster) Register(_ context.Context, _ string, _, _ []bridge.Connection) error {
	c.note("register")
	return nil
}

// All intervals of the hub divide 20 s, so loops that started together would query the
// database at the same moment again and again.
func TestTheLoopsOfTheHubDoNotQueryTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, c := newMemLog(), &clockedCluster{calls: make(map[time.Time][]string)}
		f := &clockedFeed{memLog: l}
		runs(t, Options{Log: l, Sessions: l, Feed: f, Cluster: c, Epoch: func() string { return "e1" }})
		fakeclock.Advance(started + 20*time.Second)
		c.mu.Lock()
		defer c.mu.Unlock()
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, at := range f.began {
			c.calls[at] = append(c.calls[at], "sweep")
		}
		seen := make(map[string]bool)
		for at, whats := range c.calls {
			for _, what := range whats {
				seen[what] = true
			}
			if len(whats) > 1 {
				t.Errorf("at %v the hub queried for %v", at, whats)
			}
		}
		if len(seen) < 3 {
			t.Errorf("the hub queried only for %v", seen)
		}
	})
}
