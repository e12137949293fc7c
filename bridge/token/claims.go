package token

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/falconalert/falconbridge/bridge"
)

// rules are the configured requirements on a token's claims for which golang-jwt has no option.
type rules struct {
	audience, user, scope claimPath
	scopes                scopeMap
	admin                 adminWhen
	maxLife, leeway       time.Duration // a maxLife of 0 means no limit
	now                   func() time.Time
}

func newRules(o Options, now func() time.Time) (rules, error) {
	r := rules{maxLife: o.MaxLife, leeway: o.Leeway, now: now}
	var errs [5]error
	r.audience, errs[0] = parsePath(cmp.Or(o.AudienceClaim, "aud"))
	r.user, errs[1] = parsePath(cmp.Or(o.UserClaim, "sub"))
	r.scope, errs[2] = parsePath(cmp.Or(o.ScopeClaim, "scope"))
	r.scopes, errs[3] = parseScopeMap(o.ScopeMap)
	r.admin, errs[4] = parseAdminWhen(o.AdminWhen)
	return r, errors.Join(errs[:]...)
}

// claims is the payload of a token. At first it only keeps the bytes. It decodes them when
// golang-jwt asks for the first claim, which is after golang-jwt has checked the signature, so that
// nothing from an unauthenticated client is decoded. Names are compared byte for byte. If a name
// occurs twice, the last one counts (RFC 7519 §4).
type claims struct {
	rules  *rules
	raw    []byte
	values jwt.MapClaims // by name; nil until decoded
	result bridge.Claims // set by Validate
}

// UnmarshalJSON keeps the bytes, which encoding/json has checked to be one JSON value.
func (c *claims) UnmarshalJSON(b []byte) error {
	c.raw = bytes.Clone(b)
	return nil
}

// decoded returns the claims, which it decodes at its first call.
func (c *claims) decoded() jwt.MapClaims {
	if c.values == nil {
		d := json.NewDecoder(bytes.NewReader(c.raw))
		d.UseNumber()
		if d.Decode(&c.values) != nil || c.values == nil { // not an object; Validate refuses it
			c.values = jwt.MapClaims{}
		}
		for _, name := range []string{"exp", "nbf", "iat"} { // null counts as absent
			if c.values[name] == nil {
				delete(c.values, name)
			}
		}
	}
	return c.values
}

// The methods of jwt.Claims.

func (c *claims) GetExpirationTime() (*jwt.NumericDate, error) {
	return c.decoded().GetExpirationTime()
}
func (c *claims) GetIssuedAt() (*jwt.NumericDate, error)  { return c.decoded().GetIssuedAt() }
func (c *claims) GetNotBefore() (*jwt.NumericDate, error) { return c.decoded().GetNotBefore() }
func (c *claims) GetIssuer() (string, error)              { return c.decoded().GetIssuer() }
func (c *claims) GetSubject() (string, error)             { return c.decoded().GetSubject() }

// GetAudience returns aud or, if the token has no aud, the configured claim. Thus the configured
// claim cannot make a token acceptable whose aud is another audience.
func (c *claims) GetAudience() (jwt.ClaimStrings, error) {
	if _, present := c.decoded()["aud"]; present {
		return c.values.GetAudience()
	}
	return jwt.MapClaims{"aud": c.rules.audience.get(c.values)}.GetAudience()
}

// kinds are claims by which issuers distinguish kinds of tokens (RFC 8725 §3.12), with the values
// that an access token has. Refresh, ID and logout tokens are signed by the same keys, and must
// not be accepted in place of an access token.
var kinds = []struct {
	claim  string
	values []string
	exact  bool // whether the case of letters matters
}{
	{"type", []string{"access"}, true},
	{"token_type", []string{"access"}, true},
	{"token_use", []string{"access"}, true},                       // AWS Cognito
	{"typ", []string{"bearer", "access", "at+jwt", "jwt"}, false}, // Keycloak
}

// Validate checks the claims for which golang-jwt has no option. golang-jwt calls it last.
func (c *claims) Validate() error {
	values := c.decoded()
	if !bytes.HasPrefix(bytes.TrimLeft(c.raw, " \t\r\n"), []byte("{")) {
		return invalid("its claims are not a JSON object")
	}
	for _, k := range kinds {
		v, present := values[k.claim]
		s, _ := v.(string)
		if !k.exact {
			s = strings.ToLower(s)
		}
		if present && !slices.Contains(k.values, s) {
			return invalid("its " + k.claim + " is not that of an access token")
		}
	}
	if isEvent(values["events"]) {
		return invalid("it is a security event or logout token")
	}
	var err error
	if c.result.User, err = userID(c.rules.user.get(values)); err != nil {
		return invalid("it contains no user id")
	}
	if err := c.times(); err != nil {
		return err
	}
	jti, isString := values["jti"].(string)
	switch {
	case !isString && values["jti"] != nil:
		return invalid("its jti is not a string")
	case len(jti) > MaxID || strings.IndexByte(jti, 0) >= 0:
		return invalid("its jti is longer than 255 bytes or contains NUL")
	}
	c.result.ID = jti
	if c.result.Scope, err = c.rules.scopeOf(c.rules.scope.get(values)); err != nil {
		return invalid("its scopes are neither a string nor an array of strings")
	}
	if c.rules.admin.matches(values) {
		c.result.Scope |= bridge.ScopeAdmin
	}
	return nil
}

// isEvent reports whether v, the claim events of a token, is that of a security event token, such as
// a logout token. It is then an object whose names are URIs (RFC 8417 §2.2). The header of such a
// token may lack a typ.
func isEvent(v any) bool {
	events, _ := v.(map[string]any)
	for name := range events {
		if strings.Contains(name, ":") {
			return true
		}
	}
	return false
}

// userID parses a user id from a JSON string or number.
func userID(v any) (u bridge.UserID, err error) {
	switch v := v.(type) {
	case string:
		return bridge.ParseUserID(v)
	case json.Number:
		err = u.UnmarshalJSON([]byte(v))
		return u, err
	}
	return "", errors.New("neither a string nor a number")
}

// times reads exp and iat. In addition to the checks of golang-jwt, it requires that all times are
// in seconds and that exp is not too far away.
func (c *claims) times() error {
	exp, hasExp, err := seconds(c.values["exp"])
	_, _, err1 := seconds(c.values["nbf"])
	iat, hasIat, err2 := seconds(c.values["iat"])
	switch err = errors.Join(err, err1, err2); {
	case err != nil || !hasExp:
		return invalid("its exp is missing, or its exp, nbf or iat is not a time in seconds")
	case c.rules.maxLife > 0 && exp.After(c.rules.now().Add(c.rules.maxLife).Add(c.rules.leeway)):
		return invalid("its exp is further in the future than the longest token life allowed")
	case c.rules.maxLife > 0 && hasIat && exp.After(iat.Add(c.rules.maxLife).Add(c.rules.leeway)):
		// Otherwise a token whose exp is too far away now would be accepted later, near its
		// end, when its revocation may have been forgotten.
		return invalid("it was issued for longer than the longest token life allowed")
	}
	c.result.ExpiresAt = exp
	if hasIat {
		c.result.IssuedAt = iat
	}
	return nil
}

// maxDate is the last second of the year 9999. A larger value is in milliseconds by mistake.
const maxDate = 253402300799

// seconds parses seconds since 1970, with or without a fraction (RFC 7519 §2). golang-jwt would drop
// the fraction, but iat is compared with the time of a revocation, which is in milliseconds.
func seconds(v any) (t time.Time, present bool, err error) {
	if v == nil {
		return t, false, nil
	}
	n, _ := v.(json.Number)
	s, err := n.Float64()
	if err != nil || !(s >= 0 && s <= maxDate) {
		return t, false, errors.New("not a time in seconds")
	}
	sec, fraction := math.Modf(s)
	return time.Unix(int64(sec), int64(fraction*1e9)).UTC(), true, nil
}

// scopeOf parses the scope claim (RFC 8693 §4.2), which is a string of names separated by blanks
// or an array of names. Unknown names are ignored. In an array, a mapped name may contain blanks.
func (r *rules) scopeOf(v any) (s bridge.Scope, err error) {
	var names []string
	switch v := v.(type) {
	case nil:
	case string:
		names = []string{v}
	case []any:
		for _, one := range v {
			name, ok := one.(string)
			if !ok {
				return 0, errors.New("not a string")
			}
			names = append(names, name)
			s |= r.scopes.scope(name)
		}
	default:
		return 0, errors.New("neither a string nor an array")
	}
	for _, n := range names {
		for name := range strings.FieldsSeq(n) {
			s |= r.scopes.scope(name)
		}
	}
	return s, nil
}

// checkHeader checks a token's header and returns the kid, or "" if there is none. It ignores jku,
// x5u, jwk and x5c, because keys come only from the configuration (RFC 8725 §3.10).
func checkHeader(h map[string]any) (kid string, err error) {
	if _, present := h["crit"]; present {
		return "", invalid("its header requires extensions (crit) that are not supported")
	}
	kid, isString := h["kid"].(string)
	if !isString && h["kid"] != nil {
		return "", invalid("its kid is not a string")
	}
	typ, isString := h["typ"].(string)
	if !isString && h["typ"] != nil {
		return "", invalid("its typ is not a string")
	}
	// Logout tokens, DPoP proofs and the like are signed by the same issuers, but are not
	// access tokens (RFC 8725 §3.11, RFC 9068 §2.1).
	switch strings.TrimPrefix(strings.ToLower(typ), "application/") {
	case "", "jwt", "at+jwt":
		return kid, nil
	}
	return "", invalid("its typ is not that of an access token")
}
