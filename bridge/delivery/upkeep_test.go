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
