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

// MaxReplaces is the most characters of the key in [Draft.Replaces].
const MaxReplaces = 128

// reservedReplaces is the beginning of the keys that [ReplacesReport] returns.
const reservedReplaces = "report-"

// ReplacesReport returns the key with which the status notifications of a report supersede each
// other.
func ReplacesReport(report int64) string { return fmt.Sprintf("%s%d", reservedReplaces, report) }

// CheckReplaces checks a key that an application chose: 1 to MaxReplaces characters.
// Those that begin with "report-" belong to reports.
func CheckReplaces(s string) error {
	switch {
	case s == "" || utf8.RuneCountInString(s) > MaxReplaces:
		return fmt.Errorf("must have 1 to %d characters", MaxReplaces)
	case !utf8.ValidString(s):
		return errors.New("must be valid UTF-8")
	case strings.IndexByte(s, 0) >= 0:
		return errors.New("must not contain a NUL character")
	case strings.HasPrefix(s, reservedReplaces):
		return errors.New(`must not begin with "report-", which is reserved`)
	}
	return nil
}
