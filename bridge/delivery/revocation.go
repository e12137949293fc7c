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

// overAt is when no token that r concerns is valid any more, on any node; zero:
// never. A token's life counts from its iat, so one of before At ends within life.
func overAt(r bridge.Revocation, life time.Duration) time.Time {
	switch {
	case !r.Expires.IsZero():
		return r.Expires.Add(bridge.RevocationGrace)
	case life > 0 && !r.At.IsZero():
		return r.At.Add(life + bridge.RevocationGrace)
	}
	return time.Time{}
}

// Revocations reports whether a token was revoked. It holds the stored revocations
// in memory, as hashes of what they name, up to a bound. Where there are more,
// those it does not hold are looked up in the database: a token is valid only where
// either all are held or the database was asked. The zero value is ready to use,
// and holds all.
type Revocations struct {
	life  time.Duration // longest life of a token; 0: no limit
	bound int           // held at most; 0: all
	ask   func(context.Context, bridge.Claims) (bool, error)

	keys    atomic.Pointer[func(bridge.KeyID) bool]
	any     atomic.Bool // spares the hashes where there is none, which is often
	partial atomic.Bool // some are not held
	held    atomic.Int64

	mu     sync.Mutex
	missed int // how often one was not held

	shards [64]revocationShard
}

// revocationShard holds a part of the revocations, by the hash of jti or user.
type revocationShard struct {
	mu    sync.RWMutex
	ids   map[hashed]second
	users map[hashed]revokedUser
}

type revokedUser struct {
	before int64 // ms since 1970
	over   second
}

// second is a time in seconds since 1970, rounded up; 0: never.
type second uint32

func secondOf(t time.Time) second {
	if t.IsZero() || t.Unix() >= math.MaxUint32 {
		return 0
	}
	return second(max(t.Unix()+1, 1))
}

// later is the later one of two.
func later(a, b second) second {
	if a == 0 || b == 0 {
		return 0
	}
	return max(a, b)
}

// hashed is half a SHA-256. Two names with one hash would revoke each other's tokens,
// which takes 2^64 attempts to bring about.
type hashed [16]byte

func hashOf(name string) hashed {
	sum := sha256.Sum256([]byte(name))
	return hashed(sum[:])
}

func (r *Revocations) shard(h hashed) *revocationShard { return &r.shards[h[0]%64] }

// Add learns rs and returns those it did not know, also those it cannot hold.
func (r *Revocations) Add(rs ...bridge.Revocation) (news []bridge.Revocation) {
	now := time.Now()
	for _, v := range rs {
		if over := overAt(v, r.life); (over.IsZero() || over.After(now)) && r.add(v, secondOf(over)) {
			news = append(news, v)
		}
	}
	return news
}

func (r *Revocations) add(v bridge.Revocation, over second) (news bool) {
	name := v.ID
	if name == "" {
		name = string(v.User)
	}
	h := hashOf(name)
	s := r.shard(h)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ids == nil {
		s.ids, s.users = make(map[hashed]second), make(map[hashed]revokedUser)
	}
	r.any.Store(true)
	id, known := s.ids[h]
	user := s.users[h]
	if v.ID == "" {
		_, known = s.users[h]
	}
	switch {
	case known && v.ID != "":
		s.ids[h] = later(id, over)
		return false
	case known:
		news = v.Before.UnixMilli() > user.before
		s.users[h] = revokedUser{max(user.before, v.Before.UnixMilli()), later(user.over, over)}
		return news
	case r.bound > 0 && r.held.Load() >= int64(r.bound): // only one goroutine adds, and another one at times
		r.miss()
		return true
	case v.ID != "":
		s.ids[h] = over
	default:
		s.users[h] = revokedUser{v.Before.UnixMilli(), over}
	}
	r.held.Add(1)
	return true
}

// miss notes that one is not held, before anybody relies on its being learned.
func (r *Revocations) miss() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.missed++
	r.partial.Store(true)
}

// misses is how many were not held, for whole.
func (r *Revocations) misses() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.missed
}

// whole notes that all are held again: all were added since misses returned then,
// and none was missed.
func (r *Revocations) whole(then int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.missed == then {
		r.partial.Store(false)
	}
}

// forget drops what is over at now, shard by shard.
func (r *Revocations) forget(now time.Time) {
	at := second(now.Unix())
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.Lock()
		before := len(s.ids) + len(s.users)
		for h, over := range s.ids {
			if over != 0 && over < at {
				delete(s.ids, h)
			}
		}
		for h, u := range s.users {
			if u.over != 0 && u.over < at {
				delete(s.users, h)
			}
		}
		r.held.Add(int64(len(s.ids) + len(s.users) - before))
		s.mu.Unlock()
	}
}

// Keys makes Revoked ask known about the key of every token: what a withdrawn key
// signed is revoked. known is called often and by many goroutines.
func (r *Revocations) Keys(known func(bridge.KeyID) bool) { r.keys.Store(&known) }

// withdrawn reports whether the key that signed a token with these claims is gone.
func (r *Revocations) withdrawn(c bridge.Claims) bool {
	known := r.keys.Load()
	return known != nil && c.Key != 0 && !(*known)(c.Key)
}

// Revoked reports whether a token with these claims was taken back: by its jti, by
// its user and time, or because the key that signed it is gone. It answers from
// memory, or where not all are held may ask the database, and then fails with
// ErrUnavailable where that does not respond.
func (r *Revocations) Revoked(ctx context.Context, c bridge.Claims) (bool, error) {
	switch {
	case r.withdrawn(c):
		return true, nil
	case !r.any.Load():
		return false, nil
	case r.holds(c):
		return true, nil
	case !r.partial.Load():
		return false, nil
	}
	return r.ask(ctx, c)
}

func (r *Revocations) holds(c bridge.Claims) bool {
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
