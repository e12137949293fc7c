package token_test

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/falconalert/falconbridge/bridge/token"
)

// Anybody can fetch the key set and sign an HS256 token with the bytes of the public key.
// No form of the key may verify such a token, whether or not a secret is configured.
func TestAPublishedKeyInAnyFormIsNotAcceptedAsASecret(t *testing.T) {
	k := keys()
	published := jwk(t, "a", k.rsa.Public())
	i := newIssuer(t, published)
	asJSON, err := json.Marshal(published)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(k.rsa.Public())
	if err != nil {
		t.Fatal(err)
	}
	for name, with := range map[string][][]byte{"with a secret": {secret}, "without one": nil} {
		v := fromSet(t, i, func(o *token.Options) { o.Secrets = with })
		for form, key := range map[string][]byte{
			"PEM": publicPEM(t, k.rsa), "DER": der, "PKCS 1": x509.MarshalPKCS1PublicKey(&k.rsa.PublicKey), "JWK": asJSON,
			"modulus": k.rsa.N.Bytes(), "kid": []byte("a"), "nothing": nil,
		} {
			for _, head := range []string{`{"alg":"HS256","kid":"a"}`, `{"alg":"HS256"}`} {
				t.Run(name+" "+form, func(t *testing.T) { refused(t, v, hs256(head, goodClaims, key)) })
			}
		}
	}
}

// A kid selects a key of the set. It is compared byte for byte, and is never used as a
// path, an address or a query.
func TestAKidChoosesAKeyAndNothingElse(t *testing.T) {
	k := keys()
	i := newIssuer(t, jwk(t, "a", k.ed.Public()), jwk(t, "b", k.p256.Public()))
	v := fromSet(t, i, nil)
	for _, kid := range []string{
		"A", "a ", " a", "a\x00", "a\n", "b", "../a", "../../../../dev/null", "/dev/null", "file:///etc/passwd", "http://127.0.0.1/", "a' OR '1'='1", "a\" UNION SELECT 'x",
		"$(id)", "${jndi:ldap://x}", "%61", "a;b", "a,b", "*", "[a]", "a\u200b", strings.Repeat("k", 5000),
	} {
		refused(t, v, signedBy(t, k.ed, kid))
	}
	if n := i.fetches.Load(); n > 2 {
		t.Errorf("the key set was fetched %d times", n)
	}
	for _, head := range []string{`{"alg":"EdDSA","kid":["a"]}`, `{"alg":"EdDSA","kid":{"a":1}}`, `{"alg":"EdDSA","kid":0}`, `{"alg":"EdDSA","kid":true}`} {
		refused(t, v, signedAs(t, head, goodClaims, func(text string) []byte { return sign(t, jwt.SigningMethodEdDSA, text, k.ed) }))
	}
}

// With jku and x5u a token asks the server to fetch the attacker's key. With x5c and jwk
// it contains the key.
func TestAnAttackersKeySetIsNeverFetched(t *testing.T) {
	k := keys()
	var requests atomic.Int32
	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": []any{jwk(t, "a", k.p256.Public())}})
	}))
	defer evil.Close()
	i := newIssuer(t, jwk(t, "a", k.ed.Public()))
	v := fromSet(t, i, nil)
	embedded, err := json.Marshal(jwk(t, "a", k.p256.Public()))
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(k.p256.Public())
	if err != nil {
		t.Fatal(err)
	}
	for name, field := range map[string]string{
		"jku": fmt.Sprintf(`"jku":%q`, evil.URL), "x5u": fmt.Sprintf(`"x5u":%q`, evil.URL), "jwk": `"jwk":` + string(embedded),
		"x5c": fmt.Sprintf(`"x5c":[%q]`, base64.StdEncoding.EncodeToString(der)), "iss": fmt.Sprintf(`"iss":%q`, evil.URL), "kid": fmt.Sprintf(`"kid":%q`, evil.URL),
	} {
		t.Run(name, func(t *testing.T) {
			for _, head := range []string{`{"alg":"ES256",` + field + `}`, `{"kid":"a","alg":"ES256",` + field + `}`} {
				refused(t, v, signedAs(t, head, goodClaims, func(text string) []byte { return sign(t, jwt.SigningMethodES256, text, k.p256) }))
			}
		})
	}
	if n := requests.Load(); n != 0 {
		t.Errorf("the attacker's server had %d requests", n)
	}
}

func TestSignaturesThatProveNothingAreRefused(t *testing.T) {
	k := keys()
	pub := append(append(publicPEM(t, k.rsa), publicPEM(t, k.p256)...), publicPEM(t, k.ed)...)
	v := verifier(t, func(o *token.Options) { o.PublicKeyPEM = pub })
	asDER := func(text string) []byte {
		sum := sha256.Sum256([]byte(text))
		sig, err := k.p256.Sign(rand.Reader, sum[:], nil)
		if err != nil {
			t.Fatal(err)
		}
		return sig
	}
	constant := func(b []byte) func(string) []byte { return func(string) []byte { return b } }
	order := k.p256.Params().N.Bytes()
	for name, tt := range map[string]struct {
		alg  string
		sign func(text string) []byte
	}{
		"ES256: r and s are 0":         {"ES256", constant(make([]byte, 64))},
		"ES256: r and s are the order": {"ES256", constant(append(order, order...))},
		"ES256: in DER":                {"ES256", asDER},
		"ES256: too short":             {"ES256", constant(make([]byte, 63))},
		"ES256: too long":              {"ES256", constant(make([]byte, 96))},
		"ES384 with a P-256 key": {"ES384", func(text string) []byte {
			return append(sign(t, jwt.SigningMethodES256, text, k.p256), make([]byte, 32)...)
		}},
		"EdDSA: only zeros":                {"EdDSA", constant(make([]byte, 64))},
		"RS256: 0":                         {"RS256", constant(make([]byte, 256))},
		"RS256: 1":                         {"RS256", constant(append(make([]byte, 255), 1))},
		"RS256: the modulus":               {"RS256", constant(k.rsa.N.Bytes())},
		"PS256: an RS256 signature":        {"PS256", func(text string) []byte { return sign(t, jwt.SigningMethodRS256, text, k.rsa) }},
		"HS256: empty":                     {"HS256", constant(nil)},
		"HS256: half":                      {"HS256", func(text string) []byte { return sign(t, jwt.SigningMethodHS256, text, secret)[:16] }},
		"HS256: an HS512 signature":        {"HS256", func(text string) []byte { return sign(t, jwt.SigningMethodHS512, text, secret) }},
		"HS256: the hash without a secret": {"HS256", func(text string) []byte { sum := sha256.Sum256([]byte(text)); return sum[:] }},
	} {
		t.Run(name, func(t *testing.T) { refused(t, v, signedAs(t, `{"alg":"`+tt.alg+`"}`, goodClaims, tt.sign)) })
	}
}

// Each of these tokens is signed with the configured key, but its payload is not exactly
// one JSON object of claims.
func TestWrappedTokensAreRefused(t *testing.T) {
	inner := access("")
	for name, tt := range map[string]struct{ head, claims string }{
		"a nested token":              {`{"alg":"HS256","cty":"JWT"}`, inner},
		"a nested token, as a string": {`{"alg":"HS256","cty":"JWT"}`, `"` + inner + `"`},
		"compressed":                  {`{"alg":"HS256","zip":"DEF"}`, "\x4b\x2d\x2a\xc9\x4c\xce\x06\x00"},
		"more than one object":        {plainHeader, goodClaims + goodClaims},
		"a leading BOM":               {plainHeader, "\xef\xbb\xbf" + goodClaims},
		"a trailing NUL":              {plainHeader, goodClaims + "\x00"},
		"a comment":                   {plainHeader, goodClaims + "//"},
		"an array of claims":          {plainHeader, "[" + goodClaims + "]"},
		"nothing":                     {plainHeader, ""},
		"UTF-16":                      {plainHeader, "\xff\xfe{\x00}\x00"},
	} {
		t.Run(name, func(t *testing.T) { refused(t, verifier(t, nil), hs256(tt.head, tt.claims, secret)) })
	}
}

// signedAs returns a token of exactly this header and these claims, signed by sign.
func signedAs(t *testing.T, header, claims string, sign func(text string) []byte) string {
	t.Helper()
	text := b64(header) + "." + b64(claims)
	return text + "." + base64.RawURLEncoding.EncodeToString(sign(text))
}

func sign(t *testing.T, method jwt.SigningMethod, text string, key any) []byte {
	t.Helper()
	sig, err := method.Sign(text, key)
	if err != nil {
		t.Fatal(err)
	}
	return sig
}
