package edge

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// Proxies lists the proxies that are trusted to report a client's address: by the PROXY
// protocol on MQTT, by X-Forwarded-For on HTTP. The zero value trusts none.
type Proxies []netip.Prefix

// ParseProxies parses addresses and prefixes such as 10.0.0.0/8, 192.0.2.7 and fd00::/8. Empty
// entries are skipped, and the first entry that is neither is an error.
func ParseProxies(list []string) (Proxies, error) {
	var p Proxies
	for _, s := range list {
		s = strings.TrimSpace(s)
		if s == "" {
			continue
		}
		prefix, err := netip.ParsePrefix(s)
		if addr, e := netip.ParseAddr(s); e == nil && addr.Zone() == "" {
			prefix, err = addr.Prefix(addr.BitLen())
		}
		if err != nil || prefix.Addr().Is4In6() {
			return nil, fmt.Errorf("%q is not an address or prefix", s)
		}
		p = append(p, prefix.Masked())
	}
	return p, nil
}

// TrustsAll reports whether every IPv4 or every IPv6 address is trusted. Then each client can
// claim any address, and limits per address have no effect.
func (p Proxies) TrustsAll() bool {
	for _, prefix := range p {
		if prefix.Bits() == 0 {
			return true
		}
	}
	return false
}

// Trusts reports whether a is one of the proxies.
func (p Proxies) Trusts(a netip.Addr) bool {
	a = plain(a)
	for _, prefix := range p {
		if prefix.Contains(a) {
			return true
		}
	}
	return false
}

// ErrForwarded reports that the X-Forwarded-For of a trusted proxy is malformed.
var ErrForwarded = errors.New("X-Forwarded-For contains a value that is not an address")

// Client returns the address of the client whose HTTP request came from peer. That is
// peer itself, unless peer is a trusted proxy: then it is the last address in the lines
// of X-Forwarded-For that is not a trusted proxy. Addresses before that one are ignored,
// because the client may have written them itself. It fails with ErrForwarded.
func (p Proxies) Client(peer netip.Addr, forwarded []string) (netip.Addr, error) {
	at := plain(peer)
	if len(forwarded) == 0 || !p.Trusts(at) {
		return at, nil
	}
	rest := strings.Join(forwarded, ",")
	for more := true; more && p.Trusts(at); {
		hop := rest
		if i := strings.LastIndexByte(rest, ','); i >= 0 {
			rest, hop = rest[:i], rest[i+1:]
		} else {
			more = false
		}
		var err error
		if at, err = parseHop(strings.TrimSpace(hop)); err != nil {
			return netip.Addr{}, err
		}
	}
	return at, nil
}

// parseHop parses one address of X-Forwarded-For, to which some proxies add a port.
func parseHop(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
	if err != nil {
		var ap netip.AddrPort
		if ap, err = netip.ParseAddrPort(s); err != nil {
			return netip.Addr{}, ErrForwarded
		}
		a = ap.Addr()
	}
	return plain(a), nil
}
