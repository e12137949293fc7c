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

// expiryOf returns when every token that r revokes has expired, on any node; zero means
// never. The life of a token counts from its iat, so all tokens that were issued before r.At
// have expired by r.At plus life.
func expiryOf(r bridge.Revocation, life time.Duration) time.Time {
	switch {
	case !r.Expires.IsZero():
		return r.Expires.Add(bridge.RevocationGrace)
	case life > 0 && !r.At.IsZero():
		return r.At.Add(life + bridge.RevocationGrace)
	}
	return time.Time{}
}

// Revocations reports whether a token was revoked. It keeps the stored revocations in memory,
// as hashes of the jti or user that they name. If there are more than it may keep, it looks
// up in the database every token that no kept revocation concerns. A token is therefore
// accepted only if all revocations are in memory or the database was asked. The zero value
// is ready to use and keeps all revocations.
type Revocations struct {
	life  time.Duration // longest life of a token; 0: no limit
	limit int           // most revocations kept; 0: no limit
	ask   func(context.Context, bridge.Claims) (bool, error)

	keys    atomic.Pointer[func(bridge.KeyID) bool]
	any     atomic.Bool // whether there was ever a revocation; if not, no token need be hashed
	partial atomic.Bool // some are not kept, so the database has to be asked
	kept    atomic.Int64

	mu     sync.Mutex
	missed int // counts the revocations that were not kept

	shards [64]revocationShard
}

// revocationShard has a part of the revocations, by the hash of the jti or user.
type revocationShard struct {
	mu    sync.RWMutex
	ids   map[nameHash]unixSecond
	users map[nameHash]revokedUser
}

type revokedUser struct {
	before int64 // Unix milliseconds
	end    unixSecond
}

// unixSecond is a Unix time in seconds, rounded up; 0 means never. It takes half the memory of
// an int64.
type unixSecond uint32

func secondOf(t time.Time) unixSecond {
	if t.IsZero() || t.Unix() >= math.MaxUint32 {
		return 0
	}
	return unixSecond(max(t.Unix()+1, 1))
}

// later returns the later of two times.
func later(a, b unixSecond) unixSecond {
	if a == 0 || b == 0 {
		return 0
	}
	return max(a, b)
}

// nameHash is the first half of a SHA-256. A revocation would also revoke the tokens of another
// name with the same hash; finding such a pair takes 2^64 attempts.
type nameHash [16]byte

func hashOf(name string) nameHash {
	sum := sha256.Sum256([]byte(name))
	return nameHash(sum[:])
}

func (r *Revocations) shard(h nameHash) *revocationShard { return &r.shards[h[0]%64] }

// Add adds rs, except those of expired tokens, and returns the revocations that are new,
// including those for which it has no room.
func (r *Revocations) Add(rs ...bridge.Revocation) (added []bridge.Revocation) {
	now := time.Now()
	for _, v := range rs {
		if end := expiryOf(v, r.life); (end.IsZero() || end.After(now)) && r.add(v, secondOf(end)) {
			added = append(added, v)
		}
	}
	return added
}

func (r *Revocations) add(v bridge.Revocation, end unixSecond) (isNew bool) {
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
		isNew = v.Before.UnixMilli() > user.before
		s.users[h] = revokedUser{max(user.before, v.Before.UnixMilli()), later(user.end, end)}
		return isNew
	case r.limit > 0 && r.kept.Load() >= int64(r.limit): // may be exceeded by one, because two goroutines add
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

// miss records that a revocation is not kept. It takes effect nevertheless, because tokens are
// looked up in the database from now on.
func (r *Revocations) miss() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.missed++
	r.partial.Store(true)
}

// misses returns the number of revocations that were not kept, for complete.
func (r *Revocations) misses() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.missed
}

// complete records that all revocations are kept again. The caller has added all of them since
// misses returned missesBefore. complete has no effect if one was missed meanwhile.
func (r *Revocations) complete(missesBefore int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.missed == missesBefore {
		r.partial.Store(false)
	}
}

// drop removes revocations whose tokens have all expired at now.
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

// Keys sets the function that reports whether a signing key is still known. Tokens signed with
// a withdrawn key count as revoked. known is called often and from many goroutines.
func (r *Revocations) Keys(known func(bridge.KeyID) bool) { r.keys.Store(&known) }

// withdrawn reports whether the key that signed a token with these claims was withdrawn.
func (r *Revocations) withdrawn(c bridge.Claims) bool {
	known := r.keys.Load()
	return known != nil && c.Key != 0 && !(*known)(c.Key)
}

// Revoked reports whether a token with these claims was revoked: by its jti, by its user and
// time of issue, or because its key was withdrawn. It looks in memory first. If not all
// revocations are kept, it may have to ask the database, and fails with ErrUnavailable while
// the database is unavailable.
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
