package token

import (
	"sync"

	"github.com/falconalert/falconbridge/bridge"
)

const cacheShards = 16

// cache stores the claims of verified tokens by the hash of the token. A shard has two
// generations. When the young generation is full, it becomes the old one, and the previous old
// one is dropped. Tokens that are used move to the young generation. Memory is therefore bounded,
// and a flood of new tokens only causes tokens in use to be verified again now and then.
type cache struct {
	limit  int // the most entries in one generation of a shard
	shards [cacheShards]cacheShard
}

type cacheShard struct {
	mu         sync.Mutex
	young, old map[[32]byte]bridge.Claims
}

func newCache(size int) *cache { return &cache{limit: max(1, size/cacheShards/2)} }

func (c *cache) get(sum [32]byte) (bridge.Claims, bool) {
	s := &c.shards[sum[0]%cacheShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	claims, ok := s.young[sum]
	if !ok {
		if claims, ok = s.old[sum]; !ok {
			return bridge.Claims{}, false
		}
		delete(s.old, sum)
		s.put(sum, claims, c.limit)
	}
	return claims, true
}

func (c *cache) put(sum [32]byte, claims bridge.Claims) {
	s := &c.shards[sum[0]%cacheShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(sum, claims, c.limit)
}

func (s *cacheShard) put(sum [32]byte, claims bridge.Claims, limit int) {
	if s.young == nil || len(s.young) >= limit {
		s.old, s.young = s.young, make(map[[32]byte]bridge.Claims)
	}
	s.young[sum] = claims
}
