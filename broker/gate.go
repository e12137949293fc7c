package broker

import (
	"net/netip"
	"sync"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/edge"
)

// gate bounds what strangers and users may hold: sockets before login, CONNECTs a
// second and address, connections in all and per user.
type gate struct {
	o *Options

	mu             sync.Mutex
	closed         bool               // nobody is let in any more
	pending        lobby              // before login, or refused and not closed yet
	parting        map[*conn]struct{} // logged out and not closed yet
	handshakes     *edge.Rates[netip.Addr]
	upgrades       *edge.Rates[netip.Addr]
	connects       *edge.Rates[netip.Addr]
	connectsOfUser *edge.Rates[bridge.UserID]
	users          map[bridge.UserID][]*conn
	hosts          map[netip.Addr]int // connections, where MaxConnectionsPerIP bounds them
	nConns         int
}

func (g *gate) init(o *Options) {
	g.o = o
	g.pending.init()
	g.parting = make(map[*conn]struct{})
	g.handshakes = edge.NewRates[netip.Addr](arrivals * o.ConnectRatePerIP)
	g.upgrades = edge.NewRates[netip.Addr](arrivals * o.ConnectRatePerIP)
	g.connects = edge.NewRates[netip.Addr](o.ConnectRatePerIP)
	g.connectsOfUser = edge.NewRates[bridge.UserID](o.ConnectRatePerUser)
	g.users = make(map[bridge.UserID][]*conn)
	g.hosts = make(map[netip.Addr]int)
}

// address returns the address that limits count remote under, a host with or without a
// port; see [edge.Host].
func address(remote string) netip.Addr { return edge.Host(edge.ParseRemote(remote)) }

// enter takes a place before login. Where all are taken, the newcomer gets that of
// out, which the caller closes: the oldest socket of the address that holds most.
// So who fills the table from a few addresses drives out their own, and a device
// from elsewhere still finds a place.
func (g *gate) enter(c *conn) (out *conn, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed || !c.behind && g.crowdedLocked(c.from) { // whose place it will be, its proxy has yet to say
		return nil, false
	}
	if g.pending.len() >= g.o.MaxPending {
		out = g.pending.oldest()
		g.pending.remove(out)
	}
	g.pending.add(c)
	return out, true
}

// introduce counts c, which is pending and was behind a proxy, for an address.
func (g *gate) introduce(c *conn, from netip.Addr) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.pending.count(origin{from: from}) >= g.o.MaxPendingPerIP {
		return false
	}
	in := g.pending.has(c)
	g.pending.remove(c)
	c.behind, c.from = false, from
	if in {
		g.pending.add(c)
	}
	return true
}

// crowded tells whether enter would fail for that address.
func (g *gate) crowded(a netip.Addr) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.closed || g.crowdedLocked(a)
}

func (g *gate) crowdedLocked(a netip.Addr) bool {
	return g.pending.count(origin{from: a}) >= g.o.MaxPendingPerIP
}

// part tells whether c, which is logged out, may wait for its peer to close; too
// many at once may not.
func (g *gate) part(c *conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.pending.has(c) {
		return true // its place before login bounds it
	}
	if len(g.parting) >= g.o.MaxPending {
		return false
	}
	g.parting[c] = struct{}{}
	return true
}

// gone forgets a connection that is closed.
func (g *gate) gone(c *conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.pending.remove(c)
	delete(g.parting, c)
}

// shut lets nobody in any more, and returns who is in: logged in, and not.
func (g *gate) shut() (connected, others []*conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	connected = make([]*conn, 0, g.nConns)
	for _, cs := range g.users {
		connected = append(connected, cs...)
	}
	for c := range g.pending.seats {
		others = append(others, c)
	}
	for c := range g.parting {
		others = append(others, c)
	}
	return connected, others
}

// arrivals is how many TLS handshakes, and how many WebSocket upgrades, an address may
// begin for each CONNECT of [Options.ConnectRatePerIP]. It is more than one, so that a
// device past the rate of CONNECTs is still told so.
const arrivals = 4

// rateHandshake reports whether the address may begin a TLS handshake now.
func (g *gate) rateHandshake(a netip.Addr) bool {
	return g.handshakes.Allow(a)
}

// rateUpgrade reports whether the address may ask for a WebSocket now.
func (g *gate) rateUpgrade(a netip.Addr) bool {
	return g.upgrades.Allow(a)
}

// rate tells whether the address may CONNECT now.
func (g *gate) rate(a netip.Addr) bool {
	return g.connects.Allow(a)
}

// rateUser tells whether the user may CONNECT now.
func (g *gate) rateUser(u bridge.UserID) bool {
	return g.connectsOfUser.Allow(u)
}

// full tells why no connection of anybody is taken now. It is asked before the
// token is verified, so that a full node spends nothing on it.
func (g *gate) full() refusal {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.fullLocked()
}

func (g *gate) fullLocked() refusal {
	switch {
	case g.closed:
		return refusal{codeUnavailable, "the server shuts down"}
	case g.nConns >= g.o.MaxConnections:
		return tooManyConnections
	}
	return refusal{}
}

// admit counts c as one of its user's connections, which gives its place before
// login back. One that takes over another
// of the same client id needs no place of its own: the older one is ending.
func (g *gate) admit(c *conn) refusal {
	g.mu.Lock()
	defer g.mu.Unlock()
	if r := g.fullLocked(); r != (refusal{}) {
		return r
	}
	all := g.users[c.device.User]
	others, here := 0, g.hosts[c.from]
	for _, o := range all {
		switch {
		case o.device.ClientID != c.device.ClientID:
			others++
		case o.from == c.from:
			here--
		}
	}
	// Takeovers of one id pile up only while the older ones linger.
	if others >= g.o.MaxConnectionsPerUser || len(all) >= 4*g.o.MaxConnectionsPerUser {
		return tooManyOfUser
	}
	if g.o.MaxConnectionsPerIP > 0 {
		if here >= g.o.MaxConnectionsPerIP {
			return tooManyFromAddress
		}
		g.hosts[c.from]++
	}
	g.pending.remove(c)
	g.users[c.device.User] = append(all, c)
	g.nConns++
	return refusal{}
}

// dismiss forgets c.
func (g *gate) dismiss(c *conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := g.users[c.device.User]
	for i, o := range all {
		if o != c {
			continue
		}
		last := len(all) - 1
		all[i], all[last] = all[last], nil
		if g.hosts[c.from]--; g.hosts[c.from] <= 0 {
			delete(g.hosts, c.from)
		}
		if g.nConns--; last == 0 {
			delete(g.users, c.device.User)
		} else {
			g.users[c.device.User] = all[:last]
		}
		return
	}
}

func (g *gate) counts() (connections, pending int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return int64(g.nConns), int64(g.pending.len())
}
