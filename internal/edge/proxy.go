package edge

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// Proxies lists the proxies that are trusted to report a client's address. For MQTT they use
// the PROXY protocol, for HTTP X-Forwarded-For. The zero value trusts none.
type Proxies []netip.Prefix

// ParseProxies parses a list of addresses and prefixes, such as 10.0.0.0/8, 192.0.2.7 and
// fd00::/8. It skips empty entries, and fails for the first other entry that is neither.
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

// TrustsAll reports whether every IPv4 or every IPv6 address is trusted. In that case any client
// can claim any address, and limits per address have no effect.
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

// Client returns the address of the client whose HTTP request came from peer. If peer is
// not a trusted proxy, this is peer itself. Otherwise it is the last address in the lines
// of X-Forwarded-For that is not a trusted proxy, or the first address if all are. Addresses
// before the returned one are ignored, because the client may have written them itself.
// Client fails with ErrForwarded if one of the addresses that it reads is malformed.
func (p Proxies) Client(peer netip.Addr, forwarded []string) (netip.Addr, error) {
	addr := plain(peer)
	if len(forwarded) == 0 || !p.Trusts(addr) {
		return addr, nil
	}
	rest := strings.Join(forwarded, ",")
	for more := true; more && p.Trusts(addr); {
		hop := rest
		if i := strings.LastIndexByte(rest, ','); i >= 0 {
			rest, hop = rest[:i], rest[i+1:]
		} else {
			more = false
		}
		var err error
		if addr, err = parseHop(strings.TrimSpace(hop)); err != nil {
			return netip.Addr{}, err
		}
	}
	return addr, nil
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
