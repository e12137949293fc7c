package token

import (
	"sync"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

const cacheShards = 16

// cache keeps verified tokens by their hash. A shard has two generations: when
// the young one is full it becomes the old one, and what was old is dropped.
// Tokens in use move back to the young one, so a flood of new tokens costs a
// verification now and then, never memory.
type cache struct {
	limit  int // entries of one generation of one shard
	shards [cacheShards]cacheShard
}

type cacheShard struct {
	mu         sync.Mutex
	young, old map[[32]byte]verified
}

type verified struct {
	claims bridge.Claims
	until  time.Time
}

func newCache(size int) *cache { return &cache{limit: max(1, size/cacheShards/2)} }

func (c *cache) get(sum [32]byte, now time.Time) (bridge.Claims, bool) {
	s := &c.shards[sum[0]%cacheShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.young[sum]
	if !ok {
		if e, ok = s.old[sum]; !ok {
			return bridge.Claims{}, false
		}
		delete(s.old, sum)
		s.put(sum, e, c.limit)
	}
	if !now.Before(e.until) {
		delete(s.young, sum)
		return bridge.Claims{}, false
	}
	return e.claims, true
}

func (c *cache) put(sum [32]byte, claims bridge.Claims, until time.Time) {
	s := &c.shards[sum[0]%cacheShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(sum, verified{claims, until}, c.limit)
}

func (s *cacheShard) put(sum [32]byte, e verified, limit int) {
	if s.young == nil || len(s.young) >= limit {
		s.old, s.young = s.young, make(map[[32]byte]verified)
	}
	s.young[sum] = e
}
