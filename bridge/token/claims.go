package token

import (
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// rules are what a payload is held to.
type rules struct {
	issuer, audience string
	admin            adminWhen
	leeway           time.Duration
}

func newRules(o Options) (rules, error) {
	r := rules{issuer: o.Issuer, audience: o.Audience, leeway: o.Leeway}
	if r.leeway == 0 {
		r.leeway = 30 * time.Second
	}
	var err error
	r.admin, err = parseAdminWhen(o.AdminWhen)
	return r, err
}

// claims reads a payload whose signature holds. Names are matched byte for byte;
// of a name given twice the last counts (RFC 7519 §4).
func (r rules) claims(payload []byte, now time.Time) (bridge.Claims, error) {
	var fields map[string]json.RawMessage
	if json.Unmarshal(payload, &fields) != nil || fields == nil {
		return bridge.Claims{}, invalid("its claims are not a JSON object")
	}
	var c bridge.Claims
	sub, there := fields["sub"]
	if !there || c.User.UnmarshalJSON(sub) != nil {
		return c, invalid("its sub is not a user id")
	}
	if t, there := fields["type"]; there && !isString(t, "access") {
		return c, invalid("its type is not access")
	}
	if err := r.times(&c, fields, now); err != nil {
		return bridge.Claims{}, err
	}
	if r.issuer != "" && !isString(fields["iss"], r.issuer) {
		return bridge.Claims{}, invalid("its iss is not the required one")
	}
	if r.audience != "" {
		aud, err := stringOrList(fields["aud"])
		if err != nil || !slices.Contains(aud, r.audience) {
			return bridge.Claims{}, invalid("its aud does not hold the required one")
		}
	}
	if jti, there := fields["jti"]; there && json.Unmarshal(jti, &c.ID) != nil {
		return bridge.Claims{}, invalid("its jti is not a string")
	}
	var err error
	if c.Scope, err = parseScope(fields["scope"]); err != nil {
		return bridge.Claims{}, invalid("its scope is neither a string nor an array of strings")
	}
	if r.admin.matches(payload) {
		c.Scope |= bridge.ScopeAdmin
	}
	return c, nil
}

// times reads exp, nbf and iat. Leeway is for clocks that differ: it is given to
// what begins, not to what ends.
func (r rules) times(c *bridge.Claims, fields map[string]json.RawMessage, now time.Time) error {
	exp, there, err := numericDate(fields["exp"])
	if err != nil || !there {
		return invalid("its exp is missing or not a time in seconds")
	}
	nbf, hasNbf, err := numericDate(fields["nbf"])
	if err != nil {
		return invalid("its nbf is not a time in seconds")
	}
	iat, hasIat, err := numericDate(fields["iat"])
	if err != nil {
		return invalid("its iat is not a time in seconds")
	}
	limit := now.Add(r.leeway)
	switch {
	case !now.Before(exp):
		return ErrExpired
	case hasNbf && nbf.After(limit):
		return invalid("its nbf is in the future")
	case hasIat && iat.After(limit):
		return invalid("its iat is in the future")
	}
	c.ExpiresAt = exp
	if hasIat {
		c.IssuedAt = iat
	}
	return nil
}

// maxDate is the last second of the year 9999; a larger exp is one written in
// milliseconds.
const maxDate = 253402300799

// numericDate reads seconds since 1970, with or without a fraction (RFC 7519 §2).
func numericDate(b json.RawMessage) (t time.Time, there bool, err error) {
	if len(b) == 0 || string(b) == "null" {
		return t, false, nil
	}
	s, err := strconv.ParseFloat(string(b), 64)
	if err != nil || !(s >= 0 && s <= maxDate) {
		return t, false, errors.New("not a time in seconds")
	}
	whole, part := math.Modf(s)
	return time.Unix(int64(whole), int64(part*1e9)).UTC(), true, nil
}

func isString(b json.RawMessage, want string) bool {
	var s *string
	return json.Unmarshal(b, &s) == nil && s != nil && *s == want
}

// stringOrList reads a string or an array of strings.
func stringOrList(b json.RawMessage) ([]string, error) {
	if len(b) == 0 || string(b) == "null" {
		return nil, nil
	}
	var list []*string
	if json.Unmarshal(b, &list) != nil {
		var one string
		err := json.Unmarshal(b, &one)
		return []string{one}, err
	}
	out := make([]string, 0, len(list))
	for _, s := range list {
		if s == nil {
			return nil, errors.New("null is not a string")
		}
		out = append(out, *s)
	}
	return out, nil
}

// parseScope reads the scope claim (RFC 8693 §4.2): names separated by blanks,
// or an array of names. Unknown names mean nothing here.
func parseScope(b json.RawMessage) (bridge.Scope, error) {
	names, err := stringOrList(b)
	if err != nil {
		return 0, err
	}
	var s bridge.Scope
	for _, n := range names {
		for _, name := range strings.Fields(n) {
			s |= bridge.ParseScope(name)
		}
	}
	return s, nil
}
