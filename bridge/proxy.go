package bridge

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// Proxies are whose word about a client's address is believed: the PROXY protocol
// on MQTT, X-Forwarded-For on HTTP. The zero value believes nobody.
type Proxies []netip.Prefix

// ParseProxies reads addresses and prefixes such as 10.0.0.0/8, 192.0.2.7 and
// fd00::/8; empty ones are left out.
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

// Everybody tells whether any address of a family is trusted: then every client
// says of itself where it comes from.
func (p Proxies) Everybody() bool {
	for _, prefix := range p {
		if prefix.Bits() == 0 {
			return true
		}
	}
	return false
}

// Trusts tells whether a is one of the proxies.
func (p Proxies) Trusts(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	for _, prefix := range p {
		if prefix.Contains(a) {
			return true
		}
	}
	return false
}

// ErrForwarded is an X-Forwarded-For of a trusted proxy that cannot be read.
var ErrForwarded = errors.New("X-Forwarded-For holds something that is not an address")

// Client is the address of the client of an HTTP request that came from peer: peer
// itself unless it is a trusted proxy, else the last address in the lines of
// X-Forwarded-For that is none. What stands before that one the client may have
// written itself; it is not looked at. It fails with ErrForwarded.
func (p Proxies) Client(peer netip.Addr, forwarded []string) (netip.Addr, error) {
	at := peer.Unmap().WithZone("")
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

// parseHop reads an address, with a port where the proxy adds one.
func parseHop(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
	if err != nil {
		var ap netip.AddrPort
		if ap, err = netip.ParseAddrPort(s); err != nil {
			return netip.Addr{}, ErrForwarded
		}
		a = ap.Addr()
	}
	return a.Unmap().WithZone(""), nil
}
