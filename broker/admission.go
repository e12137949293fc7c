package broker

import (
	"net/netip"
	"sync"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/edge"
)

// admission enforces the limits on connections: sockets before login, handshakes and
// CONNECTs a second, and logged-in connections, in all, per user and per address.
//
// A connection is pending from accept until admit counts it as logged in, which ends
// with release. After its last packet it may linger until its peer closes, see
// [conn.linger]; remove forgets it once its socket is closed.
type admission struct {
	o *Options

	handshakes     *edge.Rates[netip.Addr]
	upgrades       *edge.Rates[netip.Addr]
	connects       *edge.Rates[netip.Addr]
	connectsOfUser *edge.Rates[bridge.UserID]

	mu          sync.Mutex
	closed      bool               // the broker drains: no more connections are accepted
	pending     pendingConns       // before login, or refused and not closed yet
	lingering   map[*conn]struct{} // logged out and not closed yet
	users       map[bridge.UserID][]*conn
	addresses   map[netip.Addr]int // connections of each, where MaxConnectionsPerIP limits them
	connections int
}

func (a *admission) init(o *Options) {
	a.o = o
	a.pending.init()
	a.lingering = make(map[*conn]struct{})
	a.handshakes = edge.NewRates[netip.Addr](handshakesPerConnect * o.ConnectRatePerIP)
	a.upgrades = edge.NewRates[netip.Addr](handshakesPerConnect * o.ConnectRatePerIP)
	a.connects = edge.NewRates[netip.Addr](o.ConnectRatePerIP)
	a.connectsOfUser = edge.NewRates[bridge.UserID](o.ConnectRatePerUser)
	a.users = make(map[bridge.UserID][]*conn)
	a.addresses = make(map[netip.Addr]int)
}

// arrivals is how many TLS handshakes, and how many WebSocket upgrades, an address may
// begin for each CONNECT of [Options.ConnectRatePerIP]. It is more than one, so that a
// device past the rate of CONNECTs still gets as far as a CONNACK that says so.
const handshakesPerConnect = 4

// address returns the address that limits count remote under, a host with or without a
// port; see [edge.Host].
func address(remote string) netip.Addr { return edge.Host(edge.ParseRemote(remote)) }

// addPending adds c, which was just accepted. It returns false where the broker drains
// or the address of c has too many pending connections.
//
// When the table is full, c takes the place of evicted, which the caller closes: the
// oldest connection of the address that has most. An attacker who fills the table from
// a few addresses therefore evicts their own connections, and a device from elsewhere
// still gets in.
func (a *admission) addPending(c *conn) (evicted *conn, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil, false
	}
	if !c.awaitingProxy && a.pendingFullLocked(c.from) { // behind a proxy, setAddress checks it
		return nil, false
	}
	if a.pending.len() >= a.o.MaxPending {
		evicted = a.pending.oldest()
		a.pending.remove(evicted)
	}
	a.pending.add(c)
	return evicted, true
}

// setAddress counts c, which is pending, for the address that its proxy's header names.
// It returns false where that address has too many pending connections.
func (a *admission) setAddress(c *conn, from netip.Addr) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.pendingFullLocked(from) {
		return false
	}
	in := a.pending.has(c) // it may have been evicted
	a.pending.remove(c)
	c.awaitingProxy, c.from = false, from
	if in {
		a.pending.add(c)
	}
	return true
}

// pendingFull reports whether addPending would refuse a connection from that address.
func (a *admission) pendingFull(from netip.Addr) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.closed || a.pendingFullLocked(from)
}

func (a *admission) pendingFullLocked(from netip.Addr) bool {
	return a.pending.count(origin{from: from}) >= a.o.MaxPendingPerIP
}

// addLingering reports whether c, which is logged out, may wait for its peer to close.
// Their number is limited, as that of pending connections is.
func (a *admission) addLingering(c *conn) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.pending.has(c) {
		return true // never logged in: it is counted there until it is closed
	}
	if len(a.lingering) >= a.o.MaxPending {
		return false
	}
	a.lingering[c] = struct{}{}
	return true
}

// remove forgets a connection whose socket is closed.
func (a *admission) remove(c *conn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pending.remove(c)
	delete(a.lingering, c)
}

// close refuses all further connections and returns those that are left: logged in, and
// not.
func (a *admission) close() (connected, others []*conn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	connected = make([]*conn, 0, a.connections)
	for _, cs := range a.users {
		connected = append(connected, cs...)
	}
	for c := range a.pending.conns {
		others = append(others, c)
	}
	for c := range a.lingering {
		others = append(others, c)
	}
	return connected, others
}

// full returns the refusal of every CONNECT while no connections are accepted. It is
// checked before the token, so that a full node spends no CPU on signatures.
func (a *admission) full() refusal {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.fullLocked()
}

func (a *admission) fullLocked() refusal {
	switch {
	case a.closed:
		return refusal{codeUnavailable, "the server shuts down"}
	case a.connections >= a.o.MaxConnections:
		return tooManyConnections
	}
	return refusal{}
}

// admit counts c as logged in and no longer as pending, or returns the refusal.
//
// A connection that takes over another of the same client id does not count against the
// limits per user and per address: the older one is ending. Only where many takeovers of
// one id pile up, because the older connections take long to end, are they refused.
func (a *admission) admit(c *conn) refusal {
	a.mu.Lock()
	defer a.mu.Unlock()
	if r := a.fullLocked(); r != (refusal{}) {
		return r
	}
	all := a.users[c.device.User]
	others, fromAddress := 0, a.addresses[c.from]
	for _, o := range all {
		switch {
		case o.device.ClientID != c.device.ClientID:
			others++
		case o.from == c.from:
			fromAddress--
		}
	}
	if others >= a.o.MaxConnectionsPerUser || len(all) >= 4*a.o.MaxConnectionsPerUser {
		return tooManyOfUser
	}
	if a.o.MaxConnectionsPerIP > 0 {
		if fromAddress >= a.o.MaxConnectionsPerIP {
			return tooManyFromAddress
		}
		a.addresses[c.from]++
	}
	a.pending.remove(c)
	a.users[c.device.User] = append(all, c)
	a.connections++
	return refusal{}
}

// release ends what admit counted. It has no effect where c was not admitted.
func (a *admission) release(c *conn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := a.users[c.device.User]
	for i, o := range all {
		if o != c {
			continue
		}
		last := len(all) - 1
		all[i], all[last] = all[last], nil
		if a.addresses[c.from]--; a.addresses[c.from] <= 0 {
			delete(a.addresses, c.from)
		}
		if a.connections--; last == 0 {
			delete(a.users, c.device.User)
		} else {
			a.users[c.device.User] = all[:last]
		}
		return
	}
}

func (a *admission) counts() (connections, pending int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return int64(a.connections), int64(a.pending.len())
}
