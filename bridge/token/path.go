package token

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/falconalert/falconbridge/bridge"
)

// claimPath is the name of a claim, or the path to a member of an object in a claim. The zero value
// refers to no claim.
type claimPath []string

// CheckClaim fails unless s is a claim path: names joined by dots, such as "realm_access.roles". A
// dot or a backslash inside a name is escaped by a backslash.
func CheckClaim(s string) error {
	_, err := parsePath(s)
	return err
}

func parsePath(s string) (claimPath, error) {
	var p claimPath
	var name strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			i++
			name.WriteByte(s[i])
		case s[i] == '.':
			p = append(p, name.String())
			name.Reset()
		default:
			name.WriteByte(s[i])
		}
	}
	p = append(p, name.String())
	for _, part := range p {
		if part == "" {
			return nil, fmt.Errorf("the claim path %q has an empty part", s)
		}
	}
	return p, nil
}

// get returns the value at p in claims, or nil if there is none or it is null.
func (p claimPath) get(claims map[string]any) any {
	if len(p) == 0 {
		return nil
	}
	var value any = claims
	for _, name := range p {
		fields, _ := value.(map[string]any)
		value = fields[name]
	}
	return value
}

// put stores v at p in claims, and creates the objects on the way.
func (p claimPath) put(claims map[string]any, v any) {
	last := len(p) - 1
	for _, name := range p[:last] {
		next, ok := claims[name].(map[string]any)
		if !ok {
			next = make(map[string]any)
			claims[name] = next
		}
		claims = next
	}
	claims[p[last]] = v
}

// adminWhen is a claim path and the value that grants scope admin. The zero value matches nothing.
type adminWhen struct {
	path  claimPath
	value string
}

// CheckAdminWhen fails unless s is a claim path and a value, such as "profile.role_id=1". A claim
// that is an array matches if it contains the value.
func CheckAdminWhen(s string) error {
	_, err := parseAdminWhen(s)
	return err
}

func parseAdminWhen(s string) (adminWhen, error) {
	if s == "" {
		return adminWhen{}, nil
	}
	path, value, ok := strings.Cut(s, "=")
	if !ok || path == "" || value == "" {
		return adminWhen{}, errors.New(`a claim path and a value are written like "profile.role_id=1"`)
	}
	p, err := parsePath(path)
	return adminWhen{p, value}, err
}

func (a adminWhen) matches(claims map[string]any) bool {
	v := a.path.get(claims)
	list, isList := v.([]any)
	if !isList {
		return a.equals(v)
	}
	for _, item := range list {
		if a.equals(item) {
			return true
		}
	}
	return false
}

// equals compares one value. A number or a boolean is compared by its JSON text, so that 1 equals
// neither 1.0 nor true.
func (a adminWhen) equals(v any) bool {
	switch v := v.(type) {
	case string:
		return v == a.value
	case json.Number:
		return v.String() == a.value
	case bool:
		return fmt.Sprint(v) == a.value
	}
	return false
}

// scopeMap maps values of the scope claim that are not scopes of this program to scopes.
type scopeMap map[string]bridge.Scope

// CheckScopeMap fails unless s is a list like
// "editor=notifications:write,editor=reports:write,boss=admin". In each entry, the text before
// the last equals sign is a name as the issuer writes it, which may contain blanks.
func CheckScopeMap(s string) error {
	_, err := parseScopeMap(s)
	return err
}

func parseScopeMap(s string) (scopeMap, error) {
	m := make(scopeMap)
	if s == "" {
		return m, nil
	}
	for entry := range strings.SplitSeq(s, ",") {
		equals := strings.LastIndexByte(entry, '=')
		name := strings.TrimSpace(entry[:max(equals, 0)])
		if name == "" {
			return nil, errors.New(`a role and its scope are written like "editor=notifications:write"`)
		}
		scope := bridge.ParseScope(strings.TrimSpace(entry[equals+1:]))
		if scope == 0 {
			return nil, fmt.Errorf("%q is no scope: there are %s", entry[equals+1:], strings.Join(bridge.AllScopes.Names(), ", "))
		}
		m[name] |= scope
	}
	return m, nil
}

// scope returns the scopes that a name in the scope claim grants.
func (m scopeMap) scope(name string) bridge.Scope { return bridge.ParseScope(name) | m[name] }
