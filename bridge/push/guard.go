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

// Endpoints come from clients, so a registration is a way to make the server call an
// address. Everything that goes out on their behalf goes through the client that
// [Hosts.client] returns: https only, no proxy, no redirects, a deadline, a bounded
// response, and a check of the address that is connected to.

const (
	callTimeout = 5 * time.Second // from the first look-up to the end of the response
	maxResponse = 4 << 10         // bytes read of a response's headers, and again of its body
	maxEndpoint = 2048            // bytes
)

// Hosts is the allow-list of --push-hosts: "host" or "host:port" in lower case. Empty
// allows every globally routable address. Otherwise it is all that is allowed, wherever
// its names lead: the operator chose them.
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
			return nil, errors.New("an entry is not host or host:port")
		}
		hosts = append(hosts, entry)
	}
	return hosts, nil
}

// allows reports whether u is on the list. An entry without a port stands for 443.
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

// CheckEndpoint reports why the server would never call endpoint. It looks no name up:
// where a name leads is checked whenever it is called, because it may lead elsewhere by
// then.
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

// special are the blocks within the ranges that global allows which are not globally
// reachable, or lead to an IPv4 address that the check would not see: IANA's registries
// of special-purpose addresses (RFC 6890), 6to4 (RFC 3056) and Teredo (RFC 4380, within
// 2001::/23).
var notGlobal = prefixes(
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
	"192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",
	"2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
)

// unicast is what IANA has assigned for global unicast in IPv6. It leaves out loopback,
// fc00::/7, link-local, multicast, mapped IPv4 and NAT64 (64:ff9b::/96, 64:ff9b:1::/48).
var globalUnicast6 = netip.MustParsePrefix("2000::/3")

func prefixes(list ...string) (out []netip.Prefix) {
	for _, p := range list {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

// global reports whether ip is a globally routable unicast address.
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

// errAddress is why a connection was not made.
var errAddress = fmt.Errorf("%w: it is not globally routable", late.ErrBlocked)

// control is called with the resolved address right before each connect, also for each
// of several addresses of a name: between this check and the connect nothing is looked
// up again.
func checkAddress(_ context.Context, _, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil || !globallyRoutable(ap.Addr()) {
		return errAddress
	}
	return nil
}

// client returns the client that calls endpoints. roots nil means the system's.
func (h Hosts) client(roots *x509.CertPool, resolver *net.Resolver) *http.Client {
	dialer := &net.Dialer{Timeout: callTimeout, ControlContext: checkAddress, Resolver: resolver}
	if len(h) > 0 {
		dialer.ControlContext = nil
	}
	return &http.Client{
		Timeout: callTimeout,
		// A 3xx is a response like any other. Following it would call an address that
		// nobody registered.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy:                  nil, // one from the environment would make the connection, and nothing would be checked
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
