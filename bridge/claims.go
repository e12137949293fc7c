package bridge

import "time"

// Scope is a set of rights beyond a user's own inbox.
type Scope uint8

// The scopes.
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

// AllScopes are all rights that there are.
const AllScopes = ScopeRead | ScopeWrite | ScopeReports | ScopeAdmin

// Names returns the names of the scopes in s, as they are spelled in tokens. It is not nil.
func (s Scope) Names() []string {
	names := []string{}
	for _, n := range scopeNames {
		if s&n.scope != 0 {
			names = append(names, n.name)
		}
	}
	return names
}

// ParseScope returns the scope with that name, or 0 if it is unknown: tokens may have scopes of
// other services.
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
	ID        string    // jti; "": the token has none
	IssuedAt  time.Time // iat; zero: the token has none
	ExpiresAt time.Time // exp, never zero
	Key       KeyID     // the key that verified the signature
}

// KeyID identifies a key that verifies signatures, within this process. 0 means none: the
// claims are not from a token.
type KeyID uint64

// Has reports whether c has every right of s. Admin has all rights.
func (c Claims) Has(s Scope) bool { return c.Scope&ScopeAdmin != 0 || c.Scope&s == s }

// MayReceive reports whether the bearer of c may receive u's notifications. It is the only check
// that guards delivery, done at SUBSCRIBE and again for every message.
func (c Claims) MayReceive(u UserID) bool { return c.User == u || c.Has(ScopeRead) }

// Expired reports whether the token has expired at now.
func (c Claims) Expired(now time.Time) bool { return !now.Before(c.ExpiresAt) }
