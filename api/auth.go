package api

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/token"
)

// Verifier verifies tokens; token.Verifier is one.
type Verifier interface {
	// Verify fails with token.ErrInvalid, ErrExpired, ErrRevoked or ErrUnavailable. The
	// text of the error may be shown to the bearer.
	Verify(ctx context.Context, raw string) (bridge.Claims, error)
}

const realm = `Bearer realm="falconbridge"`

// bearer returns the token of the Authorization header (RFC 6750 §2.1), or "". A token is
// read from nowhere else: URLs end up in logs and in browser histories.
func bearer(r *http.Request) string {
	h := r.Header["Authorization"]
	if len(h) != 1 {
		return ""
	}
	scheme, raw, _ := strings.Cut(h[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(raw)
}

// identify returns the claims of raw, the token of r. For a refused token whose signature
// is valid it returns user and jti as well, for the audit log only.
func (a *api) identify(r *http.Request, raw string) (bridge.Claims, error) {
	if raw == "" {
		return bridge.Claims{}, &problem{kind: unauthorized, detail: "the request has no bearer token in its Authorization header", authenticate: realm}
	}
	claims, err := a.o.Verifier.Verify(r.Context(), raw)
	if err == nil {
		return claims, nil
	}
	p := problemOf(err)
	if p.kind != unauthorized {
		return bridge.Claims{}, err
	}
	var signed *token.SignedError
	var bearer bridge.Claims
	if errors.As(err, &signed) {
		bearer = bridge.Claims{User: signed.Claims.User, ID: signed.Claims.ID}
	}
	return bearer, &problem{kind: unauthorized, detail: err.Error(),
		authenticate: realm + `, error="invalid_token", error_description="` + describe(err) + `"`}
}

// describe returns the text of err for a quoted string in a header.
func describe(err error) string {
	for _, e := range []error{token.ErrExpired, token.ErrRevoked} {
		if errors.Is(err, e) {
			return e.Error()
		}
	}
	return token.ErrInvalid.Error()
}

// lacking returns the problem of a token without the scope that a call requires.
func lacking(s bridge.Scope) error {
	scope := spelled(s)
	return &problem{kind: forbidden, detail: "this call requires the scope " + scope,
		authenticate: realm + `, error="insufficient_scope", scope="` + scope + `"`}
}

// spelled returns scopes as they are spelled in tokens.
func spelled(s bridge.Scope) string { return strings.Join(s.Names(), " ") }
