package token_test

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/token"
	"github.com/falconalert/falconbridge/internal/testserver"
)

// issuer serves a key set over HTTP. A test can replace its keys or its whole handler.
type issuer struct {
	url     string
	fetches atomic.Int32
	mu      sync.Mutex
	serve   http.HandlerFunc
}

func newIssuer(t *testing.T, keys ...map[string]any) *issuer {
	t.Helper()
	i := &issuer{}
	i.publish(keys...)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.fetches.Add(1)
		i.mu.Lock()
		serve := i.serve
		i.mu.Unlock()
		serve(w, r)
	}))
	t.Cleanup(srv.Close)
	i.url = srv.URL
	return i
}

func (i *issuer) handle(h http.HandlerFunc) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.serve = h
}

func (i *issuer) publish(keys ...map[string]any) {
	i.handle(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": keys})
	})
}

// jwk returns key as a member of a JSON Web Key Set, with the fields of more added or
// replaced.
func jwk(t *testing.T, kid string, key any, more ...map[string]any) map[string]any {
	t.Helper()
	k, err := jwkset.NewJWKFromKey(key, jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{KID: kid},
		Marshal: jwkset.JWKMarshalOptions{Private: true}})
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(k.Marshal())
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]any{}
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	for _, fields := range more {
		for name, v := range fields {
			m[name] = v
		}
	}
	return m
}

// signedBy returns a token signed with key whose header names kid. Each call returns a
// different token, so none is in the verifier's cache.
func signedBy(t *testing.T, key crypto.Signer, kid string) string {
	t.Helper()
	raw, err := signer(t, token.SignerOptions{PrivateKeyPEM: privatePEM(t, key), KeyID: kid}).
		Sign(bridge.Claims{User: "7", ExpiresAt: noon.Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func fromSet(t *testing.T, i *issuer, change func(*token.Options)) *token.Verifier {
	t.Helper()
	return verifier(t, func(o *token.Options) {
		o.Secrets, o.JWKSURL = nil, i.url
		if change != nil {
			change(o)
		}
	})
}

func TestKeySetVerifiesByKid(t *testing.T) {
	k := keys()
	i := newIssuer(t, jwk(t, "a", k.rsa.Public()), jwk(t, "b", k.ed.Public()), jwk(t, "c", k.p256.Public()))
	v := fromSet(t, i, nil)
	for kid, key := range map[string]crypto.Signer{"a": k.rsa, "b": k.ed, "c": k.p256, "": k.p256} {
		if _, err := v.Verify(t.Context(), signedBy(t, key, kid)); err != nil {
			t.Errorf("kid %q: %v", kid, err)
		}
	}
	refused(t, v, signedBy(t, k.ed, "a"))
	refused(t, v, hs256(`{"alg":"HS256","kid":"a"}`, goodClaims, publicPEM(t, k.rsa)))
	if n := i.fetches.Load(); n != 1 {
		t.Errorf("the key set was fetched %d times, want 1", n)
	}
}

func TestKeysThatAreNotForSignaturesAreLeftOut(t *testing.T) {
	k := keys()
	oct := map[string]any{"kty": "oct", "kid": "x", "k": base64.RawURLEncoding.EncodeToString(secret)}
	for name, key := range map[string]map[string]any{
		"a secret":            oct,
		"a private key":       jwk(t, "x", k.ed),
		"an encryption key":   jwk(t, "x", k.ed.Public(), map[string]any{"use": "enc"}),
		"a key-agreement key": jwk(t, "x", k.ed.Public(), map[string]any{"key_ops": []string{"deriveKey"}}),
		"another algorithm's": jwk(t, "x", k.ed.Public(), map[string]any{"alg": "ES256"}),
		"a damaged key":       {"kty": "EC", "kid": "x", "crv": "P-256", "x": "AAAA", "y": "!"},
		"an unknown type":     {"kty": "XYZ", "kid": "x"},
		"something else":      {"kid": 5},
	} {
		t.Run(name, func(t *testing.T) {
			v := fromSet(t, newIssuer(t, key, jwk(t, "good", k.p256.Public())), nil)
			refused(t, v, signedBy(t, k.ed, "x"))
			refused(t, v, hs256(`{"alg":"HS256","kid":"x"}`, goodClaims, secret))
			if _, err := v.Verify(t.Context(), signedBy(t, k.p256, "good")); err != nil {
				t.Errorf("the good key of the same set: %v", err)
			}
		})
	}
}

// A token without a kid is tried with every key of the set. Such tokens are refused when
// the set has more than 16 keys, because a forged one would cost a check per key.
func TestATokenWithoutAKidIsRefusedIfTheSetHasManyKeys(t *testing.T) {
	k := keys()
	for n, ok := range map[int]bool{16: true, 17: false, 2000: false} {
		set := make([]map[string]any, n)
		for i := range set {
			public, _, err := ed25519.GenerateKey(rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			set[i] = jwk(t, fmt.Sprint("k", i), public)
		}
		set[n-1] = jwk(t, "mine", k.ed.Public())
		v := fromSet(t, newIssuer(t, set...), nil)
		if _, err := v.Verify(t.Context(), signedBy(t, k.ed, "mine")); err != nil {
			t.Errorf("%d keys, with a kid: %v", n, err)
		}
		if _, err := v.Verify(t.Context(), signedBy(t, k.ed, "")); ok != (err == nil) || !ok && !errors.Is(err, token.ErrInvalid) {
			t.Errorf("%d keys, without a kid: %v, want accepted %v", n, err, ok)
		}
	}
}

func TestRotationByKid(t *testing.T) {
	k := keys()
	i := newIssuer(t, jwk(t, "old", k.p256.Public()))
	v := fromSet(t, i, nil)
	i.publish(jwk(t, "old", k.p256.Public()), jwk(t, "new", k.ed.Public()))
	var wg sync.WaitGroup
	for range 20 { // all of them wait for the same fetch
		raw := signedBy(t, k.ed, "new")
		wg.Go(func() {
			if _, err := v.Verify(t.Context(), raw); err != nil {
				t.Errorf("the new key: %v", err)
			}
		})
	}
	wg.Wait()
	if _, err := v.Verify(t.Context(), signedBy(t, k.p256, "old")); err != nil {
		t.Errorf("the old key: %v", err)
	}
	if n := i.fetches.Load(); n != 2 {
		t.Errorf("the key set was fetched %d times, want 2", n)
	}
}

func TestForgedKidsDoNotLoadTheIssuer(t *testing.T) {
	k := keys()
	i := newIssuer(t, jwk(t, "a", k.ed.Public()))
	v := fromSet(t, i, nil)
	start := time.Now()
	for n := range 200 {
		refused(t, v, signedBy(t, k.ed, fmt.Sprint("forged-", n)))
	}
	if n := i.fetches.Load(); n > 2 {
		t.Errorf("the key set was fetched %d times, want at most 2", n)
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("verifying 200 tokens with forged kids took %v", d)
	}
	if _, err := v.Verify(t.Context(), signedBy(t, k.ed, "a")); err != nil {
		t.Errorf("a good token meanwhile: %v", err)
	}
}

func TestRefreshDropsWithdrawnKeys(t *testing.T) {
	k := keys()
	i := newIssuer(t, jwk(t, "a", k.p256.Public()), jwk(t, "b", k.ed.Public()))
	v := fromSet(t, i, func(o *token.Options) { o.Refresh = 20 * time.Millisecond })
	if _, err := v.Verify(t.Context(), signedBy(t, k.p256, "a")); err != nil {
		t.Fatal(err)
	}
	i.publish(jwk(t, "b", k.ed.Public()))
	testserver.Eventually(t, 5*time.Second, func() error {
		if _, err := v.Verify(t.Context(), signedBy(t, k.p256, "a")); !errors.Is(err, token.ErrInvalid) {
			return fmt.Errorf("the withdrawn key: %w", err)
		}
		return nil
	})
}

func TestAnUnreachableKeySetAtStartupIsAnErrorThatNamesIt(t *testing.T) {
	url := fmt.Sprintf("http://127.0.0.1:%d/keys", testserver.FreePort(t))
	withPassword := strings.Replace(url, "127", "u:geheim@127", 1)
	for _, u := range []string{url, withPassword} {
		_, err := token.NewVerifier(t.Context(), token.Options{JWKSURL: u})
		if err == nil || !strings.Contains(err.Error(), strings.TrimPrefix(url, "http://")) {
			t.Errorf("error %v, want one that names %s", err, url)
		}
		if err != nil && strings.Contains(err.Error(), "geheim") {
			t.Errorf("the error contains the password: %v", err)
		}
	}
}

func TestAnUnreachableKeySetLaterKeepsTheKeysAndIsReported(t *testing.T) {
	k := keys()
	for name, failing := range map[string]http.HandlerFunc{
		"an error":     func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"no JSON":      func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
		"an empty set": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"keys":[]}`)) },
		"a huge response": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"keys":[],"x":"` + strings.Repeat("x", 2<<20) + `"}`))
		},
		"a truncated response": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "9999")
			_, _ = w.Write([]byte(`{"keys":[`))
		},
		"a redirect to another host over http": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://issuer.example/keys", http.StatusFound)
		},
		"a redirect to a file": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
		},
		"a redirect loop": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) },
	} {
		t.Run(name, func(t *testing.T) {
			refreshed := make(chan error, 100)
			i := newIssuer(t, jwk(t, "a", k.ed.Public()))
			v := fromSet(t, i, func(o *token.Options) { o.OnRefresh = func(err error) { refreshed <- err } })
			if err := <-refreshed; err != nil {
				t.Fatalf("the first refresh is reported as %v", err)
			}
			i.handle(failing)
			_, err := v.Verify(t.Context(), signedBy(t, k.p256, "new"))
			if !errors.Is(err, token.ErrInvalid) || !errors.Is(err, token.ErrUnavailable) {
				t.Errorf("an unknown kid: %v, want ErrInvalid and ErrUnavailable", err)
			}
			if err := <-refreshed; err == nil || strings.Contains(err.Error(), i.url) {
				t.Errorf("the failure is reported as %v", err)
			}
			if _, err := v.Verify(t.Context(), signedBy(t, k.ed, "a")); err != nil {
				t.Errorf("the key fetched before: %v", err)
			}
		})
	}
}

func TestRedirectOnLoopbackIsFollowed(t *testing.T) {
	k := keys()
	i := newIssuer(t, jwk(t, "a", k.ed.Public()))
	front := httptest.NewServer(http.RedirectHandler(i.url, http.StatusFound))
	defer front.Close()
	v := verifier(t, func(o *token.Options) { o.Secrets, o.JWKSURL = nil, front.URL })
	if _, err := v.Verify(t.Context(), signedBy(t, k.ed, "a")); err != nil {
		t.Error(err)
	}
}

func TestRedirectFromHTTPSToHTTPIsRefused(t *testing.T) {
	i := newIssuer(t, jwk(t, "a", keys().ed.Public()))
	front := httptest.NewTLSServer(http.RedirectHandler(i.url, http.StatusFound))
	defer front.Close()
	_, err := token.NewVerifier(t.Context(), token.Options{JWKSURL: front.URL, HTTPClient: front.Client()})
	if err == nil || !strings.Contains(err.Error(), "https to http") {
		t.Errorf("error %v", err)
	}
}

// Callers that need a refresh share one fetch. A caller whose request is cancelled while
// it waits gets an error, and the fetch continues for the others.
func TestACancelledCallerDoesNotCancelTheRefresh(t *testing.T) {
	k := keys()
	i := newIssuer(t, jwk(t, "old", k.p256.Public()))
	refreshed := make(chan error, 10)
	v := fromSet(t, i, func(o *token.Options) { o.OnRefresh = func(err error) { refreshed <- err } })
	<-refreshed
	arrived, release := make(chan struct{}), make(chan struct{})
	i.handle(func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-release
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": []any{jwk(t, "new", k.ed.Public())}})
	})
	ctx, hangUp := context.WithCancel(t.Context())
	first, done := signedBy(t, k.p256, "forged"), make(chan error, 1)
	go func() { _, err := v.Verify(ctx, first); done <- err }()
	<-arrived
	hangUp()
	if err := <-done; !errors.Is(err, token.ErrUnavailable) {
		t.Errorf("the cancelled caller gets %v, want ErrUnavailable", err)
	}
	close(release)
	if err := <-refreshed; err != nil {
		t.Fatalf("the refresh ended with %v", err)
	}
	if _, err := v.Verify(t.Context(), signedBy(t, k.ed, "new")); err != nil {
		t.Errorf("the new key: %v", err)
	}
}
