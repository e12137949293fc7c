package config

import (
	"net/url"
	"strings"

	"github.com/falconalert/falconbridge/internal/pgconnect"
)

const masked = "********"

// maskText hides a secret, but still shows whether there is one.
func maskText(s string) string {
	if s == "" {
		return ""
	}
	return masked
}

// MaskURL hides the secrets in a URL: the password, a user name without a password, since that
// may be a token, and parameters whose names sound like a secret. If s is not a URL, all of it
// is hidden.
func MaskURL(s string) string {
	if s == "" || s == BusAuto || s == Off {
		return s
	}
	if pgconnect.IsURL(s) {
		return maskPostgres(s)
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" && u.Opaque == "" {
		return masked
	}
	if u.Opaque != "" {
		return u.Scheme + ":" + masked
	}
	mark := strings.Repeat("x", len(masked)) // unlike *, it is not percent-encoded
	if u.User != nil {
		if _, has := u.User.Password(); has {
			u.User = url.UserPassword(u.User.Username(), mark)
		} else {
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

// maskPostgres is MaskURL for a connection string of Postgres, which may have several hosts or
// none and then cannot be parsed by net/url.
func maskPostgres(s string) string {
	if _, err := pgconnect.Parse(s); err != nil {
		return masked
	}
	s, query, found := strings.Cut(s, "?")
	if at := strings.LastIndex(s, "@"); at > 0 {
		if user, _, has := strings.Cut(s[:at], "://"); has {
			name, _, password := strings.Cut(s[len(user)+3:at], ":")
			if password {
				name += ":" + masked
			}
			s = user + "://" + name + s[at:]
		}
	}
	if !found {
		return s
	}
	pairs := strings.Split(query, "&")
	for i, p := range pairs {
		name, _, _ := strings.Cut(p, "=")
		if plain, err := url.PathUnescape(name); err != nil || soundsSecret(plain) {
			pairs[i] = name + "=" + masked
		}
	}
	return s + "?" + strings.Join(pairs, "&")
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
