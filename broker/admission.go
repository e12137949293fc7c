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
// A connection is pending from accept until admit counts it as logged in. release ends
// that. After its last packet a connection may linger until its peer closes, see
// [conn.linger], and remove forgets it once its socket is closed.
type admission struct {
	o *Options

	handshakes     *edge.Rates[netip.Addr]
	upgrades       *edge.Rates[netip.Addr]
	connects       *edge.Rates[netip.Addr]
	connectsOfUser *edge.Rates[bridge.UserID]

	mu          sync.Mutex
	closed      bool               // the broker is draining: no connection is accepted any more
	pending     pendingConns       // not logged in yet, or refused and not closed yet
	lingering   map[*conn]struct{} // logged out and not closed yet
	users       map[bridge.UserID][]*conn
	addresses   map[netip.Addr]int // logged-in connections per address; empty without MaxConnectionsPerIP
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

// handshakesPerConnect is how many TLS handshakes, and how many WebSocket upgrades, an
// address may begin for each CONNECT that [Options.ConnectRatePerIP] allows. With a factor
// of one, a device over the rate would fail in its TLS handshake and never learn why; with
// four it gets as far as a CONNACK with the reason.
const handshakesPerConnect = 4

// address returns the address that remote, a host with or without a port, counts under
// for the limits; see [edge.Host].
func address(remote string) netip.Addr { return edge.Host(edge.ParseRemote(remote)) }

// addPending adds c, which was just accepted. It returns false if the broker is draining
// or the address of c has too many pending connections.
//
// When the table is full, addPending removes the oldest connection of the address with
// the most pending connections, and returns it for the caller to close. An attacker who
// fills the table from a few addresses therefore evicts only their own connections, and a
// device at another address still gets in.
func (a *admission) addPending(c *conn) (evicted *conn, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil, false
	}
	if !c.awaitingProxy && a.pendingFullLocked(c.from) { // of a proxied connection setAddress checks it
		return nil, false
	}
	if a.pending.len() >= a.o.MaxPending {
		evicted = a.pending.oldest()
		a.pending.remove(evicted)
	}
	a.pending.add(c)
	return evicted, true
}

// setAddress moves c, which is pending, to the address that its proxy's header names. It
// returns false if that address has too many pending connections.
func (a *admission) setAddress(c *conn, from netip.Addr) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.pendingFullLocked(from) {
		return false
	}
	stillPending := a.pending.has(c) // false if it was evicted meanwhile
	a.pending.remove(c)
	c.awaitingProxy, c.from = false, from
	if stillPending {
		a.pending.add(c)
	}
	return true
}

// pendingFull reports whether addPending would refuse a connection from from.
func (a *admission) pendingFull(from netip.Addr) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.closed || a.pendingFullLocked(from)
}

func (a *admission) pendingFullLocked(from netip.Addr) bool {
	return a.pending.count(origin{from: from}) >= a.o.MaxPendingPerIP
}

// addLingering reports whether c, which is logged out, may wait for its peer to close. At
// most MaxPending connections do so at a time. Connections that never logged in still count
// as pending, and are not counted again.
func (a *admission) addLingering(c *conn) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.pending.has(c) {
		return true // never logged in: counted there until it is closed
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

// close refuses all further connections and returns the remaining ones: the logged-in
// ones, and the pending and lingering others.
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

// full returns the refusal of every CONNECT while the node is full or draining, or the
// zero refusal. It is checked before the token, so that a full node spends no CPU on
// signatures.
func (a *admission) full() refusal {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.fullLocked()
}

func (a *admission) fullLocked() refusal {
	switch {
	case a.closed:
		return refusal{codeUnavailable, "the server is shutting down"}
	case a.connections >= a.o.MaxConnections:
		return tooManyConnections
	}
	return refusal{}
}

// maxWithTakenOver is how many times MaxConnectionsPerUser connections a user may have if
// connections that were taken over and have not ended yet are counted, too.
const maxWithTakenOver = 4

// admit counts c as logged in and no longer as pending, or returns the refusal.
//
// A connection that takes over an older one of the same client id does not count against
// the limits per user and per address, because the older one is about to end. But a client
// that reconnects in a loop may do so faster than its older connections end. So a user who
// has maxWithTakenOver times MaxConnectionsPerUser connections, including those that are
// about to end, is refused as well.
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
	if others >= a.o.MaxConnectionsPerUser || len(all) >= maxWithTakenOver*a.o.MaxConnectionsPerUser {
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

// release undoes admit. It has no effect on a connection that was not admitted.
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
