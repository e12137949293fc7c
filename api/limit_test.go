package api

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

func TestAUserWhoAsksTooOftenWaits(t *testing.T) {
	e := newEdge(t, sqlite(t), func(o *Options) { o.RequestRatePerUser = 3 })
	user := tokenFor(t, "1")
	for range 3 {
		e.call("GET /settings", user, "").want(http.StatusOK)
	}
	a := e.call("GET /settings", user, "")
	a.problem(http.StatusTooManyRequests)
	if s, err := strconv.Atoi(a.Header().Get("Retry-After")); err != nil || s < 1 {
		t.Errorf("Retry-After %q", a.Header().Get("Retry-After"))
	}
	e.call("GET /settings", tokenFor(t, "1"), "").problem(http.StatusTooManyRequests) // another token of the same user
	e.call("GET /settings", tokenFor(t, "2"), "").want(http.StatusOK)
	e.call("DELETE /admin/users/1", tokenFor(t, "3"), "").problem(http.StatusForbidden)

	service := tokenFor(t, "1", "notifications:write")
	for range 20 {
		e.call("GET /settings", service, "").want(http.StatusOK)
	}
	for range 20 {
		e.call("GET /healthz", "", "").want(http.StatusOK)
	}
}

func TestAnAddressThatAsksTooOftenWaits(t *testing.T) {
	e := bare(t, func(o *Options) { o.RequestRatePerAddress = 2 })
	for range 2 {
		e.call("GET /settings", "x", "").problem(http.StatusUnauthorized)
	}
	e.call("GET /settings", "x", "").problem(http.StatusTooManyRequests)
	e.call("GET /settings", tokenFor(t, "1"), "").problem(http.StatusTooManyRequests)
}

func TestABucketFillsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter[bridge.UserID](2)
		l.take("u")
		l.take("u")
		wait := l.take("u")
		if wait <= 0 || wait > 500*time.Millisecond {
			t.Fatalf("wait %v", wait)
		}
		time.Sleep(wait) // faked time
		if wait := l.take("u"); wait != 0 {
			t.Errorf("still to wait %v", wait)
		}
	})
}

func TestALimiterForgetsToStayBounded(t *testing.T) {
	l := newLimiter[int](1)
	for i := range 200_000 {
		l.take(i)
	}
	kept := 0
	for i := range l.shards {
		kept += len(l.shards[i].young) + len(l.shards[i].old)
	}
	if most := limitShards * 2 * limitKept; kept > most || kept < most/4 {
		t.Errorf("%d buckets kept, want at most %d", kept, most)
	}
	if l := newLimiter[int](0); l.take(1) != 0 {
		t.Error("a limiter of rate 0 refuses")
	}
}

func TestTheClientAddressIsBelievedFromTrustedProxiesOnly(t *testing.T) {
	a := &api{o: Options{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}}}
	for name, tt := range map[string]struct{ peer, forwarded, want string }{
		"nobody in between":          {"192.0.2.1:5", "", "192.0.2.1"},
		"a stranger who claims":      {"192.0.2.1:5", "198.51.100.9", "192.0.2.1"},
		"a proxy":                    {"10.1.1.1:5", "198.51.100.9", "198.51.100.9"},
		"a proxy behind a proxy":     {"10.1.1.1:5", "198.51.100.9, 10.2.2.2", "198.51.100.9"},
		"a client that claims more":  {"10.1.1.1:5", "203.0.113.7, 198.51.100.9", "198.51.100.9"},
		"rubbish":                    {"10.1.1.1:5", "unknown", "10.1.1.1"},
		"a proxy that says nothing":  {"10.1.1.1:5", "", "10.1.1.1"},
		"IPv6 stands for its /64":    {"[2001:db8::1:2:3:4]:5", "", "2001:db8::"},
		"IPv4 in IPv6":               {"[::ffff:192.0.2.1]:5", "", "192.0.2.1"},
		"a proxy that speaks of one": {"[fd00::1]:5", "2001:db8:1::9", "2001:db8:1::"},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = tt.peer
		if tt.forwarded != "" {
			r.Header.Set("X-Forwarded-For", tt.forwarded)
		}
		if got := a.clientAddr(r); got.String() != tt.want {
			t.Errorf("%s: %v, want %s", name, got, tt.want)
		}
	}
}
