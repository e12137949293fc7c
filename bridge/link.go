package bridge

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxURL is how many characters the URL of a notification has at most.
const MaxURL = 2048

// checkURL refuses a URL that would lead somewhere else than it seems to, or run as a
// script, when a page or an app opens it: only http, https and paths of the page's own
// origin are links. Browsers read a backslash as a slash and drop tabs and line breaks,
// so that \evil.example, /\evil.example and /<tab>/evil.example would be other hosts
// (WHATWG URL, 4.4). A user name in front of the host is there to deceive. "" is no URL.
//
// falcon_notify checks the same in SQL; drafttest has the cases of both.
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

// MaxReplaces is how many characters the key of a superseding notification has at most.
const MaxReplaces = 128

// reservedReplaces begins the keys of reports' status changes, see [ReplacesReport].
const reservedReplaces = "report-"

// ReplacesReport is the key under which a report's status notifications replace each
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
