package bridge

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
)

// UserID names a user of the application that owns the users: 1 to 128
// characters of A-Z a-z 0-9 . _ : @ | - so that it is always exactly one level
// of an MQTT topic (never / + # $, blank or control). The ids "." and ".." are
// refused: URL clients remove such path segments before they send a request
// (RFC 3986 §5.2.4), so that DELETE /admin/users/./connections would erase the
// user "connections".
type UserID string

const maxUserID = 128

// maxSafeInteger is the largest integer that every JSON parser represents exactly, 2^53-1
// (RFC 8259 §6).
const maxSafeInteger = 1<<53 - 1

// ParseUserID checks s against the rules of [UserID].
func ParseUserID(s string) (UserID, error) {
	if s == "" || len(s) > maxUserID {
		return "", fmt.Errorf("a user id must have 1 to %d characters", maxUserID)
	}
	for i := range len(s) {
		if !userIDByte(s[i]) {
			return "", fmt.Errorf("a user id may only contain A-Z a-z 0-9 . _ : @ | -")
		}
	}
	if s == "." || s == ".." {
		return "", fmt.Errorf("a user id must not be . or ..") //nolint:staticcheck // it ends in the id, not in punctuation
	}
	return UserID(s), nil
}

func userIDByte(c byte) bool {
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		return true
	}
	return c == '.' || c == '_' || c == ':' || c == '@' || c == '|' || c == '-'
}

// numeric reports whether u is written as a JSON number: a decimal without
// leading zeros up to 2^53-1.
func (u UserID) numeric() bool {
	if u == "" || len(u) > 16 || (u[0] == '0' && len(u) > 1) {
		return false
	}
	for i := range len(u) {
		if u[i] < '0' || u[i] > '9' {
			return false
		}
	}
	n, err := strconv.ParseInt(string(u), 10, 64)
	return err == nil && n <= maxSafeInteger
}

func (u UserID) appendJSON(b []byte) []byte {
	if u.numeric() {
		return append(b, u...)
	}
	b = append(b, '"')
	b = append(b, u...) // the allowed characters need no escape
	return append(b, '"')
}

// MarshalJSON writes u as a number if it is one, see numeric, and otherwise as a string.
func (u UserID) MarshalJSON() ([]byte, error) { return u.appendJSON(nil), nil }

// UnmarshalJSON reads both forms, a JSON string or an integer.
func (u *UserID) UnmarshalJSON(b []byte) error {
	b = bytes.TrimSpace(b)
	s := string(b)
	if len(b) > 0 && b[0] == '"' {
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
	} else if !UserID(s).numeric() {
		return fmt.Errorf("a user id must be a string or an integer from 0 to 2^53-1")
	}
	id, err := ParseUserID(s)
	if err != nil {
		return err
	}
	*u = id
	return nil
}
