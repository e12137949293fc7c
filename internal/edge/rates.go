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
	// maxGeneration is how many keys one generation of a shard has at most. In total 16 × 2
	// × 1,024 keys are remembered, which take about 5 MiB.
	maxGeneration = 1024
)

// Rates limits the calls of each key to a number per second. Each key has a token bucket that holds
// one second's worth of calls. The methods may be called from any goroutine. A nil *Rates allows
// everything.
//
// Memory is bounded, whatever the number of keys. A shard has two generations of buckets. When the
// young generation is full, it becomes the old one, and the previous old one is dropped. A key whose
// bucket was dropped starts again with a full one. To exploit this, an attacker needs at least a
// thousand other keys in the meantime, and other limits bound how many keys a client has.
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

// Burst returns how many calls may come at once at a rate of perSecond. This is one second's worth of
// calls, and at least one.
func Burst(perSecond float64) int { return max(1, int(math.Ceil(perSecond))) }

// Take counts one call of key and returns 0 if the call is allowed. Otherwise it counts nothing and
// returns how long to wait until a call would be allowed.
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

// Wait returns what Take would return, but never counts a call.
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
	if s.young == nil || len(s.young) >= maxGeneration {
		s.old, s.young = s.young, make(map[K]*rate.Limiter)
	}
	s.young[key] = b
	return b
}
