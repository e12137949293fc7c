package edge

import "net/netip"

// ParseRemote parses an IP address with or without a port, as in
// [net/http.Request.RemoteAddr]. It returns the zero Addr for anything else, such as the
// address of a Unix socket.
func ParseRemote(remote string) netip.Addr {
	if p, err := netip.ParseAddrPort(remote); err == nil {
		return plain(p.Addr())
	}
	a, _ := netip.ParseAddr(remote)
	return plain(a)
}

// Host returns the address under which limits count addr. For an IPv4 address this is the address
// itself. For an IPv6 address it is the first address of its /64, because a provider's customer gets
// at least a /64 and may use any address in it.
func Host(addr netip.Addr) netip.Addr {
	addr = plain(addr)
	if addr.Is6() {
		if p, err := addr.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return addr
}

// plain returns the canonical form of a: IPv4 mapped into IPv6 becomes IPv4, and a zone is
// dropped.
func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }
