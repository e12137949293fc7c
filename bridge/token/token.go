// Package token verifies and signs the JSON Web Tokens (RFC 7519) that name a
// user and the user's scopes.
//
// The application that owns the users issues them; falconbridge verifies them
// with a secret, public keys, or a key set behind a URL. Which algorithms are
// accepted follows from the configured key, never from the token (RFC 8725 §3.1).
// Errors say what is wrong with a token and never contain any part of it.
package token

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// The reasons a token is refused; test with errors.Is.
var (
	ErrInvalid = errors.New("the token is not valid")
	ErrExpired = errors.New("the token has expired")
	ErrRevoked = errors.New("the token was revoked")
	// ErrUnavailable: the token could not be verified, because the key set could not be
	// fetched. It is wrapped together with ErrInvalid.
	ErrUnavailable = errors.New("the key set is unavailable")
)

// SignedError is why a token was refused whose signature verified: its claims are the
// issuer's own, so the audit log may name its bearer.
type SignedError struct {
	Claims bridge.Claims
	Err    error // one of the above
}

func (e *SignedError) Error() string { return e.Err.Error() }
func (e *SignedError) Unwrap() error { return e.Err }

// MaxSize is the longest token that is looked at, in bytes.
const MaxSize = 8 << 10

// MinSecret is the shortest secret, in bytes: as long as the hash of HS256
// (RFC 7518 §3.2).
const MinSecret = 32

// MaxID is the longest jti, in bytes: a longer one could not be revoked.
const MaxID = 255

// Options sets up a Verifier. At least one of Secrets, PublicKeyPEM and JWKSURL
// is required; several may be given.
type Options struct {
	Secrets      [][]byte // HS256, HS384 and HS512; each at least MinSecret bytes, at most 64
	PublicKeyPEM []byte   // one or more PEM blocks: RS and PS (2048 bits or more), ES, EdDSA
	JWKSURL      string   // https, or http on loopback; RS, PS, ES and EdDSA

	Issuer   string // required value of iss; "" asks for none
	Audience string // required in aud; "" asks for none

	// Claim paths, see [CheckClaim]; "" means the claim of RFC 7519 or RFC 8693.
	AudienceClaim string // looked at only where the token has no aud
	UserClaim     string // instead of sub
	ScopeClaim    string // instead of scope

	// ScopeMap gives scopes to other values of the scope claim, see [CheckScopeMap].
	ScopeMap string

	// AdminWhen is a claim path and the value that means scope admin, see
	// [CheckAdminWhen].
	AdminWhen string

	// MaxLife is how far away exp may be when a token is first seen, and from iat; 0 is
	// no limit.
	MaxLife time.Duration

	// Revoked is asked at every Verify, also for tokens verified before, so it
	// returns from memory what it can. nil revokes none.
	Revoked func(context.Context, bridge.Claims) (bool, error)

	// OnRefresh is called after each refresh of the key set, with nil or with the error,
	// after which the former keys stay. It is for metrics and logs, and must not block.
	// The error contains neither a token nor the URL.
	OnRefresh func(error)
	Refresh   time.Duration // between two refreshes of the key set; 0 means 5m

	Now        func() time.Time // nil means time.Now
	Leeway     time.Duration    // for nbf, iat and MaxLife, as clocks differ; 0 means 30s
	HTTPClient *http.Client     // for JWKSURL; nil means one with a 10s timeout
	CacheSize  int              // verified tokens kept, at most; 0 means 16384
}

// refusal is an ErrInvalid with its reason, and its cause where that is another
// error of this package.
type refusal struct {
	why   string
	cause error
}

func invalid(why string) error { return &refusal{why: why} }

func (r *refusal) Error() string {
	if r.cause != nil {
		return ErrInvalid.Error() + ": " + r.why + ": " + r.cause.Error()
	}
	return ErrInvalid.Error() + ": " + r.why
}

func (r *refusal) Is(target error) bool { return target == ErrInvalid }
func (r *refusal) Unwrap() error        { return r.cause }
