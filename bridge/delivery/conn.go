package delivery

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// ConnectRequest is a CONNECT whose token was verified.
type ConnectRequest struct {
	Device         bridge.Device
	Claims         bridge.Claims
	Clean          bool
	Expiry         time.Duration // session expiry, at most Options.SessionTTL; 0: not persistent
	ReceiveMaximum int           // 0 means 65535 (MQTT 5 §3.1.2.11.3)
	Protocol       byte          // 4 (MQTT 3.1.1) or 5
	Transport      string        // one of Transports
	Remote         string        // the peer's address
}

// Conn is one live connection of a device. Its methods may be called from any
// goroutine. Subscribe, Unsubscribe and Renew may use the database; the others do not
// block.
type Conn struct {
	hub         *Hub
	link        Link
	device      bridge.Device
	gen         int64 // generation of the session
	window      int   // most unacknowledged notifications
	receiveMax  int   // the device's Receive Maximum
	persistent  bool  // has a session whose cursor is stored
	shared      bool  // see bridge.Session
	request     *ConnectRequest
	connectedAt time.Time
	registered  registered // guarded by node.changes.mu

	mu           sync.Mutex
	claims       bridge.Claims
	expiry       time.Duration
	own          *ownLog // source of the device's own topic; nil: not subscribed
	retired      window  // what a former subscription of the own topic has in flight, see retireWindow
	others       []*pump // of other users' topics and of the feed; these subscriptions end with the connection
	aux          aux
	follower     *follower  // nil: never asked for state messages
	acked        bridge.Seq // cursor of the own topic
	ackedFrom    bridge.Seq // this connection acknowledged the seqs after it, up to acked; see recordAck
	ackWaitStart time.Time  // when the wait for an acknowledgement began; zero: nothing in flight
	endReason    bridge.EndReason
	endTimer     *time.Timer // ends the link later, see endAfter
	stopped      bool        // nothing is sent any more, see stop
	closed       bool        // Close was called
	frozen       bool        // the cursor must not be written now, see freezeCursor
}

// Connect opens the session of a device and registers the connection. An older connection of
// the same device, on any node, ends with EndTakenOver (MQTT 5 §3.1.4). Nothing is sent before
// [Conn.Resume]. present is the Session Present flag of the CONNACK. Connect fails with
// ErrUnavailable while the database is unavailable.
func (h *Hub) Connect(ctx context.Context, r ConnectRequest, l Link) (c *Conn, present bool, err error) {
	r.Expiry = min(r.Expiry, h.o.SessionTTL)
	epoch := h.o.Epoch()
	h.endOlder(r.Device)
	if err := h.cursors.flushDevice(ctx, r.Device); err != nil {
		return nil, false, fmt.Errorf("write the cursor of the previous connection: %w", err)
	}
	s, err := h.o.Sessions.Open(ctx, bridge.OpenSession{Device: r.Device, Node: h.o.Node, Clean: r.Clean, Expiry: r.Expiry})
	if err != nil {
		return nil, false, fmt.Errorf("open the session: %w", err)
	}
	c = &Conn{
		hub: h, link: l, device: r.Device, gen: s.Generation, claims: r.Claims,
		window: h.o.Window, receiveMax: cmp.Or(r.ReceiveMaximum, 65535), expiry: r.Expiry, request: &r,
		persistent:  r.Expiry > 0 || s.Present,
		shared:      s.Shared,
		acked:       s.Acked,
		ackedFrom:   s.Acked,
		connectedAt: time.Now().UTC().Truncate(time.Millisecond),
	}
	c.window = min(c.window, c.receiveMax)
	if s.Present && s.Subscribed != nil {
		c.own = c.newOwnLog(h.o.Topics.Status(r.Device.User))
		c.own.p.sub = *s.Subscribed
		c.own.sent, c.own.dupUpTo, c.own.behind = s.Sent, s.Sent, true
		start, err := h.o.Log.Skip(ctx, r.Device.User, s.Acked, h.o.ReplayCap)
		if err != nil {
			c.closeUnregistered()
			return nil, false, fmt.Errorf("find where the replay starts: %w", err)
		}
		c.own.pos = start
		c.advanceTo(start)
	}
	c.register()
	if err := c.recheck(ctx, r.Claims); err != nil {
		c.Close()
		return nil, false, fmt.Errorf("check whether the token was revoked: %w", err)
	}
	// If the database was restored during Open, the hub has ended all registered
	// connections, but c was not registered yet. Its session may be from before the restore.
	if h.o.Epoch() != epoch {
		c.end(bridge.EndEpoch)
	}
	if h.o.Bus != nil {
		h.o.Bus.Publish(bridge.Hint{Type: bridge.HintTakeover, User: r.Device.User, ClientID: r.Device.ClientID, Gen: s.Generation, Node: h.o.Node})
	}
	return c, s.Present, nil
}

// closeUnregistered closes the session of a connection that failed before it was registered.
func (c *Conn) closeUnregistered() {
	if c.persistent {
		a := c.cursor()
		a.Closed, a.Expiry = true, c.expiry
		c.hub.cursors.putClosed(a)
	}
}

// valid reports whether the token has not expired and its key was not withdrawn. These
// enforce it:
//
//   - pump.reserve, pump.sendRetained and follower.wake, before they send anything
//   - Hub.endExpiredAndSilent, every 2 s, so that an idle connection ends as well
//   - Conn.Renew, when a new token arrives
//
// May, which decides about a SUBSCRIBE, checks the token itself. A revocation need not be
// looked up here, because it ends the connection when the node reads it, see
// readRevocations. c.mu is held.
func (c *Conn) valid(now time.Time) bool {
	return !c.claims.Expired(now) && !c.hub.Revocations.withdrawn(c.claims)
}

// recheck ends c if its token was revoked after it was verified. No revocation is missed: c
// is already registered with these claims, so a revocation that is stored after this look-up
// ends c as soon as the node reads it.
func (c *Conn) recheck(ctx context.Context, claims bridge.Claims) error {
	revoked, err := c.hub.Revocations.Revoked(ctx, claims)
	if revoked {
		c.end(bridge.EndExpired)
	}
	return err
}

// endOlder ends this node's connections of a device before its session is opened again, so
// that their cursor can still be written.
func (h *Hub) endOlder(d bridge.Device) {
	for _, c := range h.entry(d.User).conns {
		if c.device == d {
			c.end(bridge.EndTakenOver)
			c.Close()
		}
	}
}

// register adds c to the hub. If this node has two connections of one device, the one with
// the older generation ends, whichever of them registers first.
func (c *Conn) register() {
	var older []*Conn
	stale := false
	c.hub.change(c.device.User, func(e *entry) {
		for _, o := range e.conns {
			if o.device != c.device {
				continue
			}
			if o.gen < c.gen {
				older = append(older, o)
			} else {
				stale = true
			}
		}
		e.conns = append(slices.Clip(e.conns), c)
		if c.own != nil {
			e.logs = append(slices.Clip(e.logs), &c.own.userLog)
		}
	})
	for _, o := range older {
		o.end(bridge.EndTakenOver)
	}
	if stale {
		c.end(bridge.EndTakenOver)
	}
	c.hub.figures.connections.Add(1)
	c.hub.node.changes.open(c)
}

// Resume starts delivery for the subscription of a resumed session. Call it after the
// CONNACK was written.
func (c *Conn) Resume() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.own != nil {
		c.own.p.granted = true
		c.own.p.wake()
	}
}

// Ack completes the message with the packet id of a PUBACK, whatever its reason code (MQTT 5
// §4.4). It reports whether a message with that id was in flight.
func (c *Conn) Ack(packetID uint16) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if packetID > ownIDs {
		if !c.aux.complete(packetID) {
			return false
		}
		if f := c.follower; f != nil && f.packet == packetID {
			f.acknowledge()
			c.restartAckWait()
			c.wakePumps()
			return true
		}
	} else if !c.complete(packetID) {
		return false
	}
	c.hub.figures.acked.Add(1)
	c.restartAckWait()
	if own := c.own; own != nil && packetID <= ownIDs {
		own.p.resume(awaitingAck)
	}
	c.wakePumps()
	return true
}

// complete completes the notification of the own topic that is in flight with the packet id.
// It returns false if there is none. c.mu is held.
func (c *Conn) complete(packetID uint16) bool {
	var done flight
	found := false
	if c.own != nil {
		if done, found = c.own.win.complete(packetID); found {
			c.moveCursor()
		}
	}
	if !found {
		done, found = c.retired.complete(packetID)
	}
	if observe := c.hub.o.Observe; found && observe != nil {
		at := time.UnixMilli(done.commit)
		observe(Observation{Transport: c.request.Transport, Live: c.live(at), Acked: true, After: max(0, time.Since(at))})
	}
	c.traceAck(done)
	return found
}

// live reports whether a notification committed at that time is delivered live, not
// replayed, because the device was already connected.
func (c *Conn) live(commit time.Time) bool { return !commit.Before(c.connectedAt) }

// wakePumps wakes all pumps, which share the window, and the follower, whose state message
// may be waiting for room. c.mu is held.
func (c *Conn) wakePumps() {
	for p := range c.pumps {
		p.wake()
	}
	c.follower.wake()
}

// isOwn reports whether p serves the device's own topic, which is the only topic with a
// cursor. c.mu is held.
func (c *Conn) isOwn(p *pump) bool { return c.own != nil && c.own.p == p }

// pumps iterates over c's pumps, beginning with that of the own topic. c.mu is held.
func (c *Conn) pumps(yield func(*pump) bool) {
	if c.own != nil && !yield(c.own.p) {
		return
	}
	for _, p := range c.others {
		if !yield(p) {
			return
		}
	}
}

// restartAckWait restarts the wait for an acknowledgement, or ends it if nothing is in
// flight. c.mu is held.
func (c *Conn) restartAckWait() {
	c.ackWaitStart = time.Time{}
	if c.inflight() > 0 {
		c.ackWaitStart = time.Now()
	}
}

// Awaits reports whether a message with that packet id is in flight.
func (c *Conn) Awaits(packetID uint16) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if packetID > ownIDs {
		return c.aux.uses(packetID)
	}
	return c.retired.uses(packetID) || c.own != nil && c.own.win.uses(packetID)
}

// completeUnsent completes a message that was not sent, because it exceeds the device's
// Maximum Packet Size. c.mu is held.
func (c *Conn) completeUnsent(m *Message) {
	if m.PacketID > ownIDs {
		c.aux.complete(m.PacketID)
		return
	}
	c.retired.drop(m.Seq)
	if c.own != nil {
		c.own.win.drop(m.Seq)
	}
}

// inflight returns the number of messages that await an acknowledgement. c.mu is held.
func (c *Conn) inflight() int {
	n := len(c.aux.inflight) + len(c.retired.flights)
	if c.own != nil {
		n += len(c.own.win.flights)
	}
	return n
}

// Renew replaces the claims after a re-authentication (MQTT 5 §4.12.1). The connection ends if
// it has a subscription that the new claims do not allow. Renew fails with ErrForbidden if the
// claims are another user's, and with ErrUnavailable if the database is needed to check for
// a revocation and is unavailable. The caller then ends the connection.
func (c *Conn) Renew(ctx context.Context, claims bridge.Claims) error {
	if claims.User != c.device.User {
		return fmt.Errorf("renew the token of another user: %w", bridge.ErrForbidden)
	}
	c.mu.Lock()
	c.claims = claims
	if !c.valid(time.Now()) {
		c.endLocked(bridge.EndExpired)
	}
	others := c.others
	c.mu.Unlock()
	for _, p := range others {
		if !c.May(p.filter) {
			c.end(bridge.EndExpired)
		}
	}
	return c.recheck(ctx, claims)
}

// SetExpiry replaces the session expiry, which a DISCONNECT may change (MQTT 5 §3.14.2.2.2).
func (c *Conn) SetExpiry(d time.Duration) {
	c.mu.Lock()
	c.expiry = min(d, c.hub.o.SessionTTL)
	c.mu.Unlock()
}

// stop closes all pumps, after which nothing is sent. c.mu is held.
func (c *Conn) stop() {
	c.stopped = true
	for p := range c.pumps {
		p.state = closed
	}
}

// end stops delivery at once and ends the link. If it is called several times, the first
// call decides the reason.
func (c *Conn) end(r bridge.EndReason) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.endLocked(r)
}

func (c *Conn) endLocked(r bridge.EndReason) {
	switch {
	case c.endTimer != nil && c.endTimer.Stop():
	case c.stopped:
		return
	}
	c.stop()
	c.endReason, c.endTimer = r, nil
	go c.link.End(r)
}

// endAfter stops delivery at once, and ends the link after d unless end does so before. c.mu
// is held.
func (c *Conn) endAfter(r bridge.EndReason, d time.Duration) {
	if !c.stopped {
		c.stop()
		c.endReason = r
		c.endTimer = time.AfterFunc(d, func() { c.link.End(r) })
	}
}

// endAll ends every connection after the database was restored. Delivery stops at once,
// because the pumps' positions refer to the log from before the restore. The links end one
// after the other, so that the devices do not all reconnect at the same moment and overload
// the database.
func (h *Hub) endAll() {
	var all []*Conn
	h.each(func(c *Conn) { all = append(all, c) })
	duration := min(h.o.EndOver, time.Duration(len(all))*endPace)
	for i, c := range all {
		c.mu.Lock()
		c.endAfter(bridge.EndEpoch, duration*time.Duration(i)/time.Duration(len(all)))
		c.mu.Unlock()
	}
}

// endPace is the longest pause between two ends of endAll, so that a node with few
// connections does not need all of Options.EndOver.
const endPace = 10 * time.Millisecond

// Ended reports whether the hub ended the connection, and why.
func (c *Conn) Ended() (bridge.EndReason, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.endReason, c.endReason != bridge.EndNone
}

// Close removes the connection from the hub. The caller calls it when the link has ended.
// The cursor and the end of the session are written soon afterwards. Close may be called
// again.
func (c *Conn) Close() {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return
	}
	c.stop()
	c.closed = true
	pumps := slices.Collect(c.pumps)
	a := c.cursor()
	a.Closed, a.Expiry = true, c.expiry
	c.mu.Unlock()

	if c.persistent {
		c.hub.cursors.putClosed(a)
	}
	c.hub.change(c.device.User, func(e *entry) {
		e.conns = without(e.conns, c)
		e.unfollow(c)
	})
	for _, p := range pumps {
		p.source.unregister(c.hub)
	}
	c.hub.figures.connections.Add(-1)
	c.hub.node.changes.close(c)
}

// without returns a copy of list without x.
func without[T comparable](list []T, x T) []T {
	kept := make([]T, 0, len(list))
	for _, y := range list {
		if y != x {
			kept = append(kept, y)
		}
	}
	return kept
}
