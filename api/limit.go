package api

import (
	"context"
	"fmt"
	"hash/maphash"
	"math"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/falconalert/falconbridge/internal/edge"
)

// SharedRate is a rate that all nodes allow together.
type SharedRate interface {
	// Take counts one call of key, which may make perSecond calls and burst at once.
	// If the rate is used up, it counts none and returns how long to wait. After an error
	// the node decides alone.
	Take(ctx context.Context, key string, perSecond float64, burst int) (wait time.Duration, err error)
}

// The limits of a request, as Options.Limited gets them.
const (
	LimitRequestsPerUser    = "requests_per_user"
	LimitRequestsPerAddress = "requests_per_address"
	LimitBodySize           = "body_size"
	LimitBodyTime           = "body_time"
	LimitBodies             = "bodies"           // in memory at one time
	LimitForwarded          = "forwarded_header" // not a limit, but an X-Forwarded-For that cannot be parsed
	LimitHTTPConnections    = "http_connections"
)

// Limits are all limits.
var Limits = []string{LimitRequestsPerUser, LimitRequestsPerAddress, LimitBodySize, LimitBodyTime, LimitBodies,
	LimitForwarded, LimitHTTPConnections}

// limiter is a rate by key that this node counts, and all nodes together where they
// share a count. A nil limiter allows everything.
type limiter[K comparable] struct {
	local     *edge.Rates[K]
	perSecond float64
	shared    SharedRate // nil: every node counts for itself
	prefix    string     // of the keys in shared
}

// newLimiter returns nil if perSecond is not positive.
func newLimiter[K comparable](perSecond float64, shared SharedRate, prefix string) *limiter[K] {
	if perSecond <= 0 {
		return nil
	}
	return &limiter[K]{edge.NewRates[K](perSecond), perSecond, shared, prefix}
}

// wait counts one call of key and returns 0, or returns how long to wait. It consults the
// shared count only for calls that this node allows, so that a flood does not reach it.
// While the shared count is unavailable this node decides alone.
func (l *limiter[K]) wait(ctx context.Context, key K) time.Duration {
	if l == nil {
		return 0
	}
	if wait := l.local.Take(key); wait > 0 || l.shared == nil {
		return wait
	}
	wait, err := l.shared.Take(ctx, l.prefix+fmt.Sprint(key), l.perSecond, edge.Burst(l.perSecond))
	if err != nil {
		return 0
	}
	return wait
}

// recent remembers the strings that were added last, at least recentKept of them, as keyed
// hashes.
type recent struct {
	seed       maphash.Seed
	mu         sync.Mutex
	young, old map[uint64]struct{}
}

// recentKept is the size of a generation, more than the number of back ends.
const recentKept = 1024

func newRecent() *recent { return &recent{seed: maphash.MakeSeed(), young: make(map[uint64]struct{})} }

func (r *recent) has(s string) bool {
	key := maphash.String(r.seed, s)
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.young[key]; ok {
		return true
	}
	_, ok := r.old[key]
	return ok
}

func (r *recent) add(s string) {
	key := maphash.String(r.seed, s)
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.young) >= recentKept {
		r.old, r.young = r.young, make(map[uint64]struct{})
	}
	r.young[key] = struct{}{}
}

// limited returns the problem of a caller who has to wait.
func limited(wait time.Duration, limit string) error {
	return &problem{kind: tooMany, retry: int(math.Ceil(wait.Seconds())), limit: limit}
}

// addressWait counts the request for the caller's address and returns how long to wait.
func (a *api) addressWait(r *http.Request) time.Duration {
	if a.byAddress == nil {
		return 0
	}
	return a.byAddress.wait(r.Context(), hostOf(r))
}

// pass counts the request for the caller's address, and fails if the address is beyond its
// rate.
func (a *api) pass(by *limiter[netip.Addr], r *http.Request) error {
	if by == nil {
		return nil
	}
	if wait := by.wait(r.Context(), hostOf(r)); wait > 0 {
		return limited(wait, LimitRequestsPerAddress)
	}
	return nil
}

// metered applies the rate of the caller's address to requests that no route serves.
func (a *api) metered(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := a.pass(a.byAddress, r); err != nil {
			a.hit(LimitRequestsPerAddress)
			problemOf(err).write(w, a.language(r))
			return
		}
		next(w, r)
	}
}

// hostOf returns the address under which the limits count r. It is the zero Addr if r did
// not come from an IP address.
func hostOf(r *http.Request) netip.Addr { return edge.Host(edge.ParseRemote(r.RemoteAddr)) }

// behind replaces a trusted proxy's address with its client's, for limits, logs and the
// WebSocket. It refuses a request whose X-Forwarded-For cannot be parsed, which the limits
// would count for the wrong client.
func (a *api) behind(next http.Handler) http.Handler {
	if len(a.o.TrustedProxies) == 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		peer := edge.ParseRemote(r.RemoteAddr)
		client, err := a.o.TrustedProxies.Client(peer, r.Header["X-Forwarded-For"])
		if err != nil {
			a.hit(LimitForwarded)
			(&problem{kind: malformed, detail: err.Error()}).write(w, a.language(r))
			return
		}
		if client != peer {
			r.RemoteAddr = client.String()
		}
		next.ServeHTTP(w, r)
	})
}

// hit counts a limit that a request exceeded.
func (a *api) hit(limit string) {
	if a.o.Limited != nil {
		a.o.Limited(limit)
	}
}

// limitHit returns the limit that caused p, or "".
func (p *problem) limitHit() string {
	switch p.kind {
	case tooLarge:
		return LimitBodySize
	case timedOut:
		return LimitBodyTime
	}
	return p.limit
}
