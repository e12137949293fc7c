package token_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/delivery"
	"github.com/falconalert/falconbridge/bridge/token"
	"github.com/falconalert/falconbridge/internal/fakeclock"
)

var otherSecret = []byte("fedcba9876543210fedcba9876543210")

func TestARemovedKeyVerifiesNothing(t *testing.T) {
	k := keys()
	pub := publicPEM(t, k.p256)
	var revocations delivery.Revocations
	v := verifier(t, func(o *token.Options) {
		o.Secrets, o.PublicKeyPEM, o.Revoked = [][]byte{otherSecret, secret}, pub, revocations.Revoked
	})
	revocations.Keys(v.Knows)
	bySecret, byKey := access(""), signedBy(t, k.p256, "")
	verify := func(raw string) bridge.Claims {
		t.Helper()
		c, err := v.Verify(t.Context(), raw)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	old, public := verify(bySecret), verify(byKey)
	if err := v.SetKeys([][]byte{otherSecret}, pub); err != nil {
		t.Fatal(err)
	}
	refused(t, v, bySecret)
	verify(byKey)
	if !isRevoked(&revocations, old) || isRevoked(&revocations, public) {
		t.Error("a connection of the removed key stays, or one of a remaining key ends")
	}
	for name, bad := range map[string][][]byte{"a short one": {secret[:31]}, "a PEM": {pub}} {
		if v.SetKeys(bad, pub) == nil {
			t.Errorf("%s is accepted as a secret", name)
		}
	}
	verify(byKey)
	if err := v.SetKeys([][]byte{otherSecret, secret}, nil); err != nil {
		t.Fatal(err)
	}
	verify(bySecret)
	refused(t, v, byKey)
	if isRevoked(&revocations, old) || !isRevoked(&revocations, public) {
		t.Error("a key that was added again is not recognised, or a removed one still counts")
	}
	if isRevoked(&revocations, bridge.Claims{User: "7"}) {
		t.Error("claims that came from no token are revoked for a missing key")
	}
}

func isRevoked(r *delivery.Revocations, c bridge.Claims) bool {
	revoked, err := r.Revoked(context.Background(), c)
	return revoked || err != nil
}

// set is a transport that serves a key set without a network, so that a test can run in
// a synctest bubble.
type set struct {
	mu      sync.Mutex
	keys    []map[string]any
	down    bool
	fetches int
}

// change runs f while no request is served.
func (s *set) change(f func(s *set)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s)
}

func (s *set) RoundTrip(*http.Request) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fetches++
	if s.down {
		return nil, errors.New("connection refused")
	}
	b, err := json.Marshal(map[string]any{"keys": s.keys})
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(bytes.NewReader(b))}, err
}

// inBubble runs f in a synctest bubble with a verifier that fetches its keys from s.
func inBubble(t *testing.T, s *set, f func(t *testing.T, v *token.Verifier)) {
	synctest.Test(t, func(t *testing.T) {
		v, err := token.NewVerifier(t.Context(), token.Options{JWKSURL: "https://issuer.example/keys", HTTPClient: &http.Client{Transport: s},
			Now: func() time.Time { return noon }})
		if err != nil {
			t.Fatal(err)
		}
		f(t, v)
	})
}

func TestAnUnknownKidShortlyAfterARefreshIsInvalidNotUnavailable(t *testing.T) {
	k := keys()
	s := &set{keys: []map[string]any{jwk(t, "a", k.ed.Public())}}
	inBubble(t, s, func(t *testing.T, v *token.Verifier) {
		for n := range 3000 { // more kids than the verifier remembers
			_, err := v.Verify(t.Context(), signedBy(t, k.ed, fmt.Sprint("forged-", n)))
			if !errors.Is(err, token.ErrInvalid) || errors.Is(err, token.ErrUnavailable) {
				t.Fatalf("forged kid %d: %v", n, err)
			}
		}
		if s.fetches != 2 {
			t.Errorf("the key set was fetched %d times, want 2", s.fetches)
		}
	})
}

func TestAKidThatARefreshDidNotFindStaysInvalidWhileTheIssuerIsDown(t *testing.T) {
	k := keys()
	s := &set{keys: []map[string]any{jwk(t, "a", k.ed.Public())}}
	inBubble(t, s, func(t *testing.T, v *token.Verifier) {
		check := func(kid string, unavailable bool) {
			t.Helper()
			_, err := v.Verify(t.Context(), signedBy(t, k.p256, kid))
			if !errors.Is(err, token.ErrInvalid) || errors.Is(err, token.ErrUnavailable) != unavailable {
				t.Errorf("kid %s: %v, want unavailable %v", kid, err, unavailable)
			}
		}
		check("forged", false)
		s.change(func(s *set) { s.down = true })
		fakeclock.Advance(11 * time.Second)
		check("new", true)     // the fetch failed
		check("forged", false) // remembered as unknown: no fetch
		check("newer", true)   // within 10 s of a failed fetch
		fakeclock.Advance(20 * time.Second)
		check("forged", true) // no longer remembered: the issuer may have published it
		if s.fetches != 4 {
			t.Errorf("the key set was fetched %d times, want 4", s.fetches)
		}
	})
}

// An issuer may sign with a key shortly before it publishes that key.
func TestAKeyThatIsPublishedLateIsFound(t *testing.T) {
	k := keys()
	s := &set{keys: []map[string]any{jwk(t, "a", k.ed.Public())}}
	inBubble(t, s, func(t *testing.T, v *token.Verifier) {
		refused(t, v, signedBy(t, k.p256, "b"))
		s.change(func(s *set) { s.keys = append(s.keys, jwk(t, "b", k.p256.Public())) })
		refused(t, v, signedBy(t, k.p256, "b"))
		fakeclock.Advance(31 * time.Second)
		if _, err := v.Verify(t.Context(), signedBy(t, k.p256, "b")); err != nil {
			t.Error(err)
		}
	})
}

func TestAKeyRemovedFromTheSetEndsTheConnectionsOfItsTokens(t *testing.T) {
	k := keys()
	s := &set{keys: []map[string]any{jwk(t, "a", k.ed.Public()), jwk(t, "b", k.p256.Public())}}
	inBubble(t, s, func(t *testing.T, v *token.Verifier) {
		var revocations delivery.Revocations
		revocations.Keys(v.Knows)
		raw := signedBy(t, k.ed, "a")
		c, err := v.Verify(t.Context(), raw)
		if err != nil {
			t.Fatal(err)
		}
		s.change(func(s *set) { s.down = true })
		fakeclock.Advance(time.Hour)
		if isRevoked(&revocations, c) {
			t.Error("an unreachable issuer ends connections")
		}
		s.change(func(s *set) { s.down, s.keys = false, s.keys[1:] })
		v.Refresh()
		synctest.Wait()
		if !isRevoked(&revocations, c) {
			t.Error("a connection outlives its key")
		}
		refused(t, v, raw)
		old := c.Key

		// A key stays the same when the set starts to name its algorithm.
		raw = signedBy(t, k.p256, "b")
		if c, err = v.Verify(t.Context(), raw); err != nil {
			t.Fatal(err)
		}
		s.change(func(s *set) { s.keys[0]["alg"] = "ES256" })
		v.Refresh()
		synctest.Wait()
		if isRevoked(&revocations, c) {
			t.Error("a key whose algorithm is named now counts as another one")
		}
		s.change(func(s *set) { s.keys[0]["alg"] = "ECDH-ES"; s.keys = append(s.keys, jwk(t, "d", k.p384.Public())) })
		v.Refresh()
		synctest.Wait()
		if !isRevoked(&revocations, c) {
			t.Error("a key that is now for encryption still counts")
		}
		c.Key = old

		// The same key with another kid is a different one, since tokens name the old kid.
		s.change(func(s *set) { s.keys = append(s.keys, jwk(t, "c", k.ed.Public())) })
		v.Refresh()
		synctest.Wait()
		if !isRevoked(&revocations, c) {
			t.Error("the key with another kid counts as the old one")
		}
	})
}
