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

func unixAt(d time.Duration) int64 { return noon.Add(d).Unix() }

func TestClaimsFollowTheContract(t *testing.T) {
	exp := unixAt(time.Hour)
	for name, tt := range map[string]struct {
		claims string
		want   error // nil: accepted
	}{
		"a string sub":                    {fmt.Sprintf(`{"sub":"abc","exp":%d}`, exp), nil},
		"a number sub":                    {fmt.Sprintf(`{"sub":42,"exp":%d}`, exp), nil},
		"no sub":                          {fmt.Sprintf(`{"exp":%d}`, exp), token.ErrInvalid},
		"an empty sub":                    {fmt.Sprintf(`{"sub":"","exp":%d}`, exp), token.ErrInvalid},
		"a sub with a slash":              {fmt.Sprintf(`{"sub":"7/8","exp":%d}`, exp), token.ErrInvalid},
		"a dot as sub":                    {fmt.Sprintf(`{"sub":".","exp":%d}`, exp), token.ErrInvalid},
		"two dots as sub":                 {fmt.Sprintf(`{"sub":"..","exp":%d}`, exp), token.ErrInvalid},
		"a wildcard as sub":               {fmt.Sprintf(`{"sub":"+","exp":%d}`, exp), token.ErrInvalid},
		"a sub of 129 characters":         {fmt.Sprintf(`{"sub":%q,"exp":%d}`, strings.Repeat("x", 129), exp), token.ErrInvalid},
		"a fraction as sub":               {fmt.Sprintf(`{"sub":1.5,"exp":%d}`, exp), token.ErrInvalid},
		"a sub above 2^53":                {fmt.Sprintf(`{"sub":9007199254740993,"exp":%d}`, exp), token.ErrInvalid},
		"a sub in another case":           {fmt.Sprintf(`{"Sub":"7","exp":%d}`, exp), token.ErrInvalid},
		"of two subs the last counts":     {fmt.Sprintf(`{"sub":"8/","sub":"7","exp":%d}`, exp), nil},
		"of two subs the last is refused": {fmt.Sprintf(`{"sub":"7","sub":"8/","exp":%d}`, exp), token.ErrInvalid},
		"of two exps the last has passed": {fmt.Sprintf(`{"sub":"7","exp":%d,"exp":%d}`, exp, unixAt(-time.Hour)), token.ErrExpired},

		"no exp":                   {`{"sub":"7"}`, token.ErrInvalid},
		"exp null":                 {`{"sub":"7","exp":null}`, token.ErrInvalid},
		"exp as a string":          {fmt.Sprintf(`{"sub":"7","exp":"%d"}`, exp), token.ErrInvalid},
		"exp in milliseconds":      {fmt.Sprintf(`{"sub":"7","exp":%d000}`, exp), token.ErrInvalid},
		"a negative exp":           {`{"sub":"7","exp":-1}`, token.ErrInvalid},
		"an exp beyond all floats": {`{"sub":"7","exp":1e999}`, token.ErrInvalid},
		"exp with a fraction":      {fmt.Sprintf(`{"sub":"7","exp":%d.5}`, exp), nil},
		"exp a second ago":         {fmt.Sprintf(`{"sub":"7","exp":%d}`, unixAt(-time.Second)), token.ErrExpired},
		"exp now":                  {fmt.Sprintf(`{"sub":"7","exp":%d}`, unixAt(0)), token.ErrExpired},

		"nbf in 30 s":     {fmt.Sprintf(`{"sub":"7","exp":%d,"nbf":%d}`, exp, unixAt(30*time.Second)), nil},
		"nbf in 31 s":     {fmt.Sprintf(`{"sub":"7","exp":%d,"nbf":%d}`, exp, unixAt(31*time.Second)), token.ErrInvalid},
		"nbf as a string": {fmt.Sprintf(`{"sub":"7","exp":%d,"nbf":"0"}`, exp), token.ErrInvalid},
		"iat in 30 s":     {fmt.Sprintf(`{"sub":"7","exp":%d,"iat":%d}`, exp, unixAt(30*time.Second)), nil},
		"iat in 31 s":     {fmt.Sprintf(`{"sub":"7","exp":%d,"iat":%d}`, exp, unixAt(31*time.Second)), token.ErrInvalid},

		"type access":      {fmt.Sprintf(`{"sub":"7","exp":%d,"type":"access"}`, exp), nil},
		"type refresh":     {fmt.Sprintf(`{"sub":"7","exp":%d,"type":"refresh"}`, exp), token.ErrInvalid},
		"type null":        {fmt.Sprintf(`{"sub":"7","exp":%d,"type":null}`, exp), token.ErrInvalid},
		"type in an array": {fmt.Sprintf(`{"sub":"7","exp":%d,"type":["access"]}`, exp), token.ErrInvalid},
		"jti a number":     {fmt.Sprintf(`{"sub":"7","exp":%d,"jti":5}`, exp), token.ErrInvalid},
		"scope a number":   {fmt.Sprintf(`{"sub":"7","exp":%d,"scope":5}`, exp), token.ErrInvalid},
		"scope with null":  {fmt.Sprintf(`{"sub":"7","exp":%d,"scope":["admin",null]}`, exp), token.ErrInvalid},

		"claims that are an array": {`["sub"]`, token.ErrInvalid},
		"claims that are null":     {`null`, token.ErrInvalid},
		"claims cut short":         {`{"sub":"7"`, token.ErrInvalid},
		"claims nested deeply":     {strings.Repeat(`{"a":`, 900) + "1" + strings.Repeat("}", 900), token.ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := verifier(t, nil).Verify(t.Context(), hs256(plainHeader, tt.claims, secret))
			if !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
		})
	}
}

func TestIssuerAndAudienceAreRequiredWhenConfigured(t *testing.T) {
	v := verifier(t, func(o *token.Options) { o.Issuer, o.Audience = "https://app.example", "falcon" })
	for name, tt := range map[string]struct {
		more string
		ok   bool
	}{
		"both":                       {`,"iss":"https://app.example","aud":"falcon"`, true},
		"one audience of several":    {`,"iss":"https://app.example","aud":["other","falcon"]`, true},
		"no iss":                     {`,"aud":"falcon"`, false},
		"another iss":                {`,"iss":"https://app.example/","aud":"falcon"`, false},
		"iss in an array":            {`,"iss":["https://app.example"],"aud":"falcon"`, false},
		"no aud":                     {`,"iss":"https://app.example"`, false},
		"another aud":                {`,"iss":"https://app.example","aud":"falco"`, false},
		"aud with a number in it":    {`,"iss":"https://app.example","aud":["falcon",5]`, false},
		"an audience in an object":   {`,"iss":"https://app.example","aud":{"falcon":1}`, false},
		"the audience within a word": {`,"iss":"https://app.example","aud":"falcon other"`, false},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := v.Verify(t.Context(), access(tt.more))
			if tt.ok != (err == nil) || !tt.ok && !errors.Is(err, token.ErrInvalid) {
				t.Errorf("error %v, want accepted %v", err, tt.ok)
			}
		})
	}
	if _, err := verifier(t, nil).Verify(t.Context(), access(`,"iss":"anybody","aud":"anything"`)); err != nil {
		t.Errorf("without configured values: %v", err)
	}
}

func TestScopes(t *testing.T) {
	for name, tt := range map[string]struct {
		more string
		want bridge.Scope
	}{
		"none":                   {``, 0},
		"null":                   {`,"scope":null`, 0},
		"one":                    {`,"scope":"notifications:read"`, bridge.ScopeRead},
		"a list in a string":     {`,"scope":"openid notifications:write  reports:write"`, bridge.ScopeWrite | bridge.ScopeReports},
		"an array":               {`,"scope":["notifications:read","admin"]`, bridge.ScopeRead | bridge.ScopeAdmin},
		"unknown ones":           {`,"scope":"administrator admin:read ADMIN"`, 0},
		"another claim's name":   {`,"Scope":"admin","scopes":"admin"`, 0},
		"the last of two counts": {`,"scope":"admin","scope":"notifications:read"`, bridge.ScopeRead},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := verifier(t, nil).Verify(t.Context(), access(tt.more))
			if err != nil || c.Scope != tt.want {
				t.Errorf("scope %b, error %v, want %b", c.Scope, err, tt.want)
			}
		})
	}
}

func TestAdminWhen(t *testing.T) {
	for name, tt := range map[string]struct {
		when, more string
		want       bool
	}{
		"a number":                    {"profile.role_id=1", `,"profile":{"role_id":1}`, true},
		"a number as a string":        {"profile.role_id=1", `,"profile":{"role_id":"1"}`, true},
		"another number":              {"profile.role_id=1", `,"profile":{"role_id":10}`, false},
		"a number with a fraction":    {"profile.role_id=1", `,"profile":{"role_id":1.0}`, false},
		"true is not 1":               {"profile.role_id=1", `,"profile":{"role_id":true}`, false},
		"a missing claim":             {"profile.role_id=1", `,"profile":{}`, false},
		"a claim that is no object":   {"profile.role_id=1", `,"profile":1`, false},
		"a claim in another case":     {"profile.role_id=1", `,"profile":{"Role_Id":1}`, false},
		"the last of two counts":      {"profile.role_id=1", `,"profile":{"role_id":1},"profile":{"role_id":2}`, false},
		"a boolean":                   {"staff=true", `,"staff":true`, true},
		"null is no value":            {"staff=null", `,"staff":null`, false},
		"an array that holds it":      {"realm_access.roles=admin", `,"realm_access":{"roles":["user","admin"]}`, true},
		"an array that does not":      {"realm_access.roles=admin", `,"realm_access":{"roles":["user","administrator"]}`, false},
		"an array within an array":    {"roles=admin", `,"roles":[["admin"]]`, false},
		"a dot inside a name":         {`https://app\.example/role=boss`, `,"https://app.example/role":"boss"`, true},
		"a value with an equals sign": {"dn=cn=boss", `,"dn":"cn=boss"`, true},
		"not configured":              {"", `,"profile":{"role_id":1}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			v := verifier(t, func(o *token.Options) { o.AdminWhen = tt.when })
			c, err := v.Verify(t.Context(), access(tt.more))
			if err != nil || (c.Scope == bridge.ScopeAdmin) != tt.want {
				t.Errorf("scope %b, error %v, want admin %v", c.Scope, err, tt.want)
			}
		})
	}
}
