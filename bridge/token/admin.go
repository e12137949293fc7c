package token

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// adminWhen is a claim path and the value that means scope admin. The zero value
// matches nothing.
type adminWhen struct {
	path  []string
	value string
}

// CheckAdminWhen tells whether s is a claim path and a value, e.g.
// "profile.role_id=1".
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
	a := adminWhen{value: value}
	var name strings.Builder
	for i := 0; i < len(path); i++ {
		switch {
		case path[i] == '\\' && i+1 < len(path):
			i++
			name.WriteByte(path[i])
		case path[i] == '.':
			a.path = append(a.path, name.String())
			name.Reset()
		default:
			name.WriteByte(path[i])
		}
	}
	a.path = append(a.path, name.String())
	for _, p := range a.path {
		if p == "" {
			return adminWhen{}, fmt.Errorf("the claim path %q has an empty part", path)
		}
	}
	return a, nil
}

func (a adminWhen) matches(payload []byte) bool {
	if len(a.path) == 0 {
		return false
	}
	at := json.RawMessage(payload)
	for _, name := range a.path {
		var fields map[string]json.RawMessage
		if json.Unmarshal(at, &fields) != nil {
			return false
		}
		next, there := fields[name]
		if !there {
			return false
		}
		at = next
	}
	var list []json.RawMessage
	if json.Unmarshal(at, &list) != nil {
		return a.equals(at)
	}
	for _, b := range list {
		if a.equals(b) {
			return true
		}
	}
	return false
}

// equals compares one value: a string by its characters, a number or a boolean
// by how it is written, so that 1 is neither 1.0 nor true.
func (a adminWhen) equals(b json.RawMessage) bool {
	if len(b) == 0 {
		return false
	}
	switch b[0] {
	case '"':
		return isString(b, a.value)
	case '{', '[', 'n':
		return false
	}
	return string(b) == a.value
}
