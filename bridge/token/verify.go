package token

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/falconalert/falconbridge/bridge"
)

// Verifier judges tokens. Its methods may be called by many goroutines.
type Verifier struct {
	secret  []byte
	keys    []publicKey
	set     *keySet
	rules   rules
	revoked func(bridge.Claims) bool
	now     func() time.Time
	cache   *cache
}

// setLife is how long a token verified with a key of the set is taken from the
// cache: what a key that its issuer withdrew may lag behind, beyond the refresh.
const setLife = time.Minute

// NewVerifier returns a Verifier over o. It fails for keys that may not be used,
// and where JWKSURL does not answer. ctx ends the refreshing of the key set.
func NewVerifier(ctx context.Context, o Options) (*Verifier, error) {
	v := &Verifier{secret: o.Secret, revoked: o.Revoked, now: o.Now}
	if len(o.Secret) == 0 && len(o.PublicKeyPEM) == 0 && o.JWKSURL == "" {
		return nil, errors.New("a verifier needs a secret, a public key or a key set")
	}
	if len(o.Secret) > 0 {
		if err := CheckSecret(o.Secret); err != nil {
			return nil, fmt.Errorf("the secret: %w", err)
		}
	}
	var err error
	if len(o.PublicKeyPEM) > 0 {
		if v.keys, err = parsePublicKeys(o.PublicKeyPEM); err != nil {
			return nil, fmt.Errorf("read the public keys: %w", err)
		}
	}
	if v.rules, err = newRules(o); err != nil {
		return nil, err
	}
	if o.JWKSURL != "" {
		if v.set, err = newKeySet(ctx, o); err != nil {
			return nil, err
		}
	}
	if v.now == nil {
		v.now = time.Now
	}
	size := o.CacheSize
	if size <= 0 {
		size = 16384
	}
	v.cache = newCache(size)
	return v, nil
}

// Verify returns what raw says of its bearer. It fails with ErrInvalid,
// ErrExpired or ErrRevoked, wrapped with a reason that may be shown to the
// bearer.
func (v *Verifier) Verify(ctx context.Context, raw string) (bridge.Claims, error) {
	if len(raw) > MaxSize {
		return bridge.Claims{}, invalid("it is longer than 8 KiB")
	}
	now := v.now()
	// The hash, not the token, is the key: a dump of memory or a slow comparison
	// gives no token away.
	sum := sha256.Sum256([]byte(raw))
	c, known := v.cache.get(sum, now)
	if !known {
		var err error
		var until time.Time
		if c, until, err = v.judge(ctx, raw, now); err != nil {
			return bridge.Claims{}, err
		}
		v.cache.put(sum, c, until)
	}
	if c.Expired(now) {
		return bridge.Claims{}, ErrExpired
	}
	if v.revoked != nil && v.revoked(c) {
		return bridge.Claims{}, ErrRevoked
	}
	return c, nil
}

// judge checks the signature first and only then looks at the claims. until is
// how long its answer holds.
func (v *Verifier) judge(ctx context.Context, raw string, now time.Time) (c bridge.Claims, until time.Time, err error) {
	head, rest, ok1 := strings.Cut(raw, ".")
	body, sig, ok2 := strings.Cut(rest, ".")
	if !ok1 || !ok2 || strings.Contains(sig, ".") {
		return c, until, invalid("it is not three parts joined by dots")
	}
	h, err := parseHeader(head)
	if err != nil {
		return c, until, err
	}
	signature, err := decode(sig)
	if err != nil {
		return c, until, invalid("its signature is not base64url")
	}
	fromSet, err := v.checkSignature(ctx, h, raw[:len(head)+1+len(body)], signature)
	if err != nil {
		return c, until, err
	}
	payload, err := decode(body)
	if err != nil {
		return c, until, invalid("its claims are not base64url")
	}
	c, err = v.rules.claims(payload, now)
	until = c.ExpiresAt
	if fromSet && now.Add(setLife).Before(until) {
		until = now.Add(setLife)
	}
	return c, until, err
}

// checkSignature looks for a configured key that made the signature. fromSet
// tells that it came from the key set.
func (v *Verifier) checkSignature(ctx context.Context, h header, signed string, sig []byte) (fromSet bool, err error) {
	method := jwt.GetSigningMethod(h.Alg)
	if slices.Contains(hmacAlgorithms, h.Alg) {
		if len(v.secret) > 0 && method.Verify(signed, sig, v.secret) == nil {
			return false, nil
		}
		return false, invalid("no configured key made its signature")
	}
	keys := fitting(v.keys, h.Alg)
	for _, k := range keys {
		if method.Verify(signed, sig, k) == nil {
			return false, nil
		}
	}
	if v.set == nil || !publicAlgorithm(h.Alg) {
		return false, invalid("no configured key made its signature")
	}
	keys, err = v.set.fitting(ctx, h)
	if err != nil {
		return false, fmt.Errorf("%w: no known key has its kid: %w", ErrInvalid, err)
	}
	for _, k := range keys {
		if method.Verify(signed, sig, k) == nil {
			return true, nil
		}
	}
	return false, invalid("no configured key made its signature")
}

func publicAlgorithm(alg string) bool {
	return slices.Contains(rsaAlgorithms, alg) || alg == "ES256" || alg == "ES384" || alg == "ES512" || alg == "EdDSA"
}

// header is what is read of a token's header. jku, x5u, jwk and x5c are not:
// they name keys, and keys come from the configuration only (RFC 8725 §3.10).
type header struct {
	Alg string
	Kid *string
}

func parseHeader(part string) (header, error) {
	b, err := decode(part)
	if err != nil {
		return header{}, invalid("its header is not base64url")
	}
	// A map, because encoding/json would match a struct's fields in any case.
	var fields map[string]json.RawMessage
	if json.Unmarshal(b, &fields) != nil {
		return header{}, invalid("its header is not a JSON object")
	}
	if _, there := fields["crit"]; there {
		return header{}, invalid("its header asks for extensions (crit) that are not understood")
	}
	var h header
	if json.Unmarshal(fields["alg"], &h.Alg) != nil || h.Alg == "" {
		return header{}, invalid("its header names no algorithm")
	}
	if kid, there := fields["kid"]; there && json.Unmarshal(kid, &h.Kid) != nil {
		return header{}, invalid("its kid is not a string")
	}
	var typ string
	if t, there := fields["typ"]; there && json.Unmarshal(t, &typ) != nil {
		return header{}, invalid("its typ is not a string")
	}
	// Logout tokens, DPoP proofs and their like are signed by the same issuers
	// and are no access tokens (RFC 8725 §3.11, RFC 9068 §2.1).
	switch strings.TrimPrefix(strings.ToLower(typ), "application/") {
	case "", "jwt", "at+jwt":
		return h, nil
	}
	return header{}, invalid("its typ is not that of an access token")
}

// decode reads base64url without padding (RFC 7515 §2), strictly: a token has one
// spelling only.
func decode(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") { // which encoding/base64 would skip
		return nil, errors.New("line break")
	}
	return base64.RawURLEncoding.Strict().DecodeString(s)
}
