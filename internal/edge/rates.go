package edge

import (
	"hash/maphash"
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	rateShards = 16
	// rateKept bounds one generation of a shard. In total 16 × 2 × 1,024 keys are
	// remembered, which take about 5 MiB.
	rateKept = 1024
)

// Rates limits the calls of each key to a number per second, by a token bucket that holds one
// second's worth. Its methods may be called from any goroutine. A nil *Rates allows everything.
//
// Memory is bounded, whatever the number of keys. A shard keeps two generations of buckets: once
// the young one is full it becomes the old one, and the previous old one is dropped. A key that
// is dropped starts again with a full bucket. An attacker who wants that needs at least a
// thousand other keys in the meantime, and other limits bound those.
type Rates[K comparable] struct {
	perSecond rate.Limit
	burst     int
	seed      maphash.Seed
	shards    [rateShards]rateShard[K]
}

type rateShard[K comparable] struct {
	mu         sync.Mutex
	young, old map[K]*rate.Limiter
}

// NewRates returns Rates that allow perSecond calls per second and key. It returns nil, which
// allows everything, if perSecond is not positive.
func NewRates[K comparable](perSecond float64) *Rates[K] {
	if perSecond <= 0 {
		return nil
	}
	return &Rates[K]{perSecond: rate.Limit(perSecond), burst: Burst(perSecond), seed: maphash.MakeSeed()}
}

// Burst returns how many calls may come at once at a rate of perSecond: one second's worth, and
// at least one.
func Burst(perSecond float64) int { return max(1, int(math.Ceil(perSecond))) }

// Take counts one call of key and returns 0 if it is allowed. Otherwise it counts nothing and
// returns how long to wait until it would be.
func (r *Rates[K]) Take(key K) (wait time.Duration) {
	if r == nil {
		return 0
	}
	now := time.Now()
	reserved := r.bucket(key).ReserveN(now, 1)
	if wait = reserved.DelayFrom(now); wait > 0 {
		reserved.CancelAt(now)
	}
	return wait
}

// Allow reports whether a call of key is allowed, and counts it if so.
func (r *Rates[K]) Allow(key K) bool { return r.Take(key) == 0 }

// Wait returns what Take would return, but counts nothing.
func (r *Rates[K]) Wait(key K) time.Duration {
	if r == nil {
		return 0
	}
	missing := 1 - r.bucket(key).TokensAt(time.Now())
	return time.Duration(max(0, missing) / float64(r.perSecond) * float64(time.Second))
}

func (r *Rates[K]) bucket(key K) *rate.Limiter {
	s := &r.shards[maphash.Comparable(r.seed, key)%rateShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.young[key]
	if ok {
		return b
	}
	if b, ok = s.old[key]; !ok {
		b = rate.NewLimiter(r.perSecond, r.burst)
	}
	if s.young == nil || len(s.young) >= rateKept {
		s.old, s.young = s.young, make(map[K]*rate.Limiter)
	}
	s.young[key] = b
	return b
}
