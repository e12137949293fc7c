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

	"golang.org/x/time/rate"
)

const (
	limitShards = 16
	// limitKept bounds a shard's generation: 16 × 2 × 2048 buckets, about 10 MiB.
	limitKept = 2048
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

// limiter gives every key a token bucket of rate a second, which holds one
// second's worth. A shard keeps two generations of buckets: when the young one
// is full it becomes the old one and what was old is forgotten, so that memory
// is bounded; a forgotten key starts with a full bucket.
type limiter[K comparable] struct {
	rate   rate.Limit
	burst  int
	seed   maphash.Seed
	shared SharedRate // nil: none
	prefix string     // of keys there
	shards [limitShards]limitShard[K]
}

type limitShard[K comparable] struct {
	mu         sync.Mutex
	young, old map[K]*rate.Limiter
}

// newLimiter returns a limiter, or nil, which refuses nothing, where perSecond
// is not positive.
func newLimiter[K comparable](perSecond float64, shared SharedRate, prefix string) *limiter[K] {
	if perSecond <= 0 {
		return nil
	}
	return &limiter[K]{rate: rate.Limit(perSecond), burst: max(1, int(math.Ceil(perSecond))), seed: maphash.MakeSeed(),
		shared: shared, prefix: prefix}
}

// take takes one token of key's bucket, and otherwise tells after how long one
// will be there. Only what this node allows is asked of all nodes: so a flood does
// not reach them, and while they cannot be asked the node's own word holds.
func (l *limiter[K]) take(ctx context.Context, key K) (wait time.Duration) {
	if l == nil {
		return 0
	}
	now := time.Now()
	r := l.bucket(key).ReserveN(now, 1)
	if wait = r.DelayFrom(now); wait > 0 {
		r.CancelAt(now)
		return wait
	}
	if l.shared == nil {
		return 0
	}
	wait, err := l.shared.Take(ctx, l.prefix+fmt.Sprint(key), float64(l.rate), l.burst)
	if err != nil {
		return 0
	}
	return wait
}

// wait returns after how long key's bucket on this node holds a token; it takes none.
func (l *limiter[K]) wait(key K) time.Duration {
	missing := 1 - l.bucket(key).TokensAt(time.Now())
	return time.Duration(max(0, missing) / float64(l.rate) * float64(time.Second))
}

func (l *limiter[K]) bucket(key K) *rate.Limiter {
	s := &l.shards[maphash.Comparable(l.seed, key)%limitShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.young[key]
	if ok {
		return b
	}
	if b, ok = s.old[key]; !ok {
		b = rate.NewLimiter(l.rate, l.burst)
	}
	if s.young == nil || len(s.young) >= limitKept {
		s.old, s.young = s.young, make(map[K]*rate.Limiter)
	}
	s.young[key] = b
	return b
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
	return a.byAddress.take(r.Context(), hostOf(remote(r)))
}

// pass takes one token of the bucket that by has for the caller's address.
func (a *api) pass(by *limiter[netip.Addr], r *http.Request) error {
	if by == nil {
		return nil
	}
	if wait := by.take(r.Context(), hostOf(remote(r))); wait > 0 {
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

// remote is the address a request comes from, the zero Addr where it is no IP's.
func remote(r *http.Request) netip.Addr {
	if p, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		return p.Addr().Unmap()
	}
	a, _ := netip.ParseAddr(r.RemoteAddr) // as behind leaves it
	return a
}

// hostOf is what one host may vary of addr: an IPv6 address stands for its /64, the
// smallest block one customer is given.
func hostOf(addr netip.Addr) netip.Addr {
	if addr.Is6() {
		if p, err := addr.WithZone("").Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return addr
}

// behind puts the client's address in the place of a trusted proxy's, for limits,
// logs and the WebSocket alike. A request whose proxy says what cannot be read is
// refused: a limit would count it for somebody else.
func (a *api) behind(next http.Handler) http.Handler {
	if len(a.o.TrustedProxies) == 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		peer := remote(r)
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
