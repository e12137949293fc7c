package edge

import (
	"fmt"
	"net/netip"
	"net/url"
	"strings"
)

// Origins are the browser origins that may call REST (CORS) and open a WebSocket. The zero value
// allows only the server's own origin.
type Origins struct {
	any     bool
	allowed []origin
}

// origin is a browser origin (RFC 6454) in the form in which browsers send it, which is in lower case
// and without the scheme's default port.
type origin struct{ scheme, host, port string }

// defaultPorts are the ports that browsers leave out of an Origin header.
var defaultPorts = map[string]string{"http": "80", "https": "443", "ws": "80", "wss": "443"}

// ParseOrigins parses a list of origins such as "https://app.example" or, for an app in a web
// view, "capacitor://localhost". "https://*.app.example" allows every subdomain of app.example,
// and "*" every origin. It fails for an entry that can never match because no browser sends it.
// International names must therefore be in their ASCII form.
func ParseOrigins(list []string) (Origins, error) {
	var o Origins
	for _, s := range list {
		s = strings.TrimSpace(s)
		switch s {
		case "":
			continue
		case "*":
			o.any = true
			continue
		}
		entry, ok := parseOrigin(s)
		if !ok {
			return Origins{}, fmt.Errorf("%q is not an origin: write scheme://host[:port], without a path", s)
		}
		if parent, wild := strings.CutPrefix(entry.host, "*."); strings.Contains(parent, "*") || wild && parent == "" {
			return Origins{}, fmt.Errorf("%q can match no origin: a wildcard is the whole first label, as in https://*.app.example", s)
		}
		o.allowed = append(o.allowed, entry)
	}
	return o, nil
}

// parseOrigin parses an origin. ok is false if s is not one.
func parseOrigin(s string) (o origin, ok bool) {
	s = strings.ToLower(s)
	u, err := url.Parse(s)
	// Only file:// has no host. The last comparison refuses a path, a query and user info.
	if err != nil || u.Scheme == "" || (u.Host == "" && u.Scheme != "file") || u.Scheme+"://"+u.Host != s {
		return origin{}, false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return origin{}, false
		}
	}
	return newOrigin(u), true
}

func newOrigin(u *url.URL) origin {
	o := origin{u.Scheme, u.Hostname(), u.Port()}
	if o.port == defaultPorts[o.scheme] {
		o.port = ""
	}
	if ip, err := netip.ParseAddr(o.host); err == nil {
		o.host = ip.String() // IPv6 has many forms; browsers send the shortest
	}
	return o
}

// Any reports whether every origin is allowed.
func (o Origins) Any() bool { return o.any }

// Allows reports whether a request to host with this Origin header may proceed. A request without
// the header may, because it was not sent by a page in a browser, and its token decides what it may
// do.
func (o Origins) Allows(header, host string) bool {
	if header == "" || o.any {
		return true
	}
	caller, ok := parseOrigin(header)
	if !ok {
		return false // such as "null", which sandboxed pages send
	}
	if caller.scheme == "http" || caller.scheme == "https" {
		if own, ok := parseOrigin(caller.scheme + "://" + host); ok && caller == own {
			return true
		}
	}
	for _, entry := range o.allowed {
		if entry.matches(caller) {
			return true
		}
	}
	return false
}

// matches reports whether the allowed origin o allows caller, either because they are equal or
// because o has a wildcard and caller is a subdomain.
func (o origin) matches(caller origin) bool {
	parent, wild := strings.CutPrefix(o.host, "*")
	if !wild {
		return o == caller
	}
	return o.scheme == caller.scheme && o.port == caller.port &&
		len(caller.host) > len(parent) && strings.HasSuffix(caller.host, parent)
}
