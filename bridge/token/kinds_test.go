package token_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/token"
)

// Issuers sign refresh, ID and logout tokens with the same key as access tokens, so only
// the claims tell them apart.
func TestTokensThatAreNotAccessTokensAreRefused(t *testing.T) {
	for more, ok := range map[string]bool{
		`,"type":"access"`:             true,
		`,"type":"refresh"`:            false,
		`,"type":"Access"`:             false,
		`,"token_type":"access"`:       true,
		`,"token_type":"refresh"`:      false,
		`,"token_type":"Bearer"`:       false,
		`,"token_type":null`:           false,
		`,"token_use":"access"`:        true,
		`,"token_use":"id"`:            false,
		`,"token_use":["access"]`:      false,
		`,"typ":"Bearer"`:              true,
		`,"typ":"bearer"`:              true,
		`,"typ":"access"`:              true,
		`,"typ":"AT+JWT"`:              true,
		`,"typ":"JWT"`:                 true,
		`,"typ":"Refresh"`:             false,
		`,"typ":"Offline"`:             false,
		`,"typ":"ID"`:                  false,
		`,"typ":"Logout"`:              false,
		`,"typ":""`:                    false,
		`,"typ":1`:                     false,
		`,"type":"access","typ":"ID"`:  false,
		`,"typ":"ID","typ":"Bearer"`:   true, // of a repeated name, the last one counts
		`,"typ":"Bearer","typ":"ID"`:   false,
		`,"Type":"refresh","TYP":"ID"`: true, // other claims: names are matched byte for byte
	} {
		_, err := verifier(t, nil).Verify(t.Context(), access(more))
		if ok != (err == nil) || !ok && !errors.Is(err, token.ErrInvalid) {
			t.Errorf("%s: error %v, want accepted %v", more, err, ok)
		}
	}
}

func TestATokenThatCouldNotBeRevokedIsRefused(t *testing.T) {
	v := verifier(t, nil)
	for name, tt := range map[string]struct {
		jti string
		ok  bool
	}{
		"255 bytes":                 {strings.Repeat("x", 255), true},
		"256 bytes":                 {strings.Repeat("x", 256), false},
		"128 characters, 256 bytes": {strings.Repeat("ñ", 128), false},
		"a NUL":                     {`a\u0000`, false},
	} {
		c, err := v.Verify(t.Context(), access(`,"jti":"`+tt.jti+`"`))
		if tt.ok != (err == nil) || !tt.ok && !errors.Is(err, token.ErrInvalid) {
			t.Errorf("%s: error %v, want accepted %v", name, err, tt.ok)
		}
		if tt.ok && c.ID != tt.jti {
			t.Errorf("%s: jti %q", name, c.ID)
		}
	}
}

func TestATokenThatLivesTooLongIsRefused(t *testing.T) {
	v := verifier(t, func(o *token.Options) { o.MaxLife = time.Hour })
	for exp, ok := range map[time.Duration]bool{
		time.Minute:                true,
		time.Hour:                  true,
		time.Hour + 30*time.Second: true, // the issuer's clock may be ahead
		time.Hour + 31*time.Second: false,
		24 * time.Hour:             false,
	} {
		_, err := v.Verify(t.Context(), hs256(plainHeader, fmt.Sprintf(`{"sub":"7","exp":%d}`, noon.Unix()+int64(exp/time.Second)), secret))
		if ok != (err == nil) || !ok && !errors.Is(err, token.ErrInvalid) {
			t.Errorf("exp in %v: error %v, want accepted %v", exp, err, ok)
		}
	}
	// The time until this exp does not fit in a time.Duration.
	if _, err := v.Verify(t.Context(), hs256(plainHeader, `{"sub":"7","exp":253402300799}`, secret)); !errors.Is(err, token.ErrInvalid) {
		t.Errorf("exp at the end of the year 9999: %v", err)
	}
}

func TestUserAndScopesFromOtherClaims(t *testing.T) {
	for name, tt := range map[string]struct {
		o     token.Options
		more  string
		user  bridge.UserID // "": refused
		scope bridge.Scope
	}{
		"a user in another claim":           {token.Options{UserClaim: "email"}, `,"email":"a@b.c"`, "a@b.c", 0},
		"a number in another claim":         {token.Options{UserClaim: "uid"}, `,"uid":42`, "42", 0},
		"a user in an object":               {token.Options{UserClaim: "user.id"}, `,"user":{"id":42}`, "42", 0},
		"a name with a dot":                 {token.Options{UserClaim: `https://app\.example/id`}, `,"https://app.example/id":"x"`, "x", 0},
		"no fallback to sub":                {token.Options{UserClaim: "email"}, ``, "", 0},
		"no fallback for null":              {token.Options{UserClaim: "email"}, `,"email":null`, "", 0},
		"no fallback for a bad one":         {token.Options{UserClaim: "email"}, `,"email":"a/b"`, "", 0},
		"no fallback for an object":         {token.Options{UserClaim: "user.id"}, `,"user":"7"`, "", 0},
		"a user in an array":                {token.Options{UserClaim: "users"}, `,"users":["7"]`, "", 0},
		"scp as an array":                   {token.Options{ScopeClaim: "scp"}, `,"scp":["notifications:read"]`, "7", bridge.ScopeRead},
		"scp as a string":                   {token.Options{ScopeClaim: "scp"}, `,"scp":"notifications:read reports:write"`, "7", bridge.ScopeRead | bridge.ScopeReports},
		"scope no longer counts":            {token.Options{ScopeClaim: "scp"}, `,"scope":"admin"`, "7", 0},
		"roles in an object":                {token.Options{ScopeClaim: "realm_access.roles"}, `,"realm_access":{"roles":["offline_access","reports:write"]}`, "7", bridge.ScopeReports},
		"roles that are not ours":           {token.Options{ScopeClaim: "permissions"}, `,"permissions":["read:all","Admin","ADMIN","admin:all"]`, "7", 0},
		"a mapped role":                     {token.Options{ScopeClaim: "roles", ScopeMap: "editor=notifications:write,boss=admin"}, `,"roles":["editor"]`, "7", bridge.ScopeWrite},
		"a role mapped twice":               {token.Options{ScopeMap: "editor=notifications:write, editor = reports:write"}, `,"scope":"editor"`, "7", bridge.ScopeWrite | bridge.ScopeReports},
		"a role with a space":               {token.Options{ScopeClaim: "groups", ScopeMap: "Falcon Staff=notifications:read"}, `,"groups":["Falcon Staff"]`, "7", bridge.ScopeRead},
		"a role split at its space":         {token.Options{ScopeClaim: "groups", ScopeMap: "Falcon Staff=notifications:read"}, `,"groups":["Falcon","Staff"]`, "7", 0},
		"a role with an equals sign":        {token.Options{ScopeClaim: "groups", ScopeMap: "cn=boss=admin"}, `,"groups":["cn=boss"]`, "7", bridge.ScopeAdmin},
		"a mapped role in another case":     {token.Options{ScopeMap: "boss=admin"}, `,"scope":"Boss"`, "7", 0},
		"scopes in an object":               {token.Options{ScopeClaim: "roles"}, `,"roles":{"admin":true}`, "", 0},
		"scopes in arrays within the array": {token.Options{ScopeClaim: "roles"}, `,"roles":[["admin"]]`, "", 0},
		"a path through a string":           {token.Options{ScopeClaim: "roles.admin"}, `,"roles":"admin"`, "7", 0},
	} {
		t.Run(name, func(t *testing.T) {
			tt.o.Secrets, tt.o.Now = [][]byte{secret}, func() time.Time { return noon }
			v, err := token.NewVerifier(t.Context(), tt.o)
			if err != nil {
				t.Fatal(err)
			}
			c, err := v.Verify(t.Context(), access(tt.more))
			if tt.user == "" {
				if !errors.Is(err, token.ErrInvalid) {
					t.Errorf("accepted as %+v, error %v", c, err)
				}
				return
			}
			if err != nil || c.User != tt.user || c.Scope != tt.scope {
				t.Errorf("user %q, scope %b, error %v; want %q and %b", c.User, c.Scope, err, tt.user, tt.scope)
			}
		})
	}
}

func TestAudienceClaimCountsOnlyWithoutAud(t *testing.T) {
	v := verifier(t, func(o *token.Options) { o.Audience, o.AudienceClaim = "falcon", "client_id" })
	for more, ok := range map[string]bool{
		`,"client_id":"falcon"`:                 true,
		`,"client_id":["other","falcon"]`:       true,
		`,"aud":"falcon"`:                       true,
		`,"aud":"falcon","client_id":"other"`:   true,
		`,"aud":"other","client_id":"falcon"`:   false,
		`,"aud":["other"],"client_id":"falcon"`: false,
		`,"aud":[],"client_id":"falcon"`:        false,
		`,"aud":"","client_id":"falcon"`:        false,
		`,"aud":null,"client_id":"falcon"`:      false,
		`,"client_id":"other"`:                  false,
		`,"client_id":null`:                     false,
		`,"Client_Id":"falcon"`:                 false,
		``:                                      false,
	} {
		_, err := v.Verify(t.Context(), access(more))
		if ok != (err == nil) || !ok && !errors.Is(err, token.ErrInvalid) {
			t.Errorf("%s: error %v, want accepted %v", more, err, ok)
		}
	}
}

func TestSignedTokensVerifyWithOtherClaims(t *testing.T) {
	for name, claims := range map[string]struct{ user, scope string }{
		"single claims": {"email", "scp"},
		"in objects":    {"user.id", "realm_access.roles"},
		"in one object": {"app.id", "app.roles"},
	} {
		t.Run(name, func(t *testing.T) {
			v := verifier(t, func(o *token.Options) { o.UserClaim, o.ScopeClaim = claims.user, claims.scope })
			s := signer(t, token.SignerOptions{Secret: secret, UserClaim: claims.user, ScopeClaim: claims.scope})
			for _, scope := range []bridge.Scope{0, bridge.ScopeRead | bridge.ScopeWrite} {
				raw, err := s.Sign(bridge.Claims{User: "a@b.c", Scope: scope, ExpiresAt: noon.Add(time.Hour)})
				if err != nil {
					t.Fatal(err)
				}
				if c, err := v.Verify(t.Context(), raw); err != nil || c.User != "a@b.c" || c.Scope != scope {
					t.Errorf("claims %+v, error %v", c, err)
				}
			}
		})
	}
}

func TestMeaninglessClaimSettingsAreRefused(t *testing.T) {
	for name, o := range map[string]token.Options{
		"a user claim with an empty part":      {UserClaim: "a..b"},
		"a scope claim with an empty part":     {ScopeClaim: "roles."},
		"an audience claim with an empty part": {AudienceClaim: ".a"},
		"a role without a scope":               {ScopeMap: "editor"},
		"a scope without a role":               {ScopeMap: "=admin"},
		"an unknown scope":                     {ScopeMap: "editor=write"},
		"an empty entry":                       {ScopeMap: "editor=admin,"},
	} {
		o.Secrets = [][]byte{secret}
		if _, err := token.NewVerifier(t.Context(), o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// A revocation is dropped when no token issued before it can still be valid, which
// assumes that none lives longer than MaxLife. A token with a longer life is therefore
// always refused, even in its last hour, when its exp is near enough.
func TestATokenThatLivesTooLongIsRefusedEvenInItsLastMinute(t *testing.T) {
	now := noon
	v := verifier(t, func(o *token.Options) { o.MaxLife, o.Now = time.Hour, func() time.Time { return now } })
	for life, ok := range map[time.Duration]bool{
		time.Hour:                  true,
		time.Hour + 30*time.Second: true, // the issuer's clocks may differ
		time.Hour + 31*time.Second: false,
		240 * time.Hour:            false,
	} {
		raw := hs256(plainHeader, fmt.Sprintf(`{"sub":"7","iat":%d,"exp":%d}`, noon.Unix(), noon.Unix()+int64(life/time.Second)), secret)
		now = noon.Add(life - time.Minute)
		if _, err := v.Verify(t.Context(), raw); ok != (err == nil) || !ok && !errors.Is(err, token.ErrInvalid) {
			t.Errorf("a minute before the end of %s: %v", life, err)
		}
	}
}
