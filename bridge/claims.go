package bridge

import "time"

// Scope is a set of rights beyond a user's own inbox.
type Scope uint8

// The scopes of the contract.
const (
	ScopeRead    Scope = 1 << iota // notifications:read: every user's history and topics
	ScopeWrite                     // notifications:write: create notifications
	ScopeReports                   // reports:write: create reports, change their status
	ScopeAdmin                     // admin: everything
)

var scopeNames = []struct {
	name  string
	scope Scope
}{
	{"notifications:read", ScopeRead},
	{"notifications:write", ScopeWrite},
	{"reports:write", ScopeReports},
	{"admin", ScopeAdmin},
}

// ParseScope returns the scope called name, 0 where it is unknown: tokens carry the
// scopes of other services, too.
func ParseScope(name string) Scope {
	for _, s := range scopeNames {
		if s.name == name {
			return s.scope
		}
	}
	return 0
}

// Claims are the claims of a verified token.
type Claims struct {
	User      UserID
	Scope     Scope
	ID        string    // jti, "" where the token has none
	IssuedAt  time.Time // zero where the token has none
	ExpiresAt time.Time // never zero
	Key       KeyID     // which key made the signature
}

// KeyID names a key that verifies signatures, within this process only. 0 is no
// key: claims that come from no token.
type KeyID uint64

// Has reports whether c includes every right of s; admin includes all.
func (c Claims) Has(s Scope) bool { return c.Scope&ScopeAdmin != 0 || c.Scope&s == s }

// MayReceive reports whether a bearer of c may receive u's notifications. It is the one
// check that guards delivery, made at SUBSCRIBE and again at every delivery.
func (c Claims) MayReceive(u UserID) bool { return c.User == u || c.Has(ScopeRead) }

// Expired reports whether the token has expired at now.
func (c Claims) Expired(now time.Time) bool { return !now.Before(c.ExpiresAt) }
