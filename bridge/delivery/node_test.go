package delivery

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/fakeclock"
)

// peers is a cluster that returns what a test puts into it.
type peers struct {
	singleNode
	mu          sync.Mutex
	orders      []bridge.Order
	unavailable bool
	pace        time.Duration // how long a call takes
	taken       []bridge.Revocation
	opened      []bridge.Connection
	closed      []bridge.Connection
}

func (p *peers) Poll(context.Context, string, time.Time) ([]bridge.Order, time.Time, error) {
	p.wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.unavailable {
		return nil, time.Time{}, bridge.ErrUnavailable
	}
	return p.orders, time.Time{}, nil
}

func (p *peers) Revocations(context.Context, bridge.Revocation, int) ([]bridge.Revocation, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.unavailable {
		return nil, bridge.ErrUnavailable
	}
	return p.taken, nil
}

func (p *peers) revoke(rs ...bridge.Revocation) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken = append(p.taken, rs...)
}

func (p *peers) Register(_ context.Context, _ string, opened, closed []bridge.Connection) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.unavailable {
		return bridge.ErrUnavailable
	}
	p.opened, p.closed = append(p.opened, opened...), append(p.closed, closed...)
	return nil
}

func (p *peers) Beat(context.Context, string, bridge.Figures) error {
	p.wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.unavailable {
		return bridge.ErrUnavailable
	}
	return nil
}

func (p *peers) setPace(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pace = d
}

func (p *peers) wait() {
	p.mu.Lock()
	pace := p.pace
	p.mu.Unlock()
	fakeclock.Spend(pace)
}

func (p *peers) set(unavailable bool, orders ...bridge.Order) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.unavailable, p.orders = unavailable, orders
}

func (p *peers) registrations() (opened, closed int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.opened), len(p.closed)
}

// inCluster runs f with fake time and a hub whose cluster the test controls.
func inCluster(t *testing.T, f func(w *world, p *peers)) {
	synctest.Test(t, func(t *testing.T) {
		p := &peers{}
		w := newWorld(t, Options{Cluster: p})
		synctest.Wait()
		f(w, p)
	})
}

func TestOrdersEndConnections(t *testing.T) {
	for name, tt := range map[string]struct {
		order bridge.Order
		want  []bridge.EndReason
	}{
		"all of the user's":          {bridge.Order{User: "7", Before: 99, Reason: bridge.EndAdmin}, []bridge.EndReason{bridge.EndAdmin}},
		"this device's older":        {bridge.Order{User: "7", ClientID: "phone", Before: 99, Reason: bridge.EndTakenOver}, []bridge.EndReason{bridge.EndTakenOver}},
		"another device's":           {bridge.Order{User: "7", ClientID: "tablet", Before: 99, Reason: bridge.EndTakenOver}, nil},
		"another user's":             {bridge.Order{User: "8", Before: 99, Reason: bridge.EndAdmin}, nil},
		"only ones opened before it": {bridge.Order{User: "7", Before: 1, Reason: bridge.EndAdmin}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			inCluster(t, func(w *world, p *peers) {
				_, l, _ := w.connect(persistent("7"))
				p.set(false, tt.order)
				fakeclock.Advance(2 * pollEvery)
				if got := l.reasons(); !slices.Equal(got, tt.want) {
					t.Errorf("ended with %v, want %v", got, tt.want)
				}
			})
		})
	}
}

func TestRevokedTokensEndConnectionsWithin5s(t *testing.T) {
	now := time.Now()
	for name, tt := range map[string]struct {
		claims bridge.Claims
		r      bridge.Revocation
		ends   bool
	}{
		"by jti":                           {bridge.Claims{User: "7", ID: "a"}, bridge.Revocation{ID: "a"}, true},
		"by another jti":                   {bridge.Claims{User: "7", ID: "a"}, bridge.Revocation{ID: "b"}, false},
		"by user, issued before":           {bridge.Claims{User: "7", IssuedAt: now}, bridge.Revocation{User: "7", Before: now.Add(time.Second)}, true},
		"by user, issued after":            {bridge.Claims{User: "7", IssuedAt: now}, bridge.Revocation{User: "7", Before: now.Add(-time.Second)}, false},
		"by user, without a time of issue": {bridge.Claims{User: "7"}, bridge.Revocation{User: "7", Before: now}, true},
		"of another user":                  {bridge.Claims{User: "7"}, bridge.Revocation{User: "8", Before: now}, false},
	} {
		t.Run(name, func(t *testing.T) {
			inCluster(t, func(w *world, p *peers) {
				r := persistent("7")
				tt.claims.ExpiresAt = time.Now().Add(time.Hour)
				r.Claims = tt.claims
				c, l, _ := w.connect(r)
				w.subscribe(c, qos1)
				p.revoke(tt.r)
				fakeclock.Advance(5 * time.Second)
				w.notify("7", "after")
				synctest.Wait()
				got, _ := l.drain()
				if ended := slices.Equal(l.reasons(), []bridge.EndReason{bridge.EndExpired}); ended != tt.ends || (len(got) == 0) != tt.ends {
					t.Errorf("ended %v, got %v", ended, got)
				}
			})
		})
	}
}

func TestAHintMakesTheNodePollAtOnce(t *testing.T) {
	inCluster(t, func(w *world, p *peers) {
		_, l, _ := w.connect(persistent("7"))
		p.set(false, bridge.Order{User: "7", Before: 99, Reason: bridge.EndAdmin})
		w.hub.Hint(bridge.Hint{Type: bridge.HintEnd, User: "7"})
		synctest.Wait()
		if got := l.reasons(); !slices.Equal(got, []bridge.EndReason{bridge.EndAdmin}) {
			t.Errorf("ended with %v", got)
		}
	})
}

func TestNothingIsDeliveredOnAStaleView(t *testing.T) {
	inCluster(t, func(w *world, p *peers) {
		_, l := w.subscribed("7")
		op, seen, _ := w.connect(ConnectRequest{Device: bridge.Device{User: "op", ClientID: "x"},
			Claims: bridge.Claims{User: "op", Scope: bridge.ScopeRead, ExpiresAt: time.Now().Add(time.Hour)}})
		w.subscribe(op, SubscribeRequest{Filter: "users/+/reports/status", RetainHandling: 2})
		p.set(true)
		fakeclock.Advance(viewLife + time.Second)
		w.notify("7", "a")
		w.expect(l, "")
		w.expect(seen, "")
		if w.hub.Ready() == nil {
			t.Error("ready on a stale view")
		}
		p.set(false)
		fakeclock.Advance(pollEvery)
		w.expect(l, "1")
		w.expect(seen, "1")
	})
}

func TestConnectionsAreRegisteredAndForgotten(t *testing.T) {
	inCluster(t, func(w *world, p *peers) {
		c, _, _ := w.connect(persistent("7"))
		p.set(true) // registrations fail and are kept
		fakeclock.Advance(2 * registerEvery)
		p.set(false)
		fakeclock.Advance(registerEvery)
		if o, x := p.registrations(); o != 1 || x != 0 {
			t.Fatalf("%d opened, %d closed", o, x)
		}
		c.Close()
		brief, _, _ := w.connect(ConnectRequest{Device: bridge.Device{User: "7", ClientID: "brief"}})
		brief.Close()
		fakeclock.Advance(registerEvery)
		if o, x := p.registrations(); o != 1 || x != 1 {
			t.Fatalf("%d opened, %d closed after the end", o, x)
		}
	})
}

func TestANodeThatWasTakenForDeadRegistersEverythingAgain(t *testing.T) {
	inCluster(t, func(w *world, p *peers) {
		w.connect(persistent("7"))
		fakeclock.Advance(2 * registerEvery)
		p.set(true)
		fakeclock.Advance(bridge.NodeTimeout + beatEvery)
		p.set(false)
		fakeclock.Advance(2 * beatEvery)
		if o, _ := p.registrations(); o != 2 {
			t.Errorf("registered %d times, want it twice", o)
		}
	})
}

// A hint can arrive before its row is readable in the order of the feed, while an older
// transaction is open. The feed then reads again by itself.
func TestAFeedRetriesForWhatAHintAnnounced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Options{Sweep: time.Hour})
		op, l, _ := w.connect(ConnectRequest{Device: bridge.Device{User: "op", ClientID: "x"},
			Claims: bridge.Claims{User: "op", Scope: bridge.ScopeRead, ExpiresAt: time.Now().Add(time.Hour)}})
		w.subscribe(op, SubscribeRequest{Filter: "users/+/reports/status"})
		synctest.Wait()
		w.hub.Hint(bridge.Hint{Type: bridge.HintAppended, User: "7", Seq: 1})
		fakeclock.Advance(2 * feedRetryWait)
		_, err := w.log.Append(context.Background(), bridge.Command{Drafts: []bridge.Draft{{User: "7", Title: "a", Message: "a"}}})
		if err != nil {
			t.Fatal(err)
		}
		fakeclock.Advance(2 * feedRetryWait)
		w.expect(l, "1")
	})
}

// A token can be revoked during the login, after it was verified and before its connection is
// registered, so that the poll finds no connection to end.
func TestATokenRevokedDuringTheLoginEndsTheConnection(t *testing.T) {
	inCluster(t, func(w *world, p *peers) {
		w.hub.Revocations.Add(bridge.Revocation{ID: "stolen"})
		r := persistent("7")
		r.Claims = bridge.Claims{User: "7", ID: "stolen", ExpiresAt: time.Now().Add(time.Hour)}
		c, l, _ := w.connect(r)
		if c.Subscribe(context.Background(), []SubscribeRequest{{Filter: w.hub.o.Topics.Status("7")}}, nil)[0] == nil {
			c.Activate(w.hub.o.Topics.Status("7"))
		}
		w.notify("7", "secret")
		synctest.Wait()
		if got, _ := l.drain(); len(got) > 0 || !slices.Equal(l.reasons(), []bridge.EndReason{bridge.EndExpired}) {
			t.Errorf("got %v, ended %v", got, l.reasons())
		}
	})
}

func TestARevokedTokenDoesNotRenew(t *testing.T) {
	inCluster(t, func(w *world, p *peers) {
		c, l, _ := w.connect(persistent("7"))
		w.hub.Revocations.Add(bridge.Revocation{ID: "stolen"})
		if err := c.Renew(t.Context(), bridge.Claims{User: "7", ID: "stolen", ExpiresAt: time.Now().Add(time.Hour)}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if !slices.Equal(l.reasons(), []bridge.EndReason{bridge.EndExpired}) {
			t.Errorf("ended %v", l.reasons())
		}
	})
}

// A poll begins while the view of the last one is recent enough, and ends when it no longer
// is. Only this poll can wake a pump that found it out of date in between.
func TestAWakeUpIsNotLostWhileThePollStalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &peers{}
		w := newWorld(t, Options{Cluster: p, Sweep: 5300 * time.Millisecond})
		_, l := w.subscribed("7")
		p.set(true) // the poll at 2 s fails
		fakeclock.Advance(3*time.Second - started)
		p.set(false)
		p.setPace(1500 * time.Millisecond) // the poll at 4 s ends at 5.5 s
		fakeclock.Advance(2200 * time.Millisecond)
		w.notify("7", "a")
		fakeclock.Advance(200 * time.Millisecond) // a sweep at 5.3 s
		w.expect(l, "")
		fakeclock.Advance(200 * time.Millisecond)
		w.expect(l, "1")
	})
}

// The database may have stored a heartbeat long before it responded. So the time after which
// the other nodes take this one for dead counts from the beginning of the heartbeat.
func TestANodeRegistersEverythingAgainAfterASlowBeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &peers{}
		w := newWorld(t, Options{Cluster: p})
		w.connect(persistent("7"))
		fakeclock.Advance(2 * registerEvery)
		p.setPace(1900 * time.Millisecond)
		fakeclock.Advance(2 * beatEvery) // beats at 4 s and at 8 s
		p.set(true)
		fakeclock.Advance(9 * time.Second)
		p.set(false) // the next beat is at 20 s, 12 s after the last one began
		p.setPace(1 * time.Millisecond)
		fakeclock.Advance(beatEvery + 2*registerEvery)
		if o, _ := p.registrations(); o != 2 {
			t.Errorf("registered %d times, want it twice", o)
		}
	})
}
