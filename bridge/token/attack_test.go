package token_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/falconalert/falconbridge/bridge/token"
)

var goodClaims = fmt.Sprintf(`{"sub":"7","exp":%d}`, noon.Add(time.Hour).Unix())

// refused fails the test unless v rejects raw with ErrInvalid and an error that repeats
// no part of the token.
func refused(t *testing.T, v *token.Verifier, raw string) {
	t.Helper()
	_, err := v.Verify(t.Context(), raw)
	if !errors.Is(err, token.ErrInvalid) {
		t.Errorf("error %v, want ErrInvalid", err)
		return
	}
	for _, part := range strings.Split(raw, ".") {
		if len(part) > 8 && strings.Contains(err.Error(), part) {
			t.Errorf("the error contains a part of the token: %v", err)
		}
	}
}

func TestAlgNoneIsRefusedHoweverSpelled(t *testing.T) {
	for _, alg := range []string{"none", "None", "NONE", "nOnE", ""} {
		head := fmt.Sprintf(`{"alg":%q,"typ":"JWT"}`, alg)
		refused(t, verifier(t, nil), b64(head)+"."+b64(goodClaims)+".")
		refused(t, verifier(t, nil), hs256(head, goodClaims, secret))
		refused(t, verifier(t, func(o *token.Options) { o.Secrets, o.PublicKeyPEM = nil, publicPEM(t, keys().rsa) }),
			b64(head)+"."+b64(goodClaims)+".")
	}
}

func TestAPublicKeyIsNotAcceptedAsASecret(t *testing.T) {
	pub := publicPEM(t, keys().rsa)
	for name, o := range map[string]token.Options{
		"with only the public key": {PublicKeyPEM: pub},
		"with a secret as well":    {PublicKeyPEM: pub, Secrets: [][]byte{secret}},
	} {
		t.Run(name, func(t *testing.T) {
			v := verifier(t, func(opts *token.Options) { opts.Secrets, opts.PublicKeyPEM = o.Secrets, o.PublicKeyPEM })
			for _, key := range [][]byte{pub, []byte(strings.TrimSpace(string(pub)))} {
				refused(t, v, hs256(plainHeader, goodClaims, key))
			}
		})
	}
}

func TestTokenCannotChooseAnotherAlgorithmForTheKey(t *testing.T) {
	k := keys()
	raw, err := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{"sub": "7", "exp": noon.Add(time.Hour).Unix()}).SignedString(k.rsa)
	if err != nil {
		t.Fatal(err)
	}
	v := verifier(t, func(o *token.Options) { o.PublicKeyPEM = publicPEM(t, k.rsa) })
	_, rest, _ := strings.Cut(raw, ".")
	for _, alg := range []string{"HS256", "PS256", "RS384", "ES256", "EdDSA", "RS1", "RS256K", "rs256"} {
		refused(t, v, b64(fmt.Sprintf(`{"alg":%q}`, alg))+"."+rest)
	}
}

// A token's header can name a key with jku, x5u, jwk or kid. The verifier uses none of
// these keys, because the author of a token could then choose the key that verifies it.
func TestKeysNamedByTheTokenAreIgnored(t *testing.T) {
	var requests atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { requests.Add(1) }))
	defer srv.Close()
	attackers := []byte("the attacker's own secret, 32 bytes")
	jwk := `{"kty":"oct","k":"` + base64.RawURLEncoding.EncodeToString(attackers) + `"}`
	for name, head := range map[string]string{
		"jku":           fmt.Sprintf(`{"alg":"HS256","jku":%q}`, srv.URL),
		"x5u":           fmt.Sprintf(`{"alg":"HS256","x5u":%q}`, srv.URL),
		"jwk":           fmt.Sprintf(`{"alg":"HS256","jwk":%s}`, jwk),
		"kid":           fmt.Sprintf(`{"alg":"HS256","kid":%q}`, srv.URL),
		"a path as kid": `{"alg":"HS256","kid":"../../dev/null"}`,
	} {
		t.Run(name, func(t *testing.T) {
			refused(t, verifier(t, nil), hs256(head, goodClaims, attackers))
			refused(t, verifier(t, nil), hs256(head, goodClaims, nil))
			// With such a header, a token that is signed with the configured key is accepted.
			if _, err := verifier(t, nil).Verify(t.Context(), hs256(head, goodClaims, secret)); err != nil {
				t.Error(err)
			}
		})
	}
	if n := requests.Load(); n != 0 {
		t.Errorf("the address in the token was requested %d times", n)
	}
}

func TestHeadersAreRefused(t *testing.T) {
	for name, head := range map[string]string{
		"crit":                       `{"alg":"HS256","crit":["exp"]}`,
		"an empty crit":              `{"alg":"HS256","crit":[]}`,
		"crit null":                  `{"alg":"HS256","crit":null}`,
		"unencoded payload":          `{"alg":"HS256","b64":false,"crit":["b64"]}`,
		"no alg":                     `{"typ":"JWT"}`,
		"alg in another case":        `{"ALG":"HS256"}`,
		"alg a number":               `{"alg":256}`,
		"alg null":                   `{"alg":null}`,
		"alg in an array":            `{"alg":["HS256"]}`,
		"two algs, the last is none": `{"alg":"HS256","alg":"none"}`,
		"kid a number":               `{"alg":"HS256","kid":1}`,
		"a logout token":             `{"alg":"HS256","typ":"logout+jwt"}`,
		"a DPoP proof":               `{"alg":"HS256","typ":"dpop+jwt"}`,
		"typ a number":               `{"alg":"HS256","typ":1}`,
		"a header that is an array":  `["HS256"]`,
		"a header that is null":      `null`,
		"an empty header":            ``,
		"two headers":                `{"alg":"HS256"}{}`,
	} {
		t.Run(name, func(t *testing.T) { refused(t, verifier(t, nil), hs256(head, goodClaims, secret)) })
	}
	for _, head := range []string{`{"alg":"HS256"}`, `{"alg":"HS256","typ":"at+jwt"}`, `{"alg":"HS256","typ":"application/at+JWT"}`} {
		if _, err := verifier(t, nil).Verify(t.Context(), hs256(head, goodClaims, secret)); err != nil {
			t.Errorf("%s: %v", head, err)
		}
	}
}

func TestATokenHasOneSpellingOnly(t *testing.T) {
	good := access("")
	parts := strings.Split(good, ".")
	last := len(good) - 1
	for name, raw := range map[string]string{
		"nothing":                  "",
		"dots":                     "..",
		"two parts":                parts[0] + "." + parts[1],
		"four parts":               good + ".x",
		"five parts, as in a JWE":  good + ".x.y",
		"no signature":             parts[0] + "." + parts[1] + ".",
		"a leading space":          " " + good,
		"a trailing line break":    good + "\n",
		"a line break inside":      parts[0] + "." + parts[1][:4] + "\r\n" + parts[1][4:] + "." + parts[2],
		"a line break in the sig":  parts[0] + "." + parts[1] + "." + parts[2][:4] + "\n" + parts[2][4:],
		"padding":                  good + "=",
		"the standard alphabet":    strings.ReplaceAll(strings.ReplaceAll(good, "-", "+"), "_", "/") + "+/",
		"unused bits that are set": good[:last] + flipTail(good[last]),
		"a changed signature":      parts[0] + "." + parts[1] + "." + b64(strings.Repeat("x", 32)),
		"a shortened signature":    parts[0] + "." + parts[1] + "." + parts[2][:20],
		"Bearer in front":          "Bearer " + good,
		"replaced claims":          parts[0] + "." + b64(strings.Replace(goodClaims, "7", "8", 1)) + "." + parts[2],
		"a NUL byte":               good + "\x00",
		"bytes that are not UTF-8": "\xff\xfe." + parts[1] + "." + parts[2],
		"JSON serialization":       `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`,
	} {
		t.Run(name, func(t *testing.T) { refused(t, verifier(t, nil), raw) })
	}
}

// flipTail flips the lowest bit of a base64url character. In the last of the 43
// characters that encode 32 bytes, the two lowest bits are unused, so a lenient decoder
// would accept two spellings of one signature.
func flipTail(c byte) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return string(alphabet[strings.IndexByte(alphabet, c)^1])
}

func TestSizeIsCappedBeforeParsing(t *testing.T) {
	fits, over := "", ""
	for pad := token.MaxSize / 2; over == ""; pad++ {
		raw := access(`,"pad":"` + strings.Repeat("x", pad) + `"`)
		if len(raw) <= token.MaxSize {
			fits = raw
		} else {
			over = raw
		}
	}
	if _, err := verifier(t, nil).Verify(t.Context(), fits); err != nil {
		t.Errorf("%d bytes: %v", len(fits), err)
	}
	refused(t, verifier(t, nil), over)
	_, err := verifier(t, nil).Verify(t.Context(), strings.Repeat("x", 10<<20))
	if !errors.Is(err, token.ErrInvalid) || !strings.Contains(err.Error(), "8 KiB") {
		t.Errorf("a token of 10 MiB: error %v", err)
	}
}
