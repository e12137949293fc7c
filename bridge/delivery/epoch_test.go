package delivery

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/fakeclock"
)

// restorable is a world with a log that restore restores.
func restorable(t *testing.T, o Options) (w *world, restore func()) {
	var restored atomic.Bool
	o.Epoch = func() string {
		if restored.Load() {
			return "e2"
		}
		return "e1"
	}
	return newWorld(t, o), func() { restored.Store(true) }
}

func TestARestoredLogEndsEveryConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, restore := restorable(t, Options{})
		_, l, _ := w.connect(persistent("7"))
		restore()
		fakeclock.Advance(2 * pollEvery)
		if got := l.reasons(); !slices.Equal(got, []bridge.EndReason{bridge.EndEpoch}) {
			t.Errorf("ended with %v", got)
		}
	})
}

// reopening changes something while a session is being opened.
type reopening struct {
	Sessions
	meanwhile func()
}

func (r reopening) Open(ctx context.Context, o bridge.OpenSession) (bridge.Session, error) {
	s, err := r.Sessions.Open(ctx, o)
	r.meanwhile()
	return s, err
}

// The session was opened before the restore, and the connection was not registered yet when
// all registered connections were ended.
func TestAConnectionThatOpensDuringARestoreEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, restore := restorable(t, Options{})
		w.hub.o.Sessions = reopening{w.hub.o.Sessions, func() {
			restore()
			fakeclock.Advance(2 * pollEvery)
		}}
		_, l, _ := w.connect(persistent("7"))
		synctest.Wait()
		if got := l.reasons(); !slices.Equal(got, []bridge.EndReason{bridge.EndEpoch}) {
			t.Errorf("ended with %v", got)
		}
	})
}

// If all devices reconnected at once, they would overload the database.
func TestConnectionsDoNotAllEndAtOnceAfterARestore(t *testing.T) {
	for name, tt := range map[string]struct {
		n            int
		within, over time.Duration
	}{
		"many": {2000, 10 * time.Second, 9 * time.Second},
		"two":  {2, 20 * time.Millisecond, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, restore := restorable(t, Options{EndOver: 10 * time.Second})
				var links []*fakeLink
				var cs []*Conn
				for i := range tt.n {
					u := bridge.UserID(fmt.Sprint("u", i))
					c, l, _ := w.connect(persistent(u))
					w.subscribe(c, qos1)
					links, cs = append(links, l), append(cs, c)
				}
				ended := func() (n int) {
					for _, l := range links {
						n += len(l.reasons())
					}
					return n
				}
				restore()
				w.hub.Hint(bridge.Hint{Type: bridge.HintEnd}) // polls
				synctest.Wait()
				if n := ended(); n > 1 {
					t.Fatalf("%d of %d ended at once", n, tt.n)
				}
				last := tt.n - 1
				w.notify(cs[last].device.User, "of another life")
				w.expect(links[last], "")
				if _, l, _ := w.connect(persistent(cs[last].device.User)); len(l.reasons()) > 0 {
					t.Error("a device that reconnects by itself is disconnected")
				}
				synctest.Wait()
				if got := links[last].reasons(); len(got) != 1 {
					t.Errorf("its previous connection ended with %v", got)
				}
				if tt.over > 0 {
					fakeclock.Advance(tt.over)
					if n := ended(); n < tt.n/2 || n > tt.n-tt.n/20 {
						t.Errorf("%d of %d ended within %v", n, tt.n, tt.over)
					}
				}
				fakeclock.Advance(tt.within - tt.over)
				if n := ended(); n != tt.n {
					t.Errorf("%d of %d ended within %v", n, tt.n, tt.within)
				}
			})
		})
	}
}
