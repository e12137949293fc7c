package token_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/token"
)

var (
	secret = []byte("0123456789abcdef0123456789abcdef")
	noon   = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
)

// keys returns the test keys. They are generated once, since an RSA key takes a while.
var keys = sync.OnceValue(func() (k struct {
	rsa              *rsa.PrivateKey
	p256, p384, p521 *ecdsa.PrivateKey
	ed               ed25519.PrivateKey
}) {
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	var err error
	k.rsa, err = rsa.GenerateKey(rand.Reader, 2048)
	must(err)
	k.p256, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	k.p384, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	must(err)
	k.p521, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	must(err)
	_, k.ed, err = ed25519.GenerateKey(rand.Reader)
	must(err)
	return k
})

func publicPEM(t testing.TB, key crypto.Signer) []byte {
	t.Helper()
	b, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: b})
}

func privatePEM(t testing.TB, key crypto.Signer) []byte {
	t.Helper()
	b, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: b})
}

// verifier returns a verifier with the test secret whose clock always shows noon. change
// can replace any option.
func verifier(t testing.TB, change func(o *token.Options)) *token.Verifier {
	t.Helper()
	o := token.Options{Secrets: [][]byte{secret}, Now: func() time.Time { return noon }}
	if change != nil {
		change(&o)
	}
	v, err := token.NewVerifier(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// hs256 returns a token of exactly this header and these claims, signed with key.
func hs256(header, claims string, key []byte) string {
	signed := b64(header) + "." + b64(claims)
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(signed))
	return signed + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

const plainHeader = `{"alg":"HS256","typ":"JWT"}`

// access returns a token of user 7 that expires an hour after noon. more has further
// claims, each with a leading comma.
func access(more string) string {
	return hs256(plainHeader, fmt.Sprintf(`{"sub":"7","exp":%d%s}`, noon.Add(time.Hour).Unix(), more), secret)
}

func TestFalconAlertTokensWorkUnchanged(t *testing.T) {
	v := verifier(t, func(o *token.Options) { o.AdminWhen = "profile.role_id=1" })
	exp := noon.Add(15 * time.Minute)
	claims := fmt.Sprintf(`"profile": {"id": 1, "role_id": %%d}, "iat": %d, "exp": %d}`, noon.Unix(), exp.Unix())

	c, err := v.Verify(t.Context(), hs256(plainHeader, `{"sub": 1, "type": "access", `+fmt.Sprintf(claims, 1), secret))
	if err != nil {
		t.Fatal(err)
	}
	want := bridge.Claims{User: "1", Scope: bridge.ScopeAdmin, IssuedAt: noon, ExpiresAt: exp, Key: c.Key}
	if c != want {
		t.Errorf("claims are %+v, want %+v", c, want)
	}

	c, err = v.Verify(t.Context(), hs256(plainHeader, `{"sub": 1, "type": "access", `+fmt.Sprintf(claims, 2), secret))
	if err != nil || c.Scope != 0 {
		t.Errorf("another role has scope %v, error %v, want none", c.Scope, err)
	}

	_, err = v.Verify(t.Context(), hs256(plainHeader, `{"sub": 1, "type": "refresh", `+fmt.Sprintf(claims, 1), secret))
	if !errors.Is(err, token.ErrInvalid) {
		t.Errorf("a refresh token: error %v, want ErrInvalid", err)
	}
}

func TestEveryAlgorithmFromItsKey(t *testing.T) {
	k := keys()
	for _, tt := range []struct {
		alg  string
		sign any
		pub  crypto.Signer // nil: the secret
	}{
		{"HS256", secret, nil}, {"HS384", secret, nil}, {"HS512", secret, nil},
		{"RS256", k.rsa, k.rsa}, {"RS384", k.rsa, k.rsa}, {"RS512", k.rsa, k.rsa},
		{"PS256", k.rsa, k.rsa}, {"PS384", k.rsa, k.rsa}, {"PS512", k.rsa, k.rsa},
		{"ES256", k.p256, k.p256}, {"ES384", k.p384, k.p384}, {"ES512", k.p521, k.p521},
		{"EdDSA", k.ed, k.ed},
	} {
		t.Run(tt.alg, func(t *testing.T) {
			v := verifier(t, func(o *token.Options) {
				if tt.pub != nil {
					o.Secrets, o.PublicKeyPEM = nil, publicPEM(t, tt.pub)
				}
			})
			claims := jwt.MapClaims{"sub": "7", "exp": noon.Add(time.Hour).Unix()}
			raw, err := jwt.NewWithClaims(jwt.GetSigningMethod(tt.alg), claims).SignedString(tt.sign)
			if err != nil {
				t.Fatal(err)
			}
			if c, err := v.Verify(t.Context(), raw); err != nil || c.User != "7" {
				t.Errorf("claims %+v, error %v", c, err)
			}
			// The same token under every other key is refused.
			for _, other := range []crypto.Signer{k.rsa, k.p256, k.p384, k.p521, k.ed} {
				pub := publicPEM(t, other)
				if tt.pub != nil && bytes.Equal(pub, publicPEM(t, tt.pub)) {
					continue
				}
				v := verifier(t, func(o *token.Options) { o.Secrets, o.PublicKeyPEM = nil, pub })
				if _, err := v.Verify(t.Context(), raw); !errors.Is(err, token.ErrInvalid) {
					t.Errorf("with a %T: error %v, want ErrInvalid", other, err)
				}
			}
		})
	}
}

func TestSeveralPublicKeysServeDuringARotation(t *testing.T) {
	k := keys()
	both := append(publicPEM(t, k.p256), publicPEM(t, k.ed)...)
	v := verifier(t, func(o *token.Options) { o.Secrets, o.PublicKeyPEM = nil, both })
	for _, key := range []crypto.Signer{k.p256, k.ed} {
		s, err := token.NewSigner(token.SignerOptions{PrivateKeyPEM: privatePEM(t, key)})
		if err != nil {
			t.Fatal(err)
		}
		raw, err := s.Sign(bridge.Claims{User: "7", IssuedAt: noon, ExpiresAt: noon.Add(time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := v.Verify(t.Context(), raw); err != nil {
			t.Errorf("%T: %v", key, err)
		}
	}
}

func TestUnacceptableKeysStopTheStart(t *testing.T) {
	weak, err := x509.MarshalPKIXPublicKey(&rsa.PublicKey{N: keys().rsa.Primes[0], E: 65537})
	if err != nil {
		t.Fatal(err)
	}
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		o    token.Options
		want string
	}{
		"no key at all":                {token.Options{}, "needs a secret"},
		"a short secret":               {token.Options{Secrets: [][]byte{secret[:31]}}, "31 bytes"},
		"a public key as secret":       {token.Options{Secrets: [][]byte{publicPEM(t, keys().ed)}}, "PEM"},
		"a private key":                {token.Options{PublicKeyPEM: privatePEM(t, keys().ed)}, "private"},
		"a weak RSA key":               {token.Options{PublicKeyPEM: pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: weak})}, "1024 bits"},
		"a curve that is not accepted": {token.Options{PublicKeyPEM: publicPEM(t, p224)}, "curve"},
		"no PEM":                       {token.Options{PublicKeyPEM: []byte("hello")}, "not a PEM"},
		"only whitespace":              {token.Options{PublicKeyPEM: []byte(" \n")}, "no PEM block"},
		"a damaged key":                {token.Options{PublicKeyPEM: pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte{1}})}, "block 1"},
		"text after the key":           {token.Options{PublicKeyPEM: append(publicPEM(t, keys().ed), "hello"...)}, "not a PEM"},
		"a path without value":         {token.Options{Secrets: [][]byte{secret}, AdminWhen: "role"}, "profile.role_id=1"},
		"a path with an empty part":    {token.Options{Secrets: [][]byte{secret}, AdminWhen: "a..b=1"}, "empty part"},
		"a key set over http":          {token.Options{JWKSURL: "http://issuer.example/keys"}, "use https"},
		"a key set in a file":          {token.Options{JWKSURL: "file:///etc/passwd"}, "host"},
		"a key set without a scheme":   {token.Options{JWKSURL: "//issuer.example/keys"}, "neither https"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := token.NewVerifier(t.Context(), tt.o)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), string(secret[:31])) {
				t.Error("the error contains the secret")
			}
		})
	}
}
