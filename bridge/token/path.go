package token

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/falconalert/falconbridge/bridge"
)

// claimPath names a claim, or a member of an object in a claim. The zero value
// names nothing.
type claimPath []string

// CheckClaim fails unless s is a claim path: names joined by dots, such as
// "realm_access.roles". A dot or backslash inside a name has a backslash in front.
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

// in returns the value at p, nil where there is none or it is null.
func (p claimPath) in(claims map[string]any) any {
	if len(p) == 0 {
		return nil
	}
	var at any = claims
	for _, name := range p {
		fields, _ := at.(map[string]any)
		at = fields[name]
	}
	return at
}

// put writes v at p, and makes the objects on the way.
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

// adminWhen is a claim path and the value that means scope admin. The zero value
// matches nothing.
type adminWhen struct {
	path  claimPath
	value string
}

// CheckAdminWhen fails unless s is a claim path and a value, such as
// "profile.role_id=1". A claim that is an array counts where it holds the value.
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
	v := a.path.in(claims)
	list, many := v.([]any)
	if !many {
		return a.equals(v)
	}
	for _, one := range list {
		if a.equals(one) {
			return true
		}
	}
	return false
}

// equals compares one value: a string by its characters, a number or a boolean
// by how it is written, so that 1 is neither 1.0 nor true.
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

// scopeMap gives scopes to names that are not this program's.
type scopeMap map[string]bridge.Scope

// CheckScopeMap fails unless s is a list like
// "editor=notifications:write,editor=reports:write,boss=admin". What stands before
// the last equals sign of an entry is a name as issuers write it, blanks included.
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
		at := strings.LastIndexByte(entry, '=')
		name := strings.TrimSpace(entry[:max(at, 0)])
		if name == "" {
			return nil, errors.New(`a role and its scope are written like "editor=notifications:write"`)
		}
		scope := bridge.ParseScope(strings.TrimSpace(entry[at+1:]))
		if scope == 0 {
			return nil, fmt.Errorf("%q is no scope: there are notifications:read, notifications:write, reports:write and admin", entry[at+1:])
		}
		m[name] |= scope
	}
	return m, nil
}

// scope returns what a name of the scope claim gives.
func (m scopeMap) scope(name string) bridge.Scope { return bridge.ParseScope(name) | m[name] }
