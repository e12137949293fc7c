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
	// Take takes one of the calls that key may make at perSecond, of which burst
	// may come at once, and otherwise tells after how long there is one. Where it
	// fails, the node decides alone.
	Take(ctx context.Context, key string, perSecond float64, burst int) (wait time.Duration, err error)
}

// The limits of a request, as Options.Limited is told of them.
const (
	LimitRequestsPerUser    = "requests_per_user"
	LimitRequestsPerAddress = "requests_per_address"
	LimitBodySize           = "body_size"
	LimitBodyTime           = "body_time"
	LimitBodies             = "bodies"           // in memory at one time
	LimitForwarded          = "forwarded_header" // no limit, but as much a wall: an X-Forwarded-For that cannot be read
	LimitHTTPConnections    = "http_connections"
)

// Limits are all of them.
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

// newLimiter returns nil where perSecond is not positive.
func newLimiter[K comparable](perSecond float64, shared SharedRate, prefix string) *limiter[K] {
	if perSecond <= 0 {
		return nil
	}
	return &limiter[K]{edge.NewRates[K](perSecond), perSecond, shared, prefix}
}

// take takes one call of key, or returns how long to wait for one. The shared count is
// asked only about calls that this node allows: so a flood does not reach it, and while
// it is unavailable this node decides alone.
func (l *limiter[K]) take(ctx context.Context, key K) (wait time.Duration) {
	if l == nil {
		return 0
	}
	if wait = l.local.Take(key); wait > 0 || l.shared == nil {
		return wait
	}
	wait, err := l.shared.Take(ctx, l.prefix+fmt.Sprint(key), l.perSecond, edge.Burst(l.perSecond))
	if err != nil {
		return 0
	}
	return wait
}

// recent remembers some of the strings that were added last, at least recentKept,
// by a keyed hash.
type recent struct {
	seed       maphash.Seed
	mu         sync.Mutex
	young, old map[uint64]struct{}
}

// recentKept bounds a generation: there are fewer back ends than that.
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

// limited is the answer to who has to wait.
func limited(wait time.Duration, limit string) error {
	return &problem{kind: tooMany, retry: int(math.Ceil(wait.Seconds())), limit: limit}
}

// addressWait takes one token of the bucket of the caller's address.
func (a *api) addressWait(r *http.Request) time.Duration {
	if a.byAddress == nil {
		return 0
	}
	return a.byAddress.take(r.Context(), hostOf(r))
}

// pass takes one token of the bucket that by has for the caller's address.
func (a *api) pass(by *limiter[netip.Addr], r *http.Request) error {
	if by == nil {
		return nil
	}
	if wait := by.take(r.Context(), hostOf(r)); wait > 0 {
		return limited(wait, LimitRequestsPerAddress)
	}
	return nil
}

// metered holds what no route serves to the limit of the caller's address.
func (a *api) metered(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := a.pass(a.byAddress, r); err != nil {
			a.hit(LimitRequestsPerAddress)
			problemOf(err).write(w)
			return
		}
		next(w, r)
	}
}

// hostOf returns the address that limits count r under. It is the zero Addr where r did
// not come from an IP address.
func hostOf(r *http.Request) netip.Addr { return edge.Host(edge.ParseRemote(r.RemoteAddr)) }

// behind puts the client's address in the place of a trusted proxy's, for limits,
// logs and the WebSocket alike. A request whose proxy says what cannot be read is
// refused: a limit would count it for somebody else.
func (a *api) behind(next http.Handler) http.Handler {
	if len(a.o.TrustedProxies) == 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		peer := edge.ParseRemote(r.RemoteAddr)
		client, err := a.o.TrustedProxies.Client(peer, r.Header["X-Forwarded-For"])
		if err != nil {
			a.hit(LimitForwarded)
			(&problem{kind: malformed, detail: err.Error()}).write(w)
			return
		}
		if client != peer {
			r.RemoteAddr = client.String()
		}
		next.ServeHTTP(w, r)
	})
}

// hit tells of a limit that a request went past.
func (a *api) hit(limit string) {
	if a.o.Limited != nil {
		a.o.Limited(limit)
	}
}

// limitHit is the limit behind p, "" where none is.
func (p *problem) limitHit() string {
	switch p.kind {
	case tooLarge:
		return LimitBodySize
	case timedOut:
		return LimitBodyTime
	}
	return p.limit
}
