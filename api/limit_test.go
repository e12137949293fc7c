package api

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/edge"
)

func TestAUserBeyondTheRateIsLimited(t *testing.T) {
	e := newHarness(t, sqlite(t), func(o *Options) { o.RequestRatePerUser = 3 })
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

func TestAnAddressBeyondTheRateIsLimited(t *testing.T) {
	e := bare(t, func(o *Options) { o.RequestRatePerAddress = 2 })
	for range 2 {
		e.call("GET /settings", "x", "").problem(http.StatusUnauthorized)
	}
	e.call("GET /settings", "x", "").problem(http.StatusTooManyRequests)
	e.call("GET /settings", tokenFor(t, "1"), "").problem(http.StatusTooManyRequests)
}

// counting is a verifier that counts its calls.
type counting struct {
	Verifier
	n atomic.Int64
}

func (c *counting) Verify(ctx context.Context, raw string) (bridge.Claims, error) {
	c.n.Add(1)
	return c.Verifier.Verify(ctx, raw)
}

// The rate of an address is checked before a signature, which costs far more. A
// back end at the same address is not limited.
func TestAFloodOfBadTokensCostsNoSignatureChecks(t *testing.T) {
	verifier := &counting{Verifier: testVerifier(t)}
	e := bare(t, func(o *Options) { o.RequestRatePerAddress, o.Verifier = 0.001, verifier })
	service, late := tokenFor(t, "s", "notifications:write"), tokenFor(t, "late", "notifications:write")
	const n = `{"title":"t","message":"m","created_by":1}`
	e.call("POST /notifications", service, n).want(http.StatusCreated)
	e.call("GET /settings", "x", "").problem(http.StatusUnauthorized)
	before := verifier.n.Load()
	for i := range 100 {
		p := e.call("GET /settings", "x"+strconv.Itoa(i), "")
		p.problem(http.StatusTooManyRequests)
		if p.Header().Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
	}
	e.call("POST /notifications", late, n).problem(http.StatusTooManyRequests)
	if verified := verifier.n.Load() - before; verified != 0 {
		t.Errorf("%d tokens of an address without a rate left were verified", verified)
	}
	e.call("POST /notifications", service, n).want(http.StatusCreated)
}

func TestRecentStringsAreBounded(t *testing.T) {
	r := newRecent()
	for i := range 10 * recentKept {
		r.add(strconv.Itoa(i))
	}
	if !r.has(strconv.Itoa(10*recentKept-1)) || !r.has(strconv.Itoa(9*recentKept+1)) || r.has("0") || len(r.young)+len(r.old) > 2*recentKept {
		t.Errorf("keeps %d and %d", len(r.young), len(r.old))
	}
}

func TestTheClientAddressIsTakenFromTrustedProxiesOnly(t *testing.T) {
	proxies, err := edge.ParseProxies([]string{"10.0.0.0/8", "fd00::/8"})
	if err != nil {
		t.Fatal(err)
	}
	hits := map[string]int{}
	a := &api{o: Options{TrustedProxies: proxies, Limited: func(limit string) { hits[limit]++ }}}
	var seen netip.Addr
	h := a.behind(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = hostOf(r) }))
	for name, tt := range map[string]struct{ peer, forwarded, want string }{
		"no proxy in between":          {"192.0.2.1:5", "", "192.0.2.1"},
		"an untrusted proxy":           {"192.0.2.1:5", "198.51.100.9", "192.0.2.1"},
		"an untrusted proxy's garbage": {"192.0.2.1:5", "rubbish", "192.0.2.1"},
		"a proxy":                      {"10.1.1.1:5", "198.51.100.9", "198.51.100.9"},
		"a proxy behind a proxy":       {"10.1.1.1:5", "198.51.100.9, 10.2.2.2", "198.51.100.9"},
		"a client that claims more":    {"10.1.1.1:5", "203.0.113.7, 198.51.100.9", "198.51.100.9"},
		"garbage from a proxy":         {"10.1.1.1:5", "unknown", ""},
		"a proxy that says nothing":    {"10.1.1.1:5", "", "10.1.1.1"},
		"IPv6 stands for its /64":      {"[2001:db8::1:2:3:4]:5", "", "2001:db8::"},
		"IPv4 in IPv6":                 {"[::ffff:192.0.2.1]:5", "", "192.0.2.1"},
		"a proxy that speaks of one":   {"[fd00::1]:5", "2001:db8:1::9", "2001:db8:1::"},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = tt.peer
		if tt.forwarded != "" {
			r.Header.Set("X-Forwarded-For", tt.forwarded)
		}
		w := httptest.NewRecorder()
		seen = netip.Addr{}
		h.ServeHTTP(w, r)
		switch {
		case tt.want == "":
			if seen.IsValid() || w.Code != http.StatusBadRequest {
				t.Errorf("%s: %v, status %d; want it refused", name, seen, w.Code)
			}
		case seen.String() != tt.want:
			t.Errorf("%s: %v, want %s", name, seen, tt.want)
		}
	}
	if hits[LimitForwarded] != 1 {
		t.Errorf("counted: %v", hits)
	}
}

// together is a SharedRate with a fixed result.
type together struct {
	wait time.Duration
	err  error
	keys []string
}

func (s *together) Take(_ context.Context, key string, _ float64, _ int) (time.Duration, error) {
	s.keys = append(s.keys, key)
	return s.wait, s.err
}

func TestNodesShareARate(t *testing.T) {
	shared := &together{}
	hits := map[string]int{}
	e := newHarness(t, sqlite(t), func(o *Options) {
		o.RequestRatePerUser, o.RequestRatePerAddress, o.SharedRate = 2, 100, shared
		o.Limited = func(limit string) { hits[limit]++ }
	})
	user := tokenFor(t, "1")
	ask := func() answered { return e.call("GET /settings", user, "") }
	shared.wait = 3 * time.Second
	a := ask()
	a.problem(http.StatusTooManyRequests)
	if got := a.Header().Get("Retry-After"); got != "3" {
		t.Errorf("Retry-After %q, want 3", got)
	}
	shared.wait, shared.err = time.Hour, errors.New("away")
	if a := ask(); a.Code == http.StatusTooManyRequests {
		t.Error("the node does not decide alone while the others cannot be asked")
	}
	asked := len(shared.keys)
	ask().problem(http.StatusTooManyRequests) // the third in a second: the node itself refuses
	if len(shared.keys) != asked {
		t.Errorf("a flood is asked of all: %q", shared.keys)
	}
	if want := []string{"user:1", "user:1", "address:192.0.2.1"}; !slices.Equal(shared.keys, want) {
		t.Errorf("asked for %q, want %q", shared.keys, want)
	}
	e.call("GET /settings", "x", "").problem(http.StatusUnauthorized)
	e.call("GET /settings", tokenFor(t, "1", "notifications:write"), "")
	if len(shared.keys) != 4 || hits[LimitRequestsPerUser] != 2 {
		t.Errorf("asked for %q; counted %v", shared.keys, hits)
	}
}
