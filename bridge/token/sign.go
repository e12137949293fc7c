package token

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/falconalert/falconbridge/bridge"
)

// SignerOptions sets up a Signer. Exactly one of Secret and PrivateKeyPEM is required.
type SignerOptions struct {
	Secret        []byte        // signs with HS256; at least MinSecret bytes
	PrivateKeyPEM []byte        // signs with RS256, ES256, ES384, ES512 or EdDSA, depending on the key
	KeyID         string        // kid of the private key; "" means none
	Issuer        string        // iss; "" means none
	Audience      string        // aud; "" means none
	UserClaim     string        // path of a claim that gets the user, in addition to sub; "" means none
	ScopeClaim    string        // path of a claim that gets the scopes as an array; "" means scope, as a string
	MaxLife       time.Duration // Sign reduces a longer time until exp to this; 0 means no limit
	Topics        bridge.Topics
	Now           func() time.Time // nil means time.Now
}

// Signer signs tokens.
type Signer struct {
	o           SignerOptions
	user, scope claimPath
	method      jwt.SigningMethod
	key         any
}

// NewSigner returns a Signer. It fails for a key that a Verifier would refuse.
func NewSigner(o SignerOptions) (*Signer, error) {
	s := &Signer{o: o}
	if s.o.Now == nil {
		s.o.Now = time.Now
	}
	var errs [2]error
	s.user, errs[0] = parsePath(cmp.Or(o.UserClaim, "sub"))
	s.scope, errs[1] = parsePath(cmp.Or(o.ScopeClaim, "scope"))
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	if (len(o.Secret) > 0) == (len(o.PrivateKeyPEM) > 0) {
		return nil, errors.New("a signer needs a secret or a private key")
	}
	if len(o.Secret) > 0 {
		if err := CheckSecret(o.Secret); err != nil {
			return nil, fmt.Errorf("the secret: %w", err)
		}
		s.method, s.key = jwt.SigningMethodHS256, o.Secret
		return s, nil
	}
	key, err := parsePrivateKey(o.PrivateKeyPEM)
	if err != nil {
		return nil, fmt.Errorf("read the private key: %w", err)
	}
	algs, err := algorithms(key.Public())
	if err != nil {
		return nil, fmt.Errorf("the private key is %w", err)
	}
	s.method, s.key = jwt.GetSigningMethod(algs[0]), key
	return s, nil
}

func parsePrivateKey(data []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, errors.New("it holds no PEM block")
	}
	var key any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		return nil, errors.New("it is not a private key")
	}
	if err != nil {
		return nil, errors.New("its content is damaged or encrypted")
	}
	switch k := key.(type) {
	case *rsa.PrivateKey:
		return k, nil
	case *ecdsa.PrivateKey:
		return k, nil
	case ed25519.PrivateKey:
		return k, nil
	}
	return nil, fmt.Errorf("no accepted algorithm uses a key of type %T", key)
}

// Sign returns a token with the claims of c, whose ExpiresAt is required. The token has sub, exp, iat
// (now if c has none), jti (random if c has none), type "access", scope, acl, the configured iss and
// aud, and the user in UserClaim. Sign adds the claims in extra, which cannot replace any of these.
func (s *Signer) Sign(c bridge.Claims, extra ...map[string]any) (string, error) {
	if _, err := bridge.ParseUserID(string(c.User)); err != nil {
		return "", fmt.Errorf("sign a token: %w", err)
	}
	if c.ExpiresAt.IsZero() {
		return "", errors.New("sign a token: it needs an expiry")
	}
	now := s.o.Now()
	if latest := now.Add(s.o.MaxLife); s.o.MaxLife > 0 && c.ExpiresAt.After(latest) {
		c.ExpiresAt = latest
	}
	if c.IssuedAt.IsZero() {
		c.IssuedAt = now
	}
	if c.ID == "" {
		c.ID = rand.Text()
	}
	claims := jwt.MapClaims{}
	for _, e := range extra {
		maps.Copy(claims, e)
	}
	s.user.put(claims, string(c.User))
	claims["sub"] = string(c.User)
	claims["type"] = "access"
	claims["iat"] = c.IssuedAt.Unix()
	claims["exp"] = c.ExpiresAt.Unix()
	claims["jti"] = c.ID
	claims["acl"] = s.acl(c)
	delete(claims, "scope")
	names := c.Scope.Names()
	switch {
	case s.o.ScopeClaim != "":
		s.scope.put(claims, names)
	case len(names) > 0:
		claims["scope"] = strings.Join(names, " ")
	}
	if s.o.Issuer != "" {
		claims["iss"] = s.o.Issuer
	}
	if s.o.Audience != "" {
		claims["aud"] = s.o.Audience
	}
	t := jwt.NewWithClaims(s.method, claims)
	if s.o.KeyID != "" {
		t.Header["kid"] = s.o.KeyID
	}
	raw, err := t.SignedString(s.key)
	if err != nil {
		return "", fmt.Errorf("sign a token: %w", err)
	}
	return raw, nil
}

// aclRule is a rule in the acl claim. EMQX 5.5 and later read the claim as a list in which the first
// matching rule decides.
type aclRule struct {
	Permission string `json:"permission"` // allow, deny
	Action     string `json:"action"`     // publish, subscribe, all
	Topic      string `json:"topic"`
}

// acl returns rules with which an EMQX cluster allows what Claims.MayReceive allows. If no rule
// matches, EMQX asks its other authorizers, and allows the action if they have no matching rule
// either, so the list ends with denials. "#" does not match topics that begin with "$" (MQTT 5
// §4.7.2), so a separate rule denies "$SYS/#".
func (s *Signer) acl(c bridge.Claims) []aclRule {
	topic := s.o.Topics.Status(c.User)
	if c.Has(bridge.ScopeRead) {
		topic = s.o.Topics.Everyone()
	}
	return []aclRule{
		{"allow", "subscribe", topic},
		{"deny", "all", "#"},
		{"deny", "all", "$SYS/#"},
	}
}
