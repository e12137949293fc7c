package delivery

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/fakeclock"
)

func TestAnotherUsersTopicIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Options{})
		c, _, _ := w.connect(persistent("7"))
		for _, filter := range []string{
			"users/8/reports/status", "users/+/reports/status", "#", "users/#", "+/7/reports/status", "$SYS/#",
			"$share/g/users/7/reports/status", "users/7/reports/status/", "/users/7/reports/status", "USERS/7/reports/status",
			"users/7/reports/Status", "users/07/reports/status", "users//reports/status", "",
		} {
			err := c.Subscribe(context.Background(), []SubscribeRequest{{Filter: filter}}, nil)[0]
			if c.May(filter) || !errors.Is(err, bridge.ErrForbidden) {
				t.Errorf("%q: May %v, Subscribe %v", filter, c.May(filter), err)
			}
		}
	})
}

func TestRenewWithLessScopeEndsTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Options{})
		claims := bridge.Claims{User: "op", Scope: bridge.ScopeRead, ExpiresAt: time.Now().Add(time.Hour)}
		c, l, _ := w.connect(ConnectRequest{Device: bridge.Device{User: "op", ClientID: "x"}, Claims: claims})
		w.subscribe(c, SubscribeRequest{Filter: "users/8/reports/status"})
		if err := c.Renew(t.Context(), bridge.Claims{User: "8", ExpiresAt: claims.ExpiresAt}); !errors.Is(err, bridge.ErrForbidden) {
			t.Errorf("renewed as another user: %v", err)
		}
		if err := c.Renew(t.Context(), bridge.Claims{User: "op", ExpiresAt: claims.ExpiresAt}); err != nil {
			t.Fatal(err)
		}
		w.notify("8", "secret")
		synctest.Wait()
		if got, _ := l.drain(); len(got) != 0 || !slices.Equal(l.reasons(), []bridge.EndReason{bridge.EndExpired}) {
			t.Errorf("got %v, ended %v", got, l.reasons())
		}
	})
}

// auditLog keeps what is recorded, or fails with err.
type auditLog struct {
	bridge.Audit
	calls   int
	entries []bridge.AuditEntry
	err     error
}

func (a *auditLog) Record(_ context.Context, entries ...bridge.AuditEntry) error {
	a.calls++
	if a.err == nil {
		a.entries = append(a.entries, entries...)
	}
	return a.err
}

// An operator who is recorded when reading a history over REST must not read it unseen over
// MQTT, where a subscription with since shows the same.
func TestASubscriptionToAnotherUsersTopicIsRecordedOrRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &auditLog{}
		w := newWorld(t, Options{Audit: log})
		r := ConnectRequest{Device: bridge.Device{User: "op", ClientID: "x"}, Remote: "[2001:db8::7]:51000",
			Claims: bridge.Claims{User: "op", ID: "t-1", Scope: bridge.ScopeRead, ExpiresAt: time.Now().Add(time.Hour)}}
		operator, _, _ := w.connect(r)
		filters := []SubscribeRequest{{Filter: "users/op/reports/status"}, {Filter: "users/8/reports/status"},
			{Filter: "users/8/reports/status"}, {Filter: "users/+/reports/status"}, {Filter: "#"}}
		granted := func() (out []bool) {
			for _, err := range operator.Subscribe(t.Context(), filters, nil) {
				out = append(out, err == nil)
			}
			return out
		}
		if got := granted(); !slices.Equal(got, []bool{true, true, true, true, false}) {
			t.Errorf("granted %v", got)
		}
		want := bridge.AuditEntry{Sub: "op", JTI: "t-1", Action: bridge.AuditHistory, User: "8", Remote: "2001:db8::7", Detail: "SUBSCRIBE users/8/reports/status"}
		everybody := want
		everybody.User, everybody.Detail = "", "SUBSCRIBE users/+/reports/status"
		if log.calls != 1 || !slices.Equal(log.entries, []bridge.AuditEntry{want, everybody}) {
			t.Errorf("%d calls recorded %+v", log.calls, log.entries)
		}

		log.err = bridge.ErrUnavailable
		if got := granted(); !slices.Equal(got, []bool{true, false, false, false, false}) {
			t.Errorf("with an audit log that fails it granted %v", got)
		}

		log.err, log.entries = nil, nil
		user, _, _ := w.connect(ConnectRequest{Device: bridge.Device{User: "8", ClientID: "x"}, Claims: bridge.Claims{User: "8", ExpiresAt: time.Now().Add(time.Hour)}})
		_ = user.Subscribe(t.Context(), filters, nil)
		if len(log.entries) > 0 {
			t.Errorf("a user's own subscription, and refused ones, are recorded as %+v", log.entries)
		}
	})
}

func TestASubscribeOfManyFiltersAsksTheDatabaseOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Options{})
		operator := persistent("7")
		operator.Claims = bridge.Claims{User: "7", Scope: bridge.ScopeRead, ExpiresAt: time.Now().Add(time.Hour)}
		for name, r := range map[string]ConnectRequest{
			"with a session":    operator,
			"without a session": {Device: bridge.Device{User: "7", ClientID: "brief"}, Claims: operator.Claims},
		} {
			w.notify("7", "own")
			c, l, _ := w.connect(r)
			rs := make([]SubscribeRequest, 64)
			for i := range rs {
				rs[i] = SubscribeRequest{Filter: w.hub.o.Topics.Status(bridge.UserID(strconv.Itoa(i%17 + 1))), Subscription: bridge.Subscription{QoS: 1}}
			}
			before := w.log.statements.Load()
			for i, err := range c.Subscribe(context.Background(), rs, nil) {
				if err != nil {
					t.Errorf("%s, filter %d: %v", name, i, err)
				}
			}
			if n := w.log.statements.Load() - before; n > 2 {
				t.Errorf("%s, %d statements for one packet", name, n)
			}
			c.Activate(w.hub.o.Topics.Status("7"))
			synctest.Wait()
			if got, _ := l.drain(); len(got) != 1 {
				t.Errorf("%s, the retained message was sent %d times", name, len(got))
			}
		}
	})
}

func TestEqualFiltersHaveTheEffectOfOneAfterAnother(t *testing.T) {
	for name, tt := range map[string]struct {
		handling []byte
		want     byte
	}{
		"the first asks for it, the second does not":   {[]byte{0, 2}, 0},
		"the second asks for it":                       {[]byte{2, 0}, 0},
		"if new, then never":                           {[]byte{1, 2}, 1},
		"never, then if new, which it is not any more": {[]byte{2, 1}, 2},
	} {
		var rs []SubscribeRequest
		for i, h := range tt.handling {
			rs = append(rs, SubscribeRequest{Filter: "a", Subscription: bridge.Subscription{ID: i}, RetainHandling: h}, SubscribeRequest{Filter: "b"})
		}
		distinct, index := distinctFilters(rs)
		if len(distinct) != 2 || distinct[0].ID != 1 || distinct[0].RetainHandling != tt.want || !slices.Equal(index, []int{0, 1, 0, 1}) {
			t.Errorf("%s: %+v, %v", name, distinct, index)
		}
	}
}

// known returns the number of users and wildcard subscriptions that the hub has.
func (w *world) known() (n int) {
	for i := range w.hub.shards {
		s := &w.hub.shards[i]
		s.mu.Lock()
		n += len(s.users)
		s.mu.Unlock()
	}
	return n + int(w.hub.feeds.n.Load())
}

// A device that subscribes and is taken over at the same moment must not leave a pump, and
// with it the connection, in the hub.
func TestASubscribeAfterTheEndLeavesNothingBehind(t *testing.T) {
	for name, filter := range map[string]string{"own": "users/op/reports/status", "another user's": "users/8/reports/status", "everybody's": "users/+/reports/status"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, Options{})
				c, _, _ := w.connect(operator(0))
				c.Close()
				if err := c.Subscribe(context.Background(), []SubscribeRequest{topic(filter)}, nil)[0]; !errors.Is(err, bridge.ErrConflict) {
					t.Errorf("subscribed after the end: %v", err)
				}
				for range 500 {
					c, _, _ := w.connect(operator(0))
					go c.Close()
					c.Subscribe(context.Background(), []SubscribeRequest{topic(filter)}, nil)
					synctest.Wait()
					c.Close()
				}
				if n := w.known(); n > 0 {
					t.Errorf("the hub still has %d after all devices have left", n)
				}
			})
		})
	}
}

// A new user with the erased user's id gets seqs from 1 on, and the position of an operator
// who is subscribed to the topic is ahead of them. Orders are returned more than once.
func TestErasingAUserStartsItsTopicOver(t *testing.T) {
	for name, tt := range map[string]struct {
		early      int    // notifications appended before the order is read
		sent, then string // the seqs sent before and after it
	}{
		"nothing new yet":  {0, "", ""},
		"less than before": {2, "", "1 2"},
		"more than before": {5, "4 5", "1 2 3 4 5"},
	} {
		t.Run(name, func(t *testing.T) {
			inCluster(t, func(w *world, p *peers) {
				w.notify("8", "a", "b", "c")
				c, l, _ := w.connect(operator(0))
				w.subscribe(c, topic("users/8/reports/status"))
				c.all(w.expect(l, "3r"))
				w.log.erase("8")
				w.hub.Hint(bridge.Hint{Type: bridge.HintMuted, User: "8"})
				for range tt.early {
					w.notify("8", "new")
				}
				c.all(w.expect(l, tt.sent))
				p.set(false, bridge.Order{User: "8", Before: 99, Reason: bridge.EndErased}) // returned by every poll from now on
				w.hub.Hint(bridge.Hint{Type: bridge.HintEnd, User: "8"})
				c.all(w.expect(l, tt.then))
				fakeclock.Advance(5 * pollEvery)
				for i := range 3 {
					w.notify("8", "live")
					c.all(w.expect(l, fmt.Sprint(tt.early+i+1)))
				}
				if got := l.reasons(); len(got) > 0 {
					t.Errorf("ended with %v", got)
				}
			})
		})
	}
}
