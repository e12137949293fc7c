package main

import (
	"net/url"
	"strings"
)

const masked = "********"

// maskText hides a secret, but shows whether there is one.
func maskText(s string) string {
	if s == "" {
		return ""
	}
	return masked
}

// maskURL hides what a URL holds of secrets: the password, a lone user name, which
// may be a token, and parameters that sound like one. What is no URL is hidden
// whole.
func maskURL(s string) string {
	if s == "" || s == busAuto {
		return s
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" && u.Opaque == "" {
		return masked
	}
	if u.Opaque != "" {
		return u.Scheme + ":" + masked
	}
	mark := strings.Repeat("x", len(masked)) // survives the encoding, unlike *
	if u.User != nil {
		if _, has := u.User.Password(); has {
			u.User = url.UserPassword(u.User.Username(), mark)
		} else if !strings.HasPrefix(u.Scheme, "postgres") {
			u.User = url.User(mark)
		}
	}
	q := u.Query()
	for name := range q {
		if soundsSecret(name) {
			q.Set(name, mark)
		}
	}
	u.RawQuery, u.Fragment = q.Encode(), ""
	return strings.ReplaceAll(u.String(), mark, masked)
}

func soundsSecret(name string) bool {
	name = strings.ToLower(name)
	for _, s := range []string{"pass", "secret", "token", "key", "auth", "cred", "sig"} {
		if strings.Contains(name, s) {
			return true
		}
	}
	return false
}
