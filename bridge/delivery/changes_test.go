package delivery

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/fakeclock"
)

// listing is a cluster that stores the list of connections, like the database.
type listing struct {
	peers
	fail   map[int]bool // which calls fail, counted from 1
	stored bool         // whether a failing call stored its lists nevertheless
	during func()       // runs in each call, before it returns
	calls  []int        // the number of connections in each call
	list   map[bridge.Connection]bool
}

func (l *listing) Register(_ context.Context, _ string, opened, closed []bridge.Connection) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls = append(l.calls, max(len(opened), len(closed)))
	failed := l.fail[len(l.calls)]
	if l.during != nil {
		l.during()
	}
	if !failed || l.stored {
		for _, c := range closed {
			delete(l.list, c)
		}
		for _, c := range opened {
			l.list[c] = true
		}
	}
	if failed {
		return bridge.ErrUnavailable
	}
	return nil
}

func (l *listing) seen() (calls []int, listed int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.calls), len(l.list)
}

// inList runs f with a hub that registers ten connections in one step.
func inList(t *testing.T, l *listing, f func(w *world)) {
	synctest.Test(t, func(t *testing.T) {
		l.list = map[bridge.Connection]bool{}
		w := newWorld(t, Options{Cluster: l, Step: 10})
		synctest.Wait()
		f(w)
	})
}

func (w *world) crowd(n int) (all []*Conn) {
	for i := range n {
		c, _, _ := w.connect(persistent(bridge.UserID(fmt.Sprint("u", i))))
		all = append(all, c)
	}
	return all
}

func TestAFailedRegistrationContinuesWhereItStopped(t *testing.T) {
	l := &listing{fail: map[int]bool{4: true}}
	inList(t, l, func(w *world) {
		w.crowd(100)
		fakeclock.Advance(registerEvery)
		if calls, listed := l.seen(); len(calls) != 4 || listed != 30 {
			t.Fatalf("calls %v, %d listed; want the first three steps", calls, listed)
		}
		w.hub.node.changes.registerAll() // the node was taken for dead: all are registered again, in steps
		l.mu.Lock()
		clear(l.list)
		l.fail = map[int]bool{9: true}
		l.mu.Unlock()
		fakeclock.Advance(2 * registerEvery)
		calls, listed := l.seen()
		if listed != 100 || len(calls) != 4+4+1+6 || slices.Max(calls) > 10 {
			t.Errorf("calls %v, %d listed; want ten steps after the fourth call, one of them twice", calls, listed)
		}
	})
}

func TestClosedConnectionsDoNotWaitForABacklogOfOpenedOnes(t *testing.T) {
	l := &listing{}
	inList(t, l, func(w *world) {
		w.crowd(10)
		fakeclock.Advance(registerEvery)
		w.hub.each(func(c *Conn) { c.Close() })
		for i := range 50 {
			w.connect(persistent(bridge.UserID(fmt.Sprint("late", i))))
		}
		l.mu.Lock()
		l.fail = map[int]bool{3: true} // the first step succeeds: ten closed, ten opened
		l.mu.Unlock()
		fakeclock.Advance(registerEvery)
		if calls, listed := l.seen(); len(calls) != 3 || listed != 10 {
			t.Errorf("calls %v, %d listed", calls, listed)
		}
	})
}

// A call that fails may have stored its lists. A connection that closes before the call is
// repeated has to be removed, or it would be listed as long as the node lives.
func TestAConnectionThatClosesAfterAFailedRegistrationIsNotListed(t *testing.T) {
	for name, stored := range map[string]bool{"which stored nothing": false, "which stored it": true} {
		t.Run(name, func(t *testing.T) {
			l := &listing{fail: map[int]bool{1: true}, stored: stored}
			inList(t, l, func(w *world) {
				all := w.crowd(2)
				fakeclock.Advance(registerEvery)
				all[0].Close()
				fakeclock.Advance(registerEvery)
				if calls, listed := l.seen(); len(calls) != 2 || listed != 1 {
					t.Errorf("calls %v, %d listed", calls, listed)
				}
			})
		})
	}
}

func TestAConnectionThatClosesDuringAFailingRegistrationIsNotListed(t *testing.T) {
	l := &listing{fail: map[int]bool{1: true}, stored: true}
	inList(t, l, func(w *world) {
		all := w.crowd(2)
		l.mu.Lock()
		l.during = sync.OnceFunc(all[0].Close)
		l.mu.Unlock()
		fakeclock.Advance(2 * registerEvery)
		if calls, listed := l.seen(); len(calls) != 2 || listed != 1 {
			t.Errorf("calls %v, %d listed", calls, listed)
		}
	})
}
