package bridge

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"
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
			if c.May(filter) || !errors.Is(err, ErrForbidden) {
				t.Errorf("%q: May %v, Subscribe %v", filter, c.May(filter), err)
			}
		}
	})
}

func TestRenewWithLessScopeEndsTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Options{})
		claims := Claims{User: "op", Scope: ScopeRead, ExpiresAt: time.Now().Add(time.Hour)}
		c, l, _ := w.connect(ConnectRequest{Device: Device{"op", "x"}, Claims: claims})
		w.subscribe(c, SubscribeRequest{Filter: "users/8/reports/status"})
		if err := c.Renew(Claims{User: "8", ExpiresAt: claims.ExpiresAt}); !errors.Is(err, ErrForbidden) {
			t.Errorf("renewed as another user: %v", err)
		}
		if err := c.Renew(Claims{User: "op", ExpiresAt: claims.ExpiresAt}); err != nil {
			t.Fatal(err)
		}
		w.notify("8", "secret")
		synctest.Wait()
		if got, _ := l.take(); len(got) != 0 || !slices.Equal(l.reasons(), []EndReason{EndExpired}) {
			t.Errorf("got %v, ended %v", got, l.reasons())
		}
	})
}

func TestASubscribeOfManyFiltersAsksTheDatabaseOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Options{})
		operator := persistent("7")
		operator.Claims = Claims{User: "7", Scope: ScopeRead, ExpiresAt: time.Now().Add(time.Hour)}
		for name, r := range map[string]ConnectRequest{
			"with a session":    operator,
			"without a session": {Device: Device{"7", "brief"}, Claims: operator.Claims},
		} {
			w.notify("7", "own")
			c, l, _ := w.connect(r)
			rs := make([]SubscribeRequest, 64)
			for i := range rs {
				rs[i] = SubscribeRequest{Filter: w.hub.o.Topics.Status(UserID(strconv.Itoa(i%17 + 1))), Subscription: Subscription{QoS: 1}}
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
			if got, _ := l.take(); len(got) != 1 {
				t.Errorf("%s, the retained message came %d times", name, len(got))
			}
		}
	})
}

func TestEqualFiltersComeToWhatTheyWouldOneAfterAnother(t *testing.T) {
	for name, tt := range map[string]struct {
		handling []byte
		want     byte
	}{
		"the first sends it, the second not":          {[]byte{0, 2}, 0},
		"the second sends it":                         {[]byte{2, 0}, 0},
		"new only, then never":                        {[]byte{1, 2}, 1},
		"never, then new only, which it is not again": {[]byte{2, 1}, 2},
	} {
		var rs []SubscribeRequest
		for i, h := range tt.handling {
			rs = append(rs, SubscribeRequest{Filter: "a", Subscription: Subscription{ID: i}, RetainHandling: h}, SubscribeRequest{Filter: "b"})
		}
		distinct, index := distinctFilters(rs)
		if len(distinct) != 2 || distinct[0].ID != 1 || distinct[0].RetainHandling != tt.want || !slices.Equal(index, []int{0, 1, 0, 1}) {
			t.Errorf("%s: %+v, %v", name, distinct, index)
		}
	}
}
