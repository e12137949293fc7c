package bridge

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// Origins is the one list of browser origins, for REST (CORS) and for the
// WebSocket upgrade alike. The zero value allows the same origin only.
type Origins struct{ allowed []string }

// ParseOrigins checks a list of origins such as "https://app.example"; "*"
// allows every one.
func ParseOrigins(list []string) (Origins, error) {
	var o Origins
	for _, s := range list {
		s = strings.TrimSpace(s)
		if s == "" {
			continue
		}
		u, err := url.Parse(s)
		if s != "*" && (err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") ||
			u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil) {
			return Origins{}, fmt.Errorf("%q is not an origin: write scheme://host[:port], without a path", s)
		}
		o.allowed = append(o.allowed, strings.ToLower(s))
	}
	return o, nil
}

// Any tells whether every origin is allowed.
func (o Origins) Any() bool { return slices.Contains(o.allowed, "*") }

// Allows tells whether a request with this Origin header, sent to host, may
// pass. No Origin means no browser: it passes, its token decides.
func (o Origins) Allows(origin, host string) bool {
	if origin == "" || o.Any() {
		return true
	}
	origin = strings.ToLower(origin)
	if u, err := url.Parse(origin); err == nil && u.Host == strings.ToLower(host) &&
		(u.Scheme == "http" || u.Scheme == "https") {
		return true
	}
	return slices.Contains(o.allowed, origin)
}
