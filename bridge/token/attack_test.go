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

// refused fails the test unless v refuses raw as invalid, without an echo of it.
func refused(t *testing.T, v *token.Verifier, raw string) {
	t.Helper()
	_, err := v.Verify(t.Context(), raw)
	if !errors.Is(err, token.ErrInvalid) {
		t.Errorf("error %v, want ErrInvalid", err)
		return
	}
	for _, part := range strings.Split(raw, ".") {
		if len(part) > 8 && strings.Contains(err.Error(), part) {
			t.Errorf("the error holds a part of the token: %v", err)
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

func TestPublicKeyIsNoSecret(t *testing.T) {
	pub := publicPEM(t, keys().rsa)
	for name, o := range map[string]token.Options{
		"with only the public key": {PublicKeyPEM: pub},
		"with a secret besides":    {PublicKeyPEM: pub, Secrets: [][]byte{secret}},
	} {
		t.Run(name, func(t *testing.T) {
			v := verifier(t, func(have *token.Options) { have.Secrets, have.PublicKeyPEM = o.Secrets, o.PublicKeyPEM })
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

// The header may name keys in four ways; none of them may be followed.
func TestKeysNamedByTheTokenAreIgnored(t *testing.T) {
	var asked atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer srv.Close()
	own := []byte("the attacker's own secret, 32 bytes")
	jwk := `{"kty":"oct","k":"` + base64.RawURLEncoding.EncodeToString(own) + `"}`
	for name, head := range map[string]string{
		"jku":           fmt.Sprintf(`{"alg":"HS256","jku":%q}`, srv.URL),
		"x5u":           fmt.Sprintf(`{"alg":"HS256","x5u":%q}`, srv.URL),
		"jwk":           fmt.Sprintf(`{"alg":"HS256","jwk":%s}`, jwk),
		"kid":           fmt.Sprintf(`{"alg":"HS256","kid":%q}`, srv.URL),
		"a path as kid": `{"alg":"HS256","kid":"../../dev/null"}`,
	} {
		t.Run(name, func(t *testing.T) {
			refused(t, verifier(t, nil), hs256(head, goodClaims, own))
			refused(t, verifier(t, nil), hs256(head, goodClaims, nil))
			// Signed with the right key, they change nothing.
			if _, err := verifier(t, nil).Verify(t.Context(), hs256(head, goodClaims, secret)); err != nil {
				t.Error(err)
			}
		})
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("the token's address was asked %d times", n)
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
		"of two algs the last is no": `{"alg":"HS256","alg":"none"}`,
		"kid a number":               `{"alg":"HS256","kid":1}`,
		"a logout token":             `{"alg":"HS256","typ":"logout+jwt"}`,
		"a DPoP proof":               `{"alg":"HS256","typ":"dpop+jwt"}`,
		"typ a number":               `{"alg":"HS256","typ":1}`,
		"a header that is an array":  `["HS256"]`,
		"a header that is null":      `null`,
		"an empty header":            ``,
		"a header and more":          `{"alg":"HS256"}{}`,
	} {
		t.Run(name, func(t *testing.T) { refused(t, verifier(t, nil), hs256(head, goodClaims, secret)) })
	}
	for _, head := range []string{`{"alg":"HS256"}`, `{"alg":"HS256","typ":"at+jwt"}`, `{"alg":"HS256","typ":"application/at+JWT"}`} {
		if _, err := verifier(t, nil).Verify(t.Context(), hs256(head, goodClaims, secret)); err != nil {
			t.Errorf("%s: %v", head, err)
		}
	}
}

func TestTokenHasOneSpellingOnly(t *testing.T) {
	good := access("")
	parts := strings.Split(good, ".")
	last := len(good) - 1
	for name, raw := range map[string]string{
		"nothing":                    "",
		"dots":                       "..",
		"two parts":                  parts[0] + "." + parts[1],
		"four parts":                 good + ".x",
		"five parts, as encrypted":   good + ".x.y",
		"no signature":               parts[0] + "." + parts[1] + ".",
		"a blank before":             " " + good,
		"a line break after":         good + "\n",
		"a line break inside":        parts[0] + "." + parts[1][:4] + "\r\n" + parts[1][4:] + "." + parts[2],
		"a line break in the sig":    parts[0] + "." + parts[1] + "." + parts[2][:4] + "\n" + parts[2][4:],
		"padding":                    good + "=",
		"the other alphabet":         strings.ReplaceAll(strings.ReplaceAll(good, "-", "+"), "_", "/") + "+/",
		"other bits behind the last": good[:last] + flipTail(good[last]),
		"a changed signature":        parts[0] + "." + parts[1] + "." + b64(strings.Repeat("x", 32)),
		"a shortened signature":      parts[0] + "." + parts[1] + "." + parts[2][:20],
		"Bearer in front":            "Bearer " + good,
		"claims that were exchanged": parts[0] + "." + b64(strings.Replace(goodClaims, "7", "8", 1)) + "." + parts[2],
		"a NUL byte":                 good + "\x00",
		"bytes that are not UTF-8":   "\xff\xfe." + parts[1] + "." + parts[2],
		"JSON serialization":         `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`,
	} {
		t.Run(name, func(t *testing.T) { refused(t, verifier(t, nil), raw) })
	}
}

// flipTail changes the two lowest bits of a base64url character: of the last one
// of 43 that stand for 32 bytes, they carry nothing.
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
		t.Errorf("10 MiB give %v", err)
	}
}
