package push

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"

	"crypto/tls"
	"crypto/x509"

	"github.com/falconalert/falconbridge/bridge/late"
)

// Endpoints come from clients, so a registration could make the server send requests to an
// address of the client's choice (server-side request forgery). Therefore all such requests
// are sent with the HTTP client of [Hosts.client]: https only, no proxy, no redirects, a
// deadline, a limited response, and a check of the address that it connects to.

const (
	callTimeout = 5 * time.Second // from the DNS look-up to the end of the response
	maxResponse = 4 << 10         // bytes of a response's headers, and of its body
	maxEndpoint = 2048            // bytes
)

// Hosts are the allowed hosts of --push-hosts: "host" or "host:port" in lower case. If empty,
// every globally routable address is allowed. Otherwise only these hosts are allowed, and
// their names may resolve to any address, because the operator chose them.
type Hosts []string

// ParseHosts reads a comma-separated list of host[:port].
func ParseHosts(list string) (Hosts, error) {
	var hosts Hosts
	for entry := range strings.SplitSeq(list, ",") {
		entry = strings.ToLower(strings.TrimSpace(entry))
		if entry == "" {
			continue
		}
		u, err := url.Parse("https://" + entry)
		if err != nil || u.Host != entry || u.Hostname() == "" {
			return nil, errors.New("an entry must be host or host:port")
		}
		hosts = append(hosts, entry)
	}
	return hosts, nil
}

// allows reports whether the host of u is on the list. An entry without a port means 443.
func (h Hosts) allows(u *url.URL) bool {
	host := strings.ToLower(u.Hostname())
	port := u.Port()
	if port == "" {
		port = "443"
	}
	for _, entry := range h {
		e := url.URL{Host: entry}
		p := e.Port()
		if p == "" {
			p = "443"
		}
		if e.Hostname() == host && p == port {
			return true
		}
	}
	return false
}

// CheckEndpoint returns an error that says why the server would not send to endpoint, or nil. It
// does not resolve names. The address is checked for each connection, because by then the name
// may resolve to another one.
func (h Hosts) CheckEndpoint(endpoint string) error {
	u, err := url.Parse(endpoint)
	switch {
	case len(endpoint) > maxEndpoint:
		return fmt.Errorf("must have at most %d bytes", maxEndpoint)
	case err != nil || u.Scheme != "https" || u.Hostname() == "":
		return errors.New("must be a URL that starts with https://")
	case u.User != nil || u.Fragment != "" || strings.ContainsAny(endpoint, "#\\"):
		return errors.New("must not contain a user name, a fragment or a backslash")
	case len(h) > 0 && !h.allows(u):
		return errors.New("must be on a host that --push-hosts lists")
	case len(h) > 0:
		return nil
	}
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil && !globallyRoutable(ip) {
		return errors.New("must be a globally routable address")
	}
	return nil
}

// notGlobal are address blocks that globallyRoutable would otherwise accept although they are
// not globally reachable, or although they embed an IPv4 address, which it would not check.
// They are from IANA's registries of special-purpose addresses (RFC 6890), 6to4 (RFC 3056) and
// Teredo (RFC 4380, within 2001::/23).
var notGlobal = prefixes(
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
	"192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",
	"2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
)

// globalUnicast6 is the block that IANA has assigned for global unicast in IPv6. It does not
// include loopback, fc00::/7, link-local, multicast, mapped IPv4 and NAT64 (64:ff9b::/96,
// 64:ff9b:1::/48).
var globalUnicast6 = netip.MustParsePrefix("2000::/3")

func prefixes(list ...string) (out []netip.Prefix) {
	for _, p := range list {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

// globallyRoutable reports whether ip is a globally routable unicast address.
func globallyRoutable(ip netip.Addr) bool {
	if !ip.IsValid() || ip.Zone() != "" || ip.Is6() && !globalUnicast6.Contains(ip) {
		return false
	}
	for _, p := range notGlobal {
		if p.Contains(ip) {
			return false
		}
	}
	return true
}

// errAddress reports that checkAddress refused a connection.
var errAddress = fmt.Errorf("%w: it is not globally routable", late.ErrBlocked)

// checkAddress is called with the resolved address immediately before each connect, for every
// address of a name that is tried. Nothing is resolved again between this check and the
// connect, so DNS rebinding has no effect.
func checkAddress(_ context.Context, _, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil || !globallyRoutable(ap.Addr()) {
		return errAddress
	}
	return nil
}

// client returns the HTTP client for endpoints. If roots or resolver is nil, the system's is
// used.
func (h Hosts) client(roots *x509.CertPool, resolver *net.Resolver) *http.Client {
	dialer := &net.Dialer{Timeout: callTimeout, ControlContext: checkAddress, Resolver: resolver}
	if len(h) > 0 {
		dialer.ControlContext = nil
	}
	return &http.Client{
		Timeout: callTimeout,
		// A redirect is a response like any other. Following it would send the request to an
		// address that was not checked at registration.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy:                  nil, // a proxy of the environment would connect itself, without the check
			DialContext:            dialer.DialContext,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
			ForceAttemptHTTP2:      true,
			MaxResponseHeaderBytes: maxResponse,
			DisableCompression:     true,
			MaxIdleConnsPerHost:    4,
			MaxIdleConns:           64,
			IdleConnTimeout:        time.Minute,
			TLSHandshakeTimeout:    callTimeout,
		},
	}
}
