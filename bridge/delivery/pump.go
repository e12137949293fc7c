package delivery

import (
	"context"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// pump sends the notifications of one subscription to one connection: those after the
// position of its source, until the device's window is full. All fields are guarded by the
// connection's mu.
//
// A pump is a state machine. It has a goroutine only while it reads or sends, so an idle
// device has no goroutine. The states and what changes them:
//
//	                        hint, SUBACK, sweep, room
//	      idle ─────────────────────────────────────────> reading <──┐
//	       ^ ^                                             │ │ │ │   │
//	       │ └────────── nothing to send, SUBACK not ──────┘ │ │ │   │ written
//	       │             written, view out of date,          │ │ │   │
//	       │             database unavailable                │ │ v   │
//	       │                                                 │ │ sending
//	       │  windowWait after the first acknowledgement     │ │
//	       ├──────────────── awaitingWindow <── no room ─────┘ │
//	       │                      └── half the window free ───┼────> reading
//	       │  acknowledgement, mute or delete                  │
//	       └──────────────── awaitingAck <── packet id in use ─┘
//
//	any state ── unsubscribed, connection ended ──> closed
//
// The goroutine of a pump that is closed while it reads or sends ends as soon as the read or
// write returns.
type pump struct {
	c           *Conn
	filter      string // the topic filter of the subscription
	source      source
	state       pumpState
	sub         bridge.Subscription
	granted     bool          // the SUBACK was written, or the session with the subscription was resumed
	retained    *retainedCopy // to be sent first; nil: none
	windowTimer *time.Timer   // runs in state awaitingWindow while less than half the window is free; nil: not running
}

// pumpState is what a pump is doing; see [pump].
type pumpState uint8

const (
	idle           pumpState = iota // nothing to send, or not allowed to
	reading                         // its goroutine decides what to send, or reads it
	sending                         // its goroutine writes to the link
	awaitingWindow                  // the window is full: waits until the device acknowledges
	awaitingAck                     // the packet id of the next notification is in use: waits until the device acknowledges it
	closed                          // unsubscribed, or the connection ended; final
)

// source is where a pump's notifications come from: the log of the device's own user
// ([ownLog]), another user's log ([userLog]) or the feed of all users ([feed]). The source
// also has the pump's position. Its methods are called with the connection's mu held, unless
// stated otherwise.
type source interface {
	// due reports whether there may be something to send.
	due() bool

	// reload discards what hints carried, so that the log is read instead.
	reload()

	// pop returns at most limit of the next notifications that hints carried, or nil if the
	// log has to be read.
	pop(limit int) []bridge.Notification

	// read reads at most limit notifications after the position, and does not move it. The
	// connection's mu is not held.
	read(ctx context.Context, limit int) ([]bridge.Notification, error)

	// accept returns the part of page that may be sent, at most room notifications. page is
	// what pop or read returned for limit. While read was running, the position may have
	// moved, or a notification may have been deleted. Then accept returns nothing, and the
	// log is read again.
	accept(page []bridge.Notification, limit, room int) []bridge.Notification

	// prepare moves the position past m and sets the fields of m that differ between sources.
	// It returns false, and does nothing, if the packet id of m is still in use.
	prepare(m *Message) bool

	// register makes the hub wake the pump, and unregister ends that. The connection's mu is
	// not held.
	register(h *Hub)
	unregister(h *Hub)
}

const (
	qos0Burst  = 64                    // messages in one write of a QoS 0 subscription, which has no window
	windowWait = 25 * time.Millisecond // how long a pump waits until half the window is free
)

// wake starts the goroutine if there is something to send and room for it. It has no effect
// while the goroutine is running. c.mu is held.
func (p *pump) wake() {
	if p.state != idle && p.state != awaitingWindow || !p.allowed() {
		return
	}
	room := p.room()
	switch {
	case room == 0:
		return
	case p.copyDue():
	case !p.source.due():
		return
	case p.state == awaitingWindow && room < (p.c.window+1)/2:
		p.waitForWindow()
		return
	}
	p.state = reading
	go p.run()
}

// allowed reports whether p may send at all. c.mu is held.
func (p *pump) allowed() bool { return p.granted && p.c.hub.node.current(time.Now()) }

// waitForWindow makes p continue once half the window is free, or after windowWait if that is
// earlier. A device that acknowledges one message at a time would otherwise cause a read of
// the log for each message. After windowWait p sends as much as there is room for, because
// some devices never free half of their window. c.mu is held.
func (p *pump) waitForWindow() {
	if p.windowTimer != nil {
		return
	}
	p.windowTimer = time.AfterFunc(windowWait, func() {
		p.c.mu.Lock()
		defer p.c.mu.Unlock()
		p.windowTimer = nil
		p.resume(awaitingWindow)
	})
}

// resume ends p's wait if p is in state from, and then wakes p. c.mu is held.
func (p *pump) resume(from pumpState) {
	if p.state == from {
		p.state = idle
	}
	p.wake()
}

// room returns how many messages may be sent now. State messages take room of the device's
// Receive Maximum but not of Options.Window. c.mu is held.
func (p *pump) room() int {
	if p.sub.QoS == 0 {
		return qos0Burst
	}
	c, states := p.c, p.c.follower.inflight()
	return max(0, min(c.window, c.receiveMax-states)-(c.inflight()-states))
}

// run is the goroutine of p. It sends one burst after another until p has to wait.
func (p *pump) run() {
	for p.step() {
	}
}

// step sends one burst. It returns false if the goroutine has to end.
func (p *pump) step() bool {
	c := p.c
	c.mu.Lock()
	if p.state = p.next(); p.state != reading {
		c.mu.Unlock()
		return false
	}
	if p.copyDue() {
		return p.sendRetained() // unlocks
	}
	room := p.room()
	page := p.source.pop(room)
	if page == nil {
		c.mu.Unlock()
		var err error
		if page, err = p.read(room); err != nil {
			p.fail(err)
			return false
		}
		c.mu.Lock()
	}
	ms := p.reserve(page, room)
	running := p.state == reading
	if len(ms) > 0 {
		p.state = sending
	}
	c.mu.Unlock()
	return len(ms) > 0 && p.send(ms) || running
}

// next returns the next state of a running pump. c.mu is held.
func (p *pump) next() pumpState {
	switch {
	case p.state == closed:
		return closed
	case p.room() == 0 && p.source.due():
		p.source.reload()
		return awaitingWindow
	case p.room() > 0 && p.allowed() && (p.copyDue() || p.source.due()):
		return reading
	}
	return idle
}

// read reads from the source. At most Options.Reads pumps do so at once.
func (p *pump) read(room int) ([]bridge.Notification, error) {
	h := p.c.hub
	h.reads <- struct{}{}
	defer func() { <-h.reads }()
	ctx, cancel := context.WithTimeout(context.Background(), h.o.Query)
	defer cancel()
	h.figures.reads.Add(1)
	return p.source.read(ctx, room)
}

// fail makes p idle after a failed read. The sweep retries until the database is available
// again, and then wakes every pump.
func (p *pump) fail(err error) {
	c := p.c
	c.mu.Lock()
	p.source.reload()
	if p.state != closed {
		p.state = idle
	}
	c.mu.Unlock()
	if !c.hub.readFailed.Swap(true) {
		c.hub.o.Logger.Warn("delivery is waiting for the database", "error", err)
	}
}

// reserve turns page into messages in flight. It authorizes every delivery, with the claims
// that the connection has now, not with those at the time of SUBSCRIBE. c.mu is held.
func (p *pump) reserve(page []bridge.Notification, limit int) []Message {
	if p.state == closed {
		return nil
	}
	c, now := p.c, time.Now()
	if !c.hub.node.current(now) { // the next poll that succeeds wakes p
		p.source.reload()
		return nil
	}
	// Other pumps of the connection may have used the room meanwhile.
	items := p.source.accept(page, limit, p.room())
	if !c.valid(now) {
		c.endLocked(bridge.EndExpired)
	}
	if p.state == closed {
		return nil
	}
	ms := make([]Message, 0, len(items))
	for i := range items {
		n := &items[i]
		if n.Expired(c.hub.Now()) {
			continue // the position need not move past it, because no read returns it again
		}
		if !c.claims.MayReceive(n.User) {
			c.endLocked(bridge.EndExpired)
			return nil
		}
		ms = append(ms, p.message(n))
		m := &ms[len(ms)-1]
		m.Retain = p.sub.RetainAsPublished
		first := c.inflight() == 0
		if !p.source.prepare(m) {
			p.source.reload()
			if ms = ms[:len(ms)-1]; len(ms) == 0 {
				p.state = awaitingAck
			}
			break
		}
		p.traceMessage(m, now)
		if m.QoS > 0 {
			if first {
				c.ackWaitStart = now
			}
			if m.PacketID == 0 {
				m.PacketID = c.aux.acquire()
			}
		}
	}
	return ms
}

// message returns the message of n for p's subscription. c.mu is held.
func (p *pump) message(n *bridge.Notification) Message {
	h := p.c.hub
	return Message{Notification: n, Topic: p.filter, QoS: p.sub.QoS, SubID: p.sub.ID, Epoch: h.o.Epoch(), Expiry: n.Life(h.Now)}
}

// send writes ms and completes those that were too large. It returns false if the connection
// has ended.
func (p *pump) send(ms []Message) bool {
	c := p.c
	err := c.link.Send(ms)
	for i := range ms {
		if end := ms[i].end; end != nil {
			end(err)
		}
	}
	if err != nil {
		c.mu.Lock()
		c.stop()
		c.mu.Unlock()
		return false
	}
	c.hub.figures.sent.Add(int64(len(ms)))
	if observe := c.hub.o.Observe; observe != nil {
		now := time.Now()
		for i := range ms {
			if m := &ms[i]; !m.Dup {
				observe(Observation{Transport: c.request.Transport, Live: c.live(m.CreatedAt), After: max(0, now.Sub(m.CreatedAt))})
			}
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.isOwn(p) {
		c.hub.figures.copies.Add(int64(len(ms)))
	}
	omitted := false
	for i := range ms {
		m := &ms[i]
		if !m.Delivered && c.isOwn(p) {
			c.own.skip(bridge.Skip{Above: m.Seq - 1, UpTo: m.Seq, Why: bridge.SkipTooLarge})
		}
		if m.Delivered || m.QoS == 0 {
			continue
		}
		omitted = true
		c.hub.figures.oversize.Add(1)
		c.completeUnsent(m)
	}
	if c.isOwn(p) {
		c.moveCursor()
	}
	if p.state == sending {
		p.state = reading
	}
	c.follower.wake() // a state message may have waited for this write
	if omitted {
		if c.inflight() == 0 {
			c.ackWaitStart = time.Time{} // there is no acknowledgement to wait for
		}
		c.wakePumps()
	}
	return true
}
