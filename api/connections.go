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

// Connections bounds the sockets of an HTTP server: each costs a file descriptor
// for as long as [Timeouts] lets it be silent. One that became a WebSocket is no
// longer counted here. What is past a bound is closed at once.
type Connections struct {
	Max        int                // in all; 0 means 16384
	PerAddress int                // from one address (of IPv6: one /64); 0 means 4096
	Trusted    edge.Proxies       // are held to Max only: they stand for many
	Limited    func(limit string) // is told LimitHTTPConnections; nil: nobody
}

// Bound makes s hold to c, before s serves.
func (c Connections) Bound(s *http.Server) {
	c.Max = cmp.Or(c.Max, 16384)
	c.PerAddress = cmp.Or(c.PerAddress, 4096)
	t := &turnstile{c: c, hosts: make(map[netip.Addr]int)}
	s.ConnState = t.turn
}

// turnstile counts who is inside.
type turnstile struct {
	c     Connections
	mu    sync.Mutex
	n     int
	hosts map[netip.Addr]int
}

// turn hears of every change of a connection: net/http tells of a new one once, and
// once of its end.
func (t *turnstile) turn(nc net.Conn, state http.ConnState) {
	host := edge.ParseRemote(nc.RemoteAddr().String())
	counted := !t.c.Trusted.Trusts(host)
	host = edge.Host(host)
	t.mu.Lock()
	defer t.mu.Unlock()
	switch state {
	case http.StateNew:
		t.n++
		t.hosts[host]++
		if t.n > t.c.Max || counted && t.hosts[host] > t.c.PerAddress {
			if secure, ok := nc.(*tls.Conn); ok {
				nc = secure.NetConn() // without a farewell, which could block
			}
			if t.c.Limited != nil {
				t.c.Limited(LimitHTTPConnections)
			}
			_ = nc.Close() // net/http sees it, and tells of the end
		}
	case http.StateClosed, http.StateHijacked:
		t.n--
		if t.hosts[host]--; t.hosts[host] <= 0 {
			delete(t.hosts, host)
		}
	}
}
