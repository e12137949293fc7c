package token_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/token"
)

// The access tokens of common identity providers are accepted with the settings that
// docs/configuration.md names for them. The other tokens that a provider signs with the
// same key, such as ID and refresh tokens, are not.
func TestTokensOfOtherIssuers(t *testing.T) {
	const (
		cognito  = "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_abc"
		keycloak = "https://sso.example/realms/falcon"
		auth0    = "https://falcon.eu.auth0.com/"
		entra    = "https://login.microsoftonline.com/3aa4a235/v2.0"
		firebase = "https://securetoken.google.com/falcon-1"
		okta     = "https://falcon.okta.com/oauth2/default"
	)
	key := keys().rsa
	i := newIssuer(t, jwk(t, "k1", key.Public(), map[string]any{"use": "sig", "alg": "RS256", "x5c": []string{"not a certificate"}, "x5t": "wrong"}))
	for issuer, tt := range map[string]struct {
		o      token.Options
		tokens tokens
	}{
		"Cognito": {token.Options{Issuer: cognito, Audience: "1example23", AudienceClaim: "client_id", ScopeMap: "falcon/write=notifications:write"}, tokens{
			"access":                    {``, `"sub":"aaaaaaaa-bbbb-cccc","iss":"` + cognito + `","version":2,"client_id":"1example23","token_use":"access","scope":"openid falcon/write","auth_time":1,"cognito:groups":["admin"],"jti":"a"`, "aaaaaaaa-bbbb-cccc", bridge.ScopeWrite},
			"ID":                        {``, `"sub":"aaaaaaaa-bbbb-cccc","iss":"` + cognito + `","aud":"1example23","token_use":"id","cognito:username":"a","event_id":"e"`, "", 0},
			"access of another client":  {``, `"sub":"aaaaaaaa-bbbb-cccc","iss":"` + cognito + `","client_id":"other","token_use":"access"`, "", 0},
			"access of another pool":    {``, `"sub":"aaaaaaaa-bbbb-cccc","iss":"` + cognito + `x","client_id":"1example23","token_use":"access"`, "", 0},
			"with aud of another party": {``, `"sub":"aaaaaaaa-bbbb-cccc","iss":"` + cognito + `","client_id":"1example23","aud":"other","token_use":"access"`, "", 0},
		}},
		"Keycloak": {token.Options{Issuer: keycloak, Audience: "falcon", ScopeClaim: "resource_access.falcon.roles", ScopeMap: "operator=notifications:read"}, tokens{
			"access":              {`"typ":"JWT"`, `"sub":"f:1:joe","iss":"` + keycloak + `","aud":["falcon","account"],"typ":"Bearer","azp":"web","realm_access":{"roles":["admin"]},"resource_access":{"falcon":{"roles":["operator"]}},"scope":"openid admin"`, "f:1:joe", bridge.ScopeRead},
			"access without role": {`"typ":"JWT"`, `"sub":"f:1:joe","iss":"` + keycloak + `","aud":"falcon","typ":"Bearer","resource_access":{"account":{"roles":["admin"]}}`, "f:1:joe", 0},
			"refresh":             {`"typ":"JWT"`, `"sub":"f:1:joe","iss":"` + keycloak + `","aud":"falcon","typ":"Refresh"`, "", 0},
			"offline":             {`"typ":"JWT"`, `"sub":"f:1:joe","iss":"` + keycloak + `","aud":"falcon","typ":"Offline"`, "", 0},
			"ID":                  {`"typ":"JWT"`, `"sub":"f:1:joe","iss":"` + keycloak + `","aud":"falcon","typ":"ID"`, "", 0},
			"logout":              {`"typ":"JWT"`, `"sub":"f:1:joe","iss":"` + keycloak + `","aud":"falcon","typ":"Logout","events":{"http://schemas.openid.net/event/backchannel-logout":{}}`, "", 0},
			"access for account":  {`"typ":"JWT"`, `"sub":"f:1:joe","iss":"` + keycloak + `","aud":"account","azp":"falcon","typ":"Bearer"`, "", 0},
		}},
		"Auth0": {token.Options{Issuer: auth0, Audience: "https://api.falcon.example", ScopeClaim: "permissions"}, tokens{
			"access, as RFC 9068": {`"typ":"at+jwt"`, `"sub":"google-oauth2|103547991597142817347","iss":"` + auth0 + `","aud":["https://api.falcon.example","https://falcon.eu.auth0.com/userinfo"],"scope":"openid admin","permissions":["reports:write","read:all"]`, "google-oauth2|103547991597142817347", bridge.ScopeReports},
			"access of a machine": {`"typ":"JWT"`, `"sub":"abc@clients","gty":"client-credentials","iss":"` + auth0 + `","aud":"https://api.falcon.example","permissions":[]`, "abc@clients", 0},
			"ID":                  {`"typ":"JWT"`, `"sub":"auth0|1","iss":"` + auth0 + `","aud":"clientid","nonce":"n","at_hash":"h"`, "", 0},
			"logout":              {`"typ":"logout+jwt"`, `"sub":"auth0|1","iss":"` + auth0 + `","aud":"https://api.falcon.example","events":{}`, "", 0},
			"for management":      {`"typ":"JWT"`, `"sub":"auth0|1","iss":"` + auth0 + `","aud":"https://falcon.eu.auth0.com/api/v2/","permissions":["admin"]`, "", 0},
		}},
		"Entra ID": {token.Options{Issuer: entra, Audience: "6e74172b", UserClaim: "oid", ScopeClaim: "roles", ScopeMap: "Falcon.Admin=admin"}, tokens{
			"access":               {`"typ":"JWT","x5t":"abc"`, `"sub":"pairwise","oid":"690222be","iss":"` + entra + `","aud":"6e74172b","scp":"admin access_as_user","roles":["Falcon.Admin"],"ver":"2.0"`, "690222be", bridge.ScopeAdmin},
			"access without oid":   {`"typ":"JWT"`, `"sub":"pairwise","iss":"` + entra + `","aud":"6e74172b"`, "", 0},
			"for Microsoft Graph":  {`"typ":"JWT","nonce":"n"`, `"sub":"pairwise","oid":"690222be","iss":"` + entra + `","aud":"00000003-0000-0000-c000-000000000000"`, "", 0},
			"of another directory": {`"typ":"JWT"`, `"sub":"pairwise","oid":"690222be","iss":"https://login.microsoftonline.com/other/v2.0","aud":"6e74172b"`, "", 0},
		}},
		"Firebase": {token.Options{Issuer: firebase, Audience: "falcon-1"}, tokens{
			"ID, its access token": {`"typ":"JWT"`, `"sub":"Yx1","user_id":"Yx1","iss":"` + firebase + `","aud":"falcon-1","firebase":{"sign_in_provider":"password"}`, "Yx1", 0},
			"of another project":   {`"typ":"JWT"`, `"sub":"Yx1","iss":"https://securetoken.google.com/other","aud":"other"`, "", 0},
		}},
		"Okta": {token.Options{Issuer: okta, Audience: "api://default", UserClaim: "uid", ScopeClaim: "scp", ScopeMap: "falcon.write=notifications:write"}, tokens{
			"access":              {``, `"ver":1,"sub":"joe@example.com","uid":"00u1","cid":"c","iss":"` + okta + `","aud":"api://default","scp":["openid","falcon.write"]`, "00u1", bridge.ScopeWrite},
			"access of a machine": {``, `"ver":1,"sub":"0oa1","cid":"0oa1","iss":"` + okta + `","aud":"api://default","scp":["falcon.write"]`, "", 0},
			"ID":                  {``, `"ver":1,"sub":"00u1","iss":"` + okta + `","aud":"c","nonce":"n","at_hash":"h"`, "", 0},
		}},
		"any, without an audience": {token.Options{}, tokens{
			"a back-channel logout":   {`"typ":"JWT"`, `"sub":"1","events":{"http://schemas.openid.net/event/backchannel-logout":{}}`, "", 0},
			"a security event":        {`"typ":"secevent+jwt"`, `"sub":"1","events":{"https://schemas.openid.net/secevent/risc/event-type/account-disabled":{}}`, "", 0},
			"other events":            {`"typ":"JWT"`, `"sub":"1","events":{"click":3}`, "1", 0},
			"a DPoP proof":            {`"typ":"dpop+jwt","jwk":{}`, `"sub":"1","htm":"POST","htu":"https://x","jti":"a"`, "", 0},
			"a client assertion":      {`"typ":"client-authentication+jwt"`, `"sub":"client","jti":"a"`, "", 0},
			"an authorization JAR":    {`"typ":"oauth-authz-req+jwt"`, `"sub":"1"`, "", 0},
			"an introspection":        {`"typ":"token-introspection+jwt"`, `"sub":"1","token_introspection":{"active":true}`, "", 0},
			"a verifiable credential": {`"typ":"vc+sd-jwt"`, `"sub":"1"`, "", 0},
		}},
	} {
		for name, tok := range tt.tokens {
			t.Run(issuer+" "+name, func(t *testing.T) {
				tt.o.JWKSURL, tt.o.Now = i.url, func() time.Time { return noon }
				v, err := token.NewVerifier(t.Context(), tt.o)
				if err != nil {
					t.Fatal(err)
				}
				c, err := v.Verify(t.Context(), rs256(t, tok.header, tok.claims))
				if tok.user == "" {
					if !errors.Is(err, token.ErrInvalid) || errors.Is(err, token.ErrUnavailable) {
						t.Errorf("accepted as %+v, error %v", c, err)
					}
					return
				}
				if err != nil || c.User != tok.user || c.Scope != tok.scope {
					t.Errorf("user %q, scope %b, error %v; want %q and %b", c.User, c.Scope, err, tok.user, tok.scope)
				}
			})
		}
	}
}

// tokens maps a name to a token and what Verify must read from it. A token without a
// user must be refused.
type tokens map[string]struct {
	header, claims string // JSON members besides alg, kid, exp and iat
	user           bridge.UserID
	scope          bridge.Scope
}

// rs256 returns a token with the kid k1 that expires an hour after noon.
func rs256(t *testing.T, header, claims string) string {
	t.Helper()
	var m jwt.MapClaims
	if err := json.Unmarshal([]byte(`{`+claims+`}`), &m); err != nil {
		t.Fatalf("%v in %s", err, claims)
	}
	m["exp"], m["iat"] = noon.Add(time.Hour).Unix(), noon.Unix()
	tok := jwt.NewWithClaims(jwt.SigningMethodRS256, m)
	delete(tok.Header, "typ")
	if err := json.Unmarshal([]byte(`{`+header+`}`), &tok.Header); err != nil {
		t.Fatal(err)
	}
	tok.Header["kid"] = "k1"
	raw, err := tok.SignedString(keys().rsa)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
