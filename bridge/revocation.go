package bridge

import (
	"sync"
	"sync/atomic"
	"time"
)

// Revocation takes back tokens: one by its jti, or a user's that were issued
// before a time or do not say when. Exactly one of ID and User is set.
type Revocation struct {
	ID     string // jti
	User   UserID
	Before time.Time // with User; UTC, millisecond precision
}

// Revocations answers from memory whether a token was revoked. It holds every
// stored revocation: one entry a revoked jti and one a revoked user, both made
// by operators only. The zero value is ready to use.
type Revocations struct {
	keys  atomic.Pointer[func(KeyID) bool]
	any   atomic.Bool // spares the lock where there is none, which is often
	mu    sync.RWMutex
	ids   map[string]struct{}
	users map[UserID]time.Time
}

// Add learns rs and tells whether one was new.
func (r *Revocations) Add(rs ...Revocation) (news bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ids == nil {
		r.ids, r.users = make(map[string]struct{}), make(map[UserID]time.Time)
	}
	for _, v := range rs {
		if v.ID != "" {
			if _, known := r.ids[v.ID]; !known {
				r.ids[v.ID], news = struct{}{}, true
			}
		} else if v.Before.After(r.users[v.User]) {
			r.users[v.User], news = v.Before, true
		}
	}
	if news {
		r.any.Store(true)
	}
	return news
}

// Keys makes Revoked ask known about the key of every token: what a withdrawn key
// signed is revoked. known is called often and by many goroutines.
func (r *Revocations) Keys(known func(KeyID) bool) { r.keys.Store(&known) }

// Revoked reports whether a token with these claims was taken back: by its jti, by
// its user and time, or because the key that signed it is gone.
func (r *Revocations) Revoked(c Claims) bool {
	if known := r.keys.Load(); known != nil && c.Key != 0 && !(*known)(c.Key) {
		return true
	}
	if !r.any.Load() {
		return false
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	if c.ID != "" {
		if _, ok := r.ids[c.ID]; ok {
			return true
		}
	}
	before, ok := r.users[c.User]
	return ok && (c.IssuedAt.IsZero() || c.IssuedAt.Before(before))
}
