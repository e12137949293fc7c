package token_test

import (
	"crypto"
	"encoding/base64"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/token"
)

func signer(t testing.TB, o token.SignerOptions) *token.Signer {
	t.Helper()
	if o.Now == nil {
		o.Now = func() time.Time { return noon }
	}
	s, err := token.NewSigner(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// payload returns the claims of a token without verifying it.
func payload(t *testing.T, raw string) map[string]any {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(strings.Split(raw, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestSignedTokensVerify(t *testing.T) {
	k := keys()
	for name, key := range map[string]crypto.Signer{"RS256": k.rsa, "ES256": k.p256, "ES384": k.p384, "ES512": k.p521, "EdDSA": k.ed, "HS256": nil} {
		t.Run(name, func(t *testing.T) {
			o := token.SignerOptions{Secret: secret, Issuer: "https://app.example", Audience: "falcon"}
			if key != nil {
				o.Secret, o.PrivateKeyPEM = nil, privatePEM(t, key)
			}
			all := bridge.ScopeRead | bridge.ScopeWrite | bridge.ScopeReports | bridge.ScopeAdmin
			want := bridge.Claims{User: "7", Scope: all, ID: "one", IssuedAt: noon, ExpiresAt: noon.Add(time.Hour)}
			raw, err := signer(t, o).Sign(want)
			if err != nil {
				t.Fatal(err)
			}
			v := verifier(t, func(vo *token.Options) {
				vo.Issuer, vo.Audience = o.Issuer, o.Audience
				if key != nil {
					vo.Secrets, vo.PublicKeyPEM = nil, publicPEM(t, key)
				}
			})
			c, err := v.Verify(t.Context(), raw)
			want.Key = c.Key // set by the verifier
			if err != nil || c != want {
				t.Errorf("claims %+v, error %v, want %+v", c, err, want)
			}
		})
	}
}

func TestSignFillsInWhatIsMissing(t *testing.T) {
	s := signer(t, token.SignerOptions{Secret: secret})
	ids := map[any]bool{}
	for range 2 {
		raw, err := s.Sign(bridge.Claims{User: "7", ExpiresAt: noon.Add(time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		m := payload(t, raw)
		if m["iat"] != float64(noon.Unix()) || m["type"] != "access" || m["sub"] != "7" {
			t.Errorf("claims are %v", m)
		}
		if _, present := m["scope"]; present {
			t.Error("a token without scopes has a scope claim")
		}
		ids[m["jti"]] = true
	}
	if len(ids) != 2 {
		t.Error("two tokens have the same jti")
	}
}

func TestExtraClaimsCannotReplaceOurs(t *testing.T) {
	extra := map[string]any{"profile": map[string]any{"role_id": 1}, "sub": "8", "scope": "admin", "exp": 1, "type": "refresh", "acl": nil}
	raw, err := signer(t, token.SignerOptions{Secret: secret}).Sign(bridge.Claims{User: "7", ExpiresAt: noon.Add(time.Hour)}, extra)
	if err != nil {
		t.Fatal(err)
	}
	c, err := verifier(t, nil).Verify(t.Context(), raw)
	if err != nil || c.User != "7" || c.Scope != 0 {
		t.Errorf("claims %+v, error %v", c, err)
	}
	if payload(t, raw)["profile"] == nil {
		t.Error("the extra claim is missing")
	}
}

// A token for EMQX carries an acl claim, a list in which the first match decides. It must
// allow what this server allows.
func TestTheACLClaimAllowsOnEMQXWhatIsAllowedHere(t *testing.T) {
	rule := func(permission, action, topic string) any {
		return map[string]any{"permission": permission, "action": action, "topic": topic}
	}
	for name, tt := range map[string]struct {
		prefix string
		scope  bridge.Scope
		topic  string
	}{
		"a user":                         {"", 0, "users/7/reports/status"},
		"a user in a namespace":          {"staging/", 0, "staging/users/7/reports/status"},
		"a writer reads no more":         {"", bridge.ScopeWrite | bridge.ScopeReports, "users/7/reports/status"},
		"a reader of everybody's topics": {"", bridge.ScopeRead, "users/+/reports/status"},
		"an admin":                       {"", bridge.ScopeAdmin, "users/+/reports/status"},
	} {
		t.Run(name, func(t *testing.T) {
			s := signer(t, token.SignerOptions{Secret: secret, Topics: bridge.Topics{Prefix: tt.prefix}})
			raw, err := s.Sign(bridge.Claims{User: "7", Scope: tt.scope, ExpiresAt: noon.Add(time.Hour)})
			if err != nil {
				t.Fatal(err)
			}
			want := []any{rule("allow", "subscribe", tt.topic), rule("deny", "all", "#"), rule("deny", "all", "$SYS/#")}
			if got := payload(t, raw)["acl"]; !reflect.DeepEqual(got, want) {
				t.Errorf("acl is %v, want %v", got, want)
			}
		})
	}
}

func TestTheSignerRefusesInvalidKeysAndClaims(t *testing.T) {
	for name, o := range map[string]token.SignerOptions{
		"no key":         {},
		"two keys":       {Secret: secret, PrivateKeyPEM: privatePEM(t, keys().ed)},
		"a short secret": {Secret: secret[:31]},
		"a public key":   {PrivateKeyPEM: publicPEM(t, keys().ed)},
		"no PEM":         {PrivateKeyPEM: []byte("hello")},
	} {
		if _, err := token.NewSigner(o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	s := signer(t, token.SignerOptions{Secret: secret})
	for name, c := range map[string]bridge.Claims{
		"no user":             {ExpiresAt: noon},
		"a user with a slash": {User: "7/8", ExpiresAt: noon},
		"no expiry":           {User: "7"},
	} {
		if _, err := s.Sign(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
