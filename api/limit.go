package api

import (
	"hash/maphash"
	"math"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	limitShards = 16
	// limitKept bounds a shard's generation: 16 × 2 × 2048 buckets, about 10 MiB.
	limitKept = 2048
)

// limiter gives every key a token bucket of rate a second, which holds one
// second's worth. A shard keeps two generations of buckets: when the young one
// is full it becomes the old one and what was old is forgotten, so that memory
// is bounded; a forgotten key starts with a full bucket.
type limiter[K comparable] struct {
	rate   rate.Limit
	burst  int
	seed   maphash.Seed
	shards [limitShards]limitShard[K]
}

type limitShard[K comparable] struct {
	mu         sync.Mutex
	young, old map[K]*rate.Limiter
}

// newLimiter returns a limiter, or nil, which refuses nothing, where perSecond
// is not positive.
func newLimiter[K comparable](perSecond float64) *limiter[K] {
	if perSecond <= 0 {
		return nil
	}
	return &limiter[K]{rate: rate.Limit(perSecond), burst: max(1, int(math.Ceil(perSecond))), seed: maphash.MakeSeed()}
}

// take takes one token of key's bucket, and otherwise tells after how long one
// will be there.
func (l *limiter[K]) take(key K) (wait time.Duration) {
	if l == nil {
		return 0
	}
	now := time.Now()
	r := l.bucket(key).ReserveN(now, 1)
	if wait = r.DelayFrom(now); wait > 0 {
		r.CancelAt(now)
	}
	return wait
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

// limited is the answer to who has to wait.
func limited(wait time.Duration) error {
	return &problem{kind: tooMany, retry: int(math.Ceil(wait.Seconds()))}
}

// addressWait takes one token of the bucket of the caller's address.
func (a *api) addressWait(r *http.Request) time.Duration {
	if a.byAddress == nil {
		return 0
	}
	return a.byAddress.take(a.clientAddr(r))
}

// clientAddr is the address a request comes from: the peer, or, where the peer
// is a trusted proxy, the last address of X-Forwarded-For that is none. An IPv6
// address stands for its /64, the smallest block one customer is given.
func (a *api) clientAddr(r *http.Request) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	addr := peer.Addr().Unmap()
	hops := strings.Split(strings.Join(r.Header["X-Forwarded-For"], ","), ",")
	for i := len(hops) - 1; i >= 0 && a.trusted(addr); i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		addr = hop.Unmap()
	}
	if addr.Is6() {
		if p, err := addr.WithZone("").Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return addr
}

func (a *api) trusted(addr netip.Addr) bool {
	for _, p := range a.o.TrustedProxies {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}
