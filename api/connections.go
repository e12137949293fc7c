package api

import (
	"cmp"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"sync"

	"github.com/falconalert/falconbridge/internal/edge"
)

// ConnectionLimits limits the sockets of an HTTP server, each of which takes a file descriptor
// for as long as [Timeouts] allows it to be silent. A socket beyond a limit is closed at
// once. A WebSocket is not counted here, because the broker has limits of its own.
type ConnectionLimits struct {
	Max        int                // in all; 0 means 16384
	PerAddress int                // from one address (of IPv6: one /64); 0 means 4096
	Trusted    edge.Proxies       // limited by Max only: they connect for many clients
	Limited    func(limit string) // called with LimitHTTPConnections for each refusal; may be nil
}

// Apply applies the limits to s, which must not serve yet.
func (c ConnectionLimits) Apply(s *http.Server) {
	c.Max = cmp.Or(c.Max, 16384)
	c.PerAddress = cmp.Or(c.PerAddress, 4096)
	t := &connCounter{c: c, hosts: make(map[netip.Addr]int)}
	s.ConnState = t.changed
}

// connCounter counts the open sockets, in all and per address.
type connCounter struct {
	c     ConnectionLimits
	mu    sync.Mutex
	n     int
	hosts map[netip.Addr]int
}

// changed is the server's ConnState hook. net/http calls it once for each new connection,
// and once for its end.
func (t *connCounter) changed(nc net.Conn, state http.ConnState) {
	host := edge.ParseRemote(nc.RemoteAddr().String())
	limitedPerAddress := !t.c.Trusted.Trusts(host)
	host = edge.Host(host)
	t.mu.Lock()
	defer t.mu.Unlock()
	switch state {
	case http.StateNew:
		t.n++
		t.hosts[host]++
		if t.n > t.c.Max || limitedPerAddress && t.hosts[host] > t.c.PerAddress {
			if secure, ok := nc.(*tls.Conn); ok {
				nc = secure.NetConn() // without TLS's close_notify, which could block
			}
			if t.c.Limited != nil {
				t.c.Limited(LimitHTTPConnections)
			}
			_ = nc.Close() // net/http notices, and calls changed with StateClosed
		}
	case http.StateClosed, http.StateHijacked:
		t.n--
		if t.hosts[host]--; t.hosts[host] <= 0 {
			delete(t.hosts, host)
		}
	}
}
