package edge

import "net/netip"

// ParseRemote returns the IP address of remote, which is an address with or without a
// port, as in [net/http.Request.RemoteAddr]. It is the zero Addr where remote is no IP
// address, such as that of a Unix socket.
func ParseRemote(remote string) netip.Addr {
	if p, err := netip.ParseAddrPort(remote); err == nil {
		return plain(p.Addr())
	}
	a, _ := netip.ParseAddr(remote)
	return plain(a)
}

// Host returns the address that limits count addr under. An IPv6 address stands for its
// /64: that is the smallest block one customer is given, and a client may pick any
// address in it. An IPv4 address stands for itself.
func Host(addr netip.Addr) netip.Addr {
	addr = plain(addr)
	if addr.Is6() {
		if p, err := addr.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return addr
}

// plain returns the one spelling of a: IPv4 in IPv6 as IPv4, and no zone.
func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }
