package bridge

import (
	"context"
	"errors"
	"slices"
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
			err := c.Subscribe(context.Background(), SubscribeRequest{Filter: filter})
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
