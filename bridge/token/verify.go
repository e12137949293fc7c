package token

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/falconalert/falconbridge/bridge"
)

// Verifier verifies tokens. Its methods may be called from any goroutine.
//
// golang-jwt parses a token, checks its signature, and then its times, issuer and audience. This
// package adds checks for which golang-jwt has no option. Verify checks the size of a token,
// verifyUncached its unique spelling, checkHeader its header, and claims.Validate its kind, user and
// scopes. verifyUncached also decides in which order keys are tried.
type Verifier struct {
	fixed     atomic.Pointer[fixedKeys]
	set       *keySet     // nil if no key set is configured
	setParser *jwt.Parser // for tokens signed with a key of the set
	rules     rules
	revoked   func(context.Context, bridge.Claims) (bool, error)
	now       func() time.Time
	options   []jwt.ParserOption
	cache     *cache
}

// fixedKeys are the configured secrets and public keys, with a parser for their algorithms.
type fixedKeys struct {
	*keyring
	parser *jwt.Parser
}

// NewVerifier returns a Verifier. It fails if a key is not acceptable, or if the key set cannot be
// fetched from JWKSURL. The key set is refreshed until ctx ends.
func NewVerifier(ctx context.Context, o Options) (*Verifier, error) {
	v := &Verifier{revoked: o.Revoked, now: o.Now}
	if len(o.Secrets) == 0 && len(o.PublicKeyPEM) == 0 && o.JWKSURL == "" {
		return nil, errors.New("a verifier needs a secret, a public key or a key set")
	}
	if v.now == nil {
		v.now = time.Now
	}
	o.Leeway = cmp.Or(o.Leeway, 30*time.Second)
	var err error
	if v.rules, err = newRules(o, v.now); err != nil {
		return nil, err
	}
	v.options = []jwt.ParserOption{
		jwt.WithStrictDecoding(), jwt.WithTimeFunc(v.now), jwt.WithLeeway(o.Leeway), jwt.WithExpirationRequired(), jwt.WithIssuedAt(),
	}
	if o.Issuer != "" {
		v.options = append(v.options, jwt.WithIssuer(o.Issuer))
	}
	if o.Audience != "" {
		v.options = append(v.options, jwt.WithAudience(o.Audience))
	}
	if err := v.SetKeys(o.Secrets, o.PublicKeyPEM); err != nil {
		return nil, err
	}
	if o.JWKSURL != "" {
		if v.set, err = newKeySet(ctx, o); err != nil {
			return nil, err
		}
		v.setParser = v.newParser(publicAlgorithms)
	}
	size := o.CacheSize
	if size <= 0 {
		size = 16384
	}
	v.cache = newCache(size)
	return v, nil
}

// SetKeys replaces the secrets and the public keys, but not the key set. From now on, tokens that
// only a former key verifies are refused. If one of the new keys is not acceptable, SetKeys fails
// and changes nothing.
func (v *Verifier) SetKeys(secrets [][]byte, publicPEM []byte) error {
	keys, err := parseSecrets(secrets)
	if err != nil {
		return fmt.Errorf("the secret: %w", err)
	}
	if len(publicPEM) > 0 {
		public, err := parsePublicKeys(publicPEM)
		if err != nil {
			return fmt.Errorf("read the public keys: %w", err)
		}
		keys = append(keys, public...)
	}
	ring := newKeyring(keys)
	v.fixed.Store(&fixedKeys{ring, v.newParser(ring.algorithms())})
	return nil
}

func (v *Verifier) newParser(algorithms []string) *jwt.Parser {
	return jwt.NewParser(append(v.options[:len(v.options):len(v.options)], jwt.WithValidMethods(algorithms))...)
}

// Refresh requests a refresh of the key set, if there is one, and does not wait for it.
func (v *Verifier) Refresh() {
	if v.set != nil {
		v.set.wake()
	}
}

// Knows reports whether a key is still configured, or was in the key set at its last refresh.
func (v *Verifier) Knows(id bridge.KeyID) bool {
	return v.fixed.Load().knows(id) || v.set != nil && v.set.knows(id)
}

// Verify returns the claims of a token. It fails with ErrInvalid, ErrExpired or ErrRevoked, wrapped
// with a reason that may be shown to the bearer, or with an error of Options.Revoked. If the
// signature verified, the error is a *SignedError.
func (v *Verifier) Verify(ctx context.Context, raw string) (bridge.Claims, error) {
	if len(raw) > MaxSize {
		return bridge.Claims{}, invalid("it is longer than 8 KiB")
	}
	// The cache is indexed by the hash of the token, so that neither a memory dump nor the
	// duration of a comparison reveals a token.
	sum := sha256.Sum256([]byte(raw))
	c, known := v.cache.get(sum)
	if !known || !v.Knows(c.Key) {
		var err error
		if c, err = v.verifyUncached(ctx, raw); err != nil {
			return bridge.Claims{}, err
		}
		v.cache.put(sum, c)
	}
	// golang-jwt applies its leeway to exp, too. This program allows none for exp.
	if c.Expired(v.now()) {
		return bridge.Claims{}, &SignedError{c, ErrExpired}
	}
	if v.revoked == nil {
		return c, nil
	}
	switch revoked, err := v.revoked(ctx, c); {
	case err != nil:
		return bridge.Claims{}, fmt.Errorf("look up the token's revocation: %w", err)
	case revoked:
		return bridge.Claims{}, &SignedError{c, ErrRevoked}
	}
	return c, nil
}

var errNoKey = invalid("its signature does not match any configured key")

// verifyUncached verifies a token that is not cached. It tries the configured keys before the key
// set, which may have to be fetched.
func (v *Verifier) verifyUncached(ctx context.Context, raw string) (bridge.Claims, error) {
	if strings.ContainsAny(raw, "\r\n") { // encoding/base64 ignores these even in strict mode
		return bridge.Claims{}, invalid("it contains a line break")
	}
	fixed := v.fixed.Load()
	c, err := bridge.Claims{}, errNoKey
	if len(fixed.keys) > 0 {
		c, err = v.parse(raw, fixed.parser, func(_, alg string) ([]key, error) { return fitting(fixed.keys, alg), nil })
	}
	if v.set != nil && errors.Is(err, errNoKey) {
		c, err = v.parse(raw, v.setParser, func(kid, alg string) ([]key, error) { return v.set.fitting(ctx, kid, alg) })
	}
	return c, err
}

// parse checks the signature, and only then the claims. find returns the keys to try for an
// algorithm and a kid. The kid is "" if the token has none.
func (v *Verifier) parse(raw string, parser *jwt.Parser, find func(kid, alg string) ([]key, error)) (bridge.Claims, error) {
	var keys []key
	c := &claims{rules: &v.rules}
	t, err := parser.ParseWithClaims(raw, c, func(t *jwt.Token) (any, error) {
		kid, err := checkHeader(t.Header)
		if err != nil {
			return nil, err
		}
		if keys, err = find(kid, t.Method.Alg()); err != nil {
			return nil, &refusal{"no known key has its kid", err}
		}
		if len(keys) == 0 {
			return nil, errNoKey
		}
		set := jwt.VerificationKeySet{}
		for _, k := range keys {
			set.Keys = append(set.Keys, k.material)
		}
		return set, nil
	})
	if errors.Is(err, jwt.ErrTokenInvalidClaims) && c.result.User != "" { // claims are checked last, so the signature verified
		return bridge.Claims{}, &SignedError{c.result, reason(err)}
	}
	if err != nil {
		return bridge.Claims{}, reason(err)
	}
	c.result.Key = signedBy(t, keys)
	return c.result, nil
}

// signedBy returns which of keys made the signature. golang-jwt reports only that one of them did.
func signedBy(t *jwt.Token, keys []key) bridge.KeyID {
	last := len(keys) - 1
	signed := t.Raw[:strings.LastIndexByte(t.Raw, '.')]
	for _, k := range keys[:last] {
		if t.Method.Verify(signed, t.Signature, k.material) == nil {
			return k.id(t.Method.Alg())
		}
	}
	return keys[last].id(t.Method.Alg())
}

// reasons translates the errors of golang-jwt to errors that contain no part of the token. The
// first match counts, so a token is "expired" only if nothing else is wrong with it.
var reasons = []struct{ cause, reason error }{
	{jwt.ErrTokenMalformed, invalid("it is not three base64url parts joined by dots")},
	{jwt.ErrTokenSignatureInvalid, errNoKey},
	{jwt.ErrTokenUnverifiable, invalid("its header names no supported algorithm")},
	{jwt.ErrTokenInvalidIssuer, invalid("its iss is not the required issuer")},
	{jwt.ErrTokenInvalidAudience, invalid("its aud does not contain the required audience")},
	{jwt.ErrTokenRequiredClaimMissing, invalid("its exp, or a required iss or aud, is missing")},
	{jwt.ErrInvalidType, invalid("its exp, nbf, iat, iss or aud has the wrong type")},
	{jwt.ErrTokenNotValidYet, invalid("its nbf is in the future")},
	{jwt.ErrTokenUsedBeforeIssued, invalid("its iat is in the future")},
	{jwt.ErrTokenExpired, ErrExpired},
}

// reason returns the reason to show for an error of golang-jwt.
func reason(err error) error {
	var own *refusal
	if errors.As(err, &own) {
		return own
	}
	for _, r := range reasons {
		if errors.Is(err, r.cause) {
			return r.reason
		}
	}
	return ErrInvalid
}
