package bridge

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxURL is the most characters of a notification's URL.
const MaxURL = 2048

// checkURL refuses a URL that, when a page or app opens it, would run as a script or lead to
// another host than it appears to. Only http, https and absolute paths on the page's own
// origin are allowed. Browsers read a backslash as a slash and ignore tabs and line breaks, so
// \\evil.example, /\evil.example and /<tab>/evil.example would lead to another host (WHATWG
// URL, 4.4). A user name before the host only serves to deceive. "" is no URL and allowed.
//
// falcon_notify checks the same in SQL; package drafttest has the cases for both.
func checkURL(s string) error {
	if s == "" {
		return nil
	}
	host, web := strings.CutPrefix(s, "https://")
	if !web {
		host, web = strings.CutPrefix(s, "http://")
	}
	switch {
	case !utf8.ValidString(s):
		return errors.New("must be valid UTF-8")
	case utf8.RuneCountInString(s) > MaxURL:
		return fmt.Errorf("must have at most %d characters", MaxURL)
	case strings.ContainsFunc(s, unicode.IsControl) || strings.Contains(s, `\`):
		return errors.New("must not contain a backslash or a control character")
	case !web && (s[0] != '/' || strings.HasPrefix(s, "//")):
		return errors.New("must be https://…, http://… or a path that starts with a single /")
	case !web:
		return nil
	}
	if end := strings.IndexAny(host, "/?#"); end >= 0 {
		host = host[:end]
	}
	switch {
	case host == "" || strings.Contains(host, " "):
		return errors.New("must have a host")
	case strings.Contains(host, "@"):
		return errors.New("must not contain a user name")
	}
	return nil
}
