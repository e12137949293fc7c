package delivery

import (
	"context"
	"crypto/sha256"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// endOf is when the last token that r concerns has expired, on any node; zero: never. A
// token's life counts from its iat, so one of before At expires within life.
func expiryOf(r bridge.Revocation, life time.Duration) time.Time {
	switch {
	case !r.Expires.IsZero():
		return r.Expires.Add(bridge.RevocationGrace)
	case life > 0 && !r.At.IsZero():
		return r.At.Add(life + bridge.RevocationGrace)
	}
	return time.Time{}
}

// Revocations reports whether a token was revoked. It keeps the stored revocations in
// memory, as hashes of what they name, up to a bound. Where there are more, it asks the
// database about tokens that no kept revocation concerns: a token is valid only where all
// revocations are kept or the database was asked. The zero value is ready to use, and
// keeps all.
type Revocations struct {
	life  time.Duration // longest life of a token; 0: no limit
	limit int           // kept at most; 0: all
	ask   func(context.Context, bridge.Claims) (bool, error)

	keys    atomic.Pointer[func(bridge.KeyID) bool]
	any     atomic.Bool // spares the hashes where there is none, which is often
	partial atomic.Bool // some are not kept
	kept    atomic.Int64

	mu     sync.Mutex
	missed int // how often one was not kept

	shards [64]revocationShard
}

// revocationShard keeps a part of the revocations, by the hash of jti or user.
type revocationShard struct {
	mu    sync.RWMutex
	ids   map[nameHash]unixSecond
	users map[nameHash]revokedUser
}

type revokedUser struct {
	before int64 // ms since 1970
	end    unixSecond
}

// second is a time in seconds since 1970, rounded up; 0: never.
type unixSecond uint32

func secondOf(t time.Time) unixSecond {
	if t.IsZero() || t.Unix() >= math.MaxUint32 {
		return 0
	}
	return unixSecond(max(t.Unix()+1, 1))
}

// later is the later one of two.
func later(a, b unixSecond) unixSecond {
	if a == 0 || b == 0 {
		return 0
	}
	return max(a, b)
}

// hashed is half a SHA-256. Two names with one hash would revoke each other's tokens;
// finding two takes 2^64 attempts.
type nameHash [16]byte

func hashOf(name string) nameHash {
	sum := sha256.Sum256([]byte(name))
	return nameHash(sum[:])
}

func (r *Revocations) shard(h nameHash) *revocationShard { return &r.shards[h[0]%64] }

// Add keeps rs and returns those that it did not know, including those it cannot keep.
func (r *Revocations) Add(rs ...bridge.Revocation) (news []bridge.Revocation) {
	now := time.Now()
	for _, v := range rs {
		if end := expiryOf(v, r.life); (end.IsZero() || end.After(now)) && r.add(v, secondOf(end)) {
			news = append(news, v)
		}
	}
	return news
}

func (r *Revocations) add(v bridge.Revocation, end unixSecond) (news bool) {
	name := v.ID
	if name == "" {
		name = string(v.User)
	}
	h := hashOf(name)
	s := r.shard(h)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ids == nil {
		s.ids, s.users = make(map[nameHash]unixSecond), make(map[nameHash]revokedUser)
	}
	r.any.Store(true)
	id, known := s.ids[h]
	user := s.users[h]
	if v.ID == "" {
		_, known = s.users[h]
	}
	switch {
	case known && v.ID != "":
		s.ids[h] = later(id, end)
		return false
	case known:
		news = v.Before.UnixMilli() > user.before
		s.users[h] = revokedUser{max(user.before, v.Before.UnixMilli()), later(user.end, end)}
		return news
	case r.limit > 0 && r.kept.Load() >= int64(r.limit): // passed by one at most, as two goroutines add
		r.miss()
		return true
	case v.ID != "":
		s.ids[h] = end
	default:
		s.users[h] = revokedUser{v.Before.UnixMilli(), end}
	}
	r.kept.Add(1)
	return true
}

// miss notes that a revocation is not kept. The caller may then count it as learned: tokens
// that it concerns are looked up in the database.
func (r *Revocations) miss() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.missed++
	r.partial.Store(true)
}

// misses is how often one was not kept, for complete.
func (r *Revocations) misses() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.missed
}

// complete notes that all are kept again: all were added since misses returned then, and
// none was missed.
func (r *Revocations) complete(then int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.missed == then {
		r.partial.Store(false)
	}
}

// drop removes the revocations of tokens that have expired at now, shard by shard.
func (r *Revocations) drop(now time.Time) {
	at := unixSecond(now.Unix())
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.Lock()
		before := len(s.ids) + len(s.users)
		for h, end := range s.ids {
			if end != 0 && end < at {
				delete(s.ids, h)
			}
		}
		for h, u := range s.users {
			if u.end != 0 && u.end < at {
				delete(s.users, h)
			}
		}
		r.kept.Add(int64(len(s.ids) + len(s.users) - before))
		s.mu.Unlock()
	}
}

// Keys makes Revoked ask known about the key of every token: tokens that a withdrawn key
// signed are revoked. known is called often and by many goroutines.
func (r *Revocations) Keys(known func(bridge.KeyID) bool) { r.keys.Store(&known) }

// withdrawn reports whether the key that signed a token with these claims is gone.
func (r *Revocations) withdrawn(c bridge.Claims) bool {
	known := r.keys.Load()
	return known != nil && c.Key != 0 && !(*known)(c.Key)
}

// Revoked reports whether a token with these claims was revoked: by its jti, by its user
// and time of issue, or because the key that signed it was withdrawn. It looks in memory.
// Where not all revocations are kept it may ask the database, and fails with
// ErrUnavailable where that does not respond.
func (r *Revocations) Revoked(ctx context.Context, c bridge.Claims) (bool, error) {
	switch {
	case r.withdrawn(c):
		return true, nil
	case !r.any.Load():
		return false, nil
	case r.concerns(c):
		return true, nil
	case !r.partial.Load():
		return false, nil
	}
	return r.ask(ctx, c)
}

// concerns reports whether a kept revocation concerns a token with these claims.
func (r *Revocations) concerns(c bridge.Claims) bool {
	if c.ID != "" {
		h := hashOf(c.ID)
		s := r.shard(h)
		s.mu.RLock()
		_, found := s.ids[h]
		s.mu.RUnlock()
		if found {
			return true
		}
	}
	h := hashOf(string(c.User))
	s := r.shard(h)
	s.mu.RLock()
	u, found := s.users[h]
	s.mu.RUnlock()
	return found && (c.IssuedAt.IsZero() || c.IssuedAt.Before(time.UnixMilli(u.before)))
}
