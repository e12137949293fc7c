package token_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/token"
)

// FuzzVerify gives arbitrary strings to a verifier that has a key of every kind. It may
// accept only the tokens that were signed with one of its keys, and every other error
// must be ErrInvalid or ErrExpired.
func FuzzVerify(f *testing.F) {
	k := keys()
	pub := append(append(publicPEM(f, k.rsa), publicPEM(f, k.p256)...), publicPEM(f, k.ed)...)
	v := verifier(f, func(o *token.Options) { o.PublicKeyPEM = pub })
	valid := map[string]bool{}
	for _, o := range []token.SignerOptions{
		{Secret: secret}, {PrivateKeyPEM: privatePEM(f, k.rsa)}, {PrivateKeyPEM: privatePEM(f, k.p256)}, {PrivateKeyPEM: privatePEM(f, k.ed)},
	} {
		raw, err := signer(f, o).Sign(bridge.Claims{User: "7", ID: "fixed", ExpiresAt: noon.Add(time.Hour)})
		if err != nil {
			f.Fatal(err)
		}
		valid[raw] = true
		f.Add(raw)
		head, _, _ := strings.Cut(raw, ".")
		f.Add(head + "..")
	}
	f.Add(b64(`{"alg":"none"}`) + "." + b64(goodClaims) + ".")
	f.Add("")
	f.Fuzz(func(t *testing.T, raw string) {
		_, err := v.Verify(t.Context(), raw)
		if valid[raw] {
			return
		}
		if err == nil {
			t.Fatalf("%q is accepted", raw)
		}
		if !errors.Is(err, token.ErrInvalid) && !errors.Is(err, token.ErrExpired) {
			t.Fatalf("error %v, want ErrInvalid or ErrExpired", err)
		}
	})
}

// FuzzClaims signs arbitrary claims. A token that is accepted must have a valid user ID
// and an expiry in the future.
func FuzzClaims(f *testing.F) {
	v := verifier(f, func(o *token.Options) { o.AdminWhen = "profile.role_id=1" })
	f.Add(goodClaims)
	f.Add(`{"sub":1,"exp":1e12,"type":"access","profile":{"id":1,"role_id":1}}`)
	f.Add(`{"sub":"a","exp":4102444800,"nbf":1.5,"iat":-1,"scope":["admin"],"aud":[null]}`)
	f.Fuzz(func(t *testing.T, claims string) {
		c, err := v.Verify(t.Context(), hs256(plainHeader, claims, secret))
		if err != nil {
			return
		}
		if _, bad := bridge.ParseUserID(string(c.User)); bad != nil || !c.ExpiresAt.After(noon) {
			t.Errorf("accepted %q as %+v", claims, c)
		}
	})
}
