// Package token verifies and signs the JSON Web Tokens (RFC 7519) that identify users and give
// them scopes.
//
// Tokens are issued by the application that owns the users. falconbridge verifies them with
// secrets, public keys, or a key set at a URL. The configured keys decide which algorithms are
// accepted, never the token (RFC 8725 §3.1). Errors describe what is wrong with a token, and
// contain no part of it.
package token

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// The reasons why a token is refused. Test for them with errors.Is.
var (
	ErrInvalid = errors.New("the token is not valid")
	ErrExpired = errors.New("the token has expired")
	ErrRevoked = errors.New("the token was revoked")
	// ErrUnavailable means that the token could not be verified because the key set could
	// not be fetched. It is wrapped together with ErrInvalid.
	ErrUnavailable = errors.New("the key set is unavailable")
)

// SignedError is the error for a token that was refused although its signature verified. Since the
// issuer made its claims, the audit log may name the bearer.
type SignedError struct {
	Claims bridge.Claims
	Err    error // one of the errors above
}

func (e *SignedError) Error() string { return e.Err.Error() }
func (e *SignedError) Unwrap() error { return e.Err }

// MaxSize is the longest token that is parsed, in bytes.
const MaxSize = 8 << 10

// MinSecret is the length of the shortest accepted secret, in bytes. It is the length of the hash
// that HS256 uses (RFC 7518 §3.2).
const MinSecret = 32

// MaxID is the longest accepted jti, in bytes. A longer one could not be revoked.
const MaxID = 255

// Options sets up a Verifier. At least one of Secrets, PublicKeyPEM and JWKSURL is required.
type Options struct {
	Secrets      [][]byte // for HS256, HS384 and HS512; at most MaxSecrets, each of at least MinSecret bytes
	PublicKeyPEM []byte   // one or more PEM blocks: RS and PS (2048 bits or more), ES, EdDSA
	JWKSURL      string   // https, or http on loopback; RS, PS, ES and EdDSA

	Issuer   string // required value of iss; "" means any
	Audience string // required in aud; "" means any

	// Claim paths, see [CheckClaim]. "" means the claim of RFC 7519 or RFC 8693.
	AudienceClaim string // used only if the token has no aud
	UserClaim     string // used instead of sub
	ScopeClaim    string // used instead of scope

	// ScopeMap gives scopes to other values of the scope claim, see [CheckScopeMap].
	ScopeMap string

	// AdminWhen is a claim path and the value that grants scope admin, see
	// [CheckAdminWhen].
	AdminWhen string

	// MaxLife is the longest accepted time from now until exp, when a token is first seen,
	// and from iat until exp. 0 means no limit.
	MaxLife time.Duration

	// Revoked reports whether a token is revoked. It is called at every Verify, even for
	// tokens that were verified before, so it should be fast. nil means that no token is
	// revoked.
	Revoked func(context.Context, bridge.Claims) (bool, error)

	// OnRefresh is called after each refresh of the key set, with an error if the refresh
	// failed. The former keys then remain in use. OnRefresh is for metrics and logs and must
	// not block. The error contains neither a token nor the URL.
	OnRefresh func(error)
	Refresh   time.Duration // time between two refreshes of the key set; 0 means 5 minutes

	Now        func() time.Time // nil means time.Now
	Leeway     time.Duration    // tolerance for nbf, iat and MaxLife, as clocks differ; 0 means 30 s
	HTTPClient *http.Client     // for JWKSURL; nil means one with a timeout of 10 s
	CacheSize  int              // how many verified tokens are cached at most; 0 means 16384
}

// refusal is an ErrInvalid with a reason. It also wraps cause, which is another error of this
// package or nil.
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
