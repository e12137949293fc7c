package delivery

import (
	"context"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// pump sends the notifications of one subscription to one connection: what follows
// the position of its source, until the device's window is full. All fields are
// guarded by the connection's mu.
//
// A pump costs a goroutine only while it reads or sends. What happens to it, and
// what it does then:
//
//	                        hint, SUBACK, sweep, room
//	      idle ─────────────────────────────────────────> reading <──┐
//	       ^ ^                                             │ │ │ │   │
//	       │ └────────── nothing to send, SUBACK not ──────┘ │ │ │   │ written
//	       │             written, node not up to date,       │ │ │   │
//	       │             database unavailable                │ │ v   │
//	       │                                                 │ │ sending
//	       │  windowRest after the first acknowledgement     │ │
//	       ├──────────────── awaitingWindow <── no room ─────┘ │
//	       │                      └── half the window free ───┼────> reading
//	       │  acknowledgement, mute or delete                  │
//	       └──────────────── awaitingAck <── packet id in use ─┘
//
//	any state ── unsubscribed, connection ended ──> closed
//
// A pump that is idle or awaiting has no goroutine. The goroutine of a pump that is
// closed meanwhile ends as soon as its read or write returns.
type pump struct {
	c           *Conn
	filter      string // as subscribed
	source      source
	state       pumpState
	sub         bridge.Subscription
	granted     bool          // the SUBACK was written, or the session's subscription resumed
	retained    *retainedCopy // due before anything else; nil: none
	windowTimer *time.Timer   // runs while awaitingWindow with less than half the window free; nil: none
}

// state is what a pump does; see [pump].
type pumpState uint8

const (
	idle           pumpState = iota // nothing to send, or not allowed to
	reading                         // its goroutine decides what to send, or reads it
	sending                         // its goroutine writes to the link
	awaitingWindow                  // there is more to send than room: the device has to acknowledge
	awaitingAck                     // the next packet id is still in use: the device has to acknowledge it
	closed                          // unsubscribed, or the connection ended: final
)

// source is where a pump's notifications come from: the device's own log, another
// user's log, or the feed of all users. It keeps the position. Its methods are called
// with the connection's mu held, but for read.
type source interface {
	// due reports whether there may be something to send.
	due() bool

	// reload drops what hints carried: the log is to be read.
	reload()

	// pop returns the next notifications that hints carried, at most limit, or nil
	// where the log is to be read instead.
	pop(limit int) []bridge.Notification

	// read reads at most limit notifications after the position. It does not move the
	// position.
	read(ctx context.Context, limit int) ([]bridge.Notification, error)

	// accept returns what may be sent of a page of at most limit notifications that
	// pop or read returned, now that room of them may be sent: nothing where the page
	// is no longer what follows the position.
	accept(page []bridge.Notification, limit, room int) []bridge.Notification

	// prepare moves the position past the notification of m and sets what differs
	// between sources. It reports false, and does nothing, where the packet id of m is
	// still in use.
	prepare(m *Message) bool

	// enter and leave make the hub wake the pump, and stop it from doing so. The
	// connection's mu is not held.
	register(h *Hub)
	unregister(h *Hub)
}

const (
	qos0Burst  = 64                    // messages that a QoS 0 pump sends at once
	windowWait = 25 * time.Millisecond // how long a pump waits for half the window to be free
)

// wake starts the goroutine where something is due and there is room for it; c.mu is
// held.
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

// allowed reports whether p may send anything at all; c.mu is held.
func (p *pump) allowed() bool { return p.granted && p.c.hub.node.current(time.Now()) }

// restForWindow lets p go on in a while with what room there is then. Until then half
// the window may be free, which is worth one read for many rows in place of one a row;
// a device that never frees half of it is served all the same. c.mu is held.
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

// resume wakes p where it is in state from; c.mu is held.
func (p *pump) resume(from pumpState) {
	if p.state == from {
		p.state = idle
	}
	p.wake()
}

// room is how many messages may be sent now; c.mu is held.
func (p *pump) room() int {
	if p.sub.QoS == 0 {
		return qos0Burst
	}
	c, states := p.c, p.c.follower.inflight()
	return max(0, min(c.window, c.receiveMax-states)-(c.inflight()-states))
}

// run is the goroutine: it sends one burst after the other until p has to wait.
func (p *pump) run() {
	for p.step() {
	}
}

// step sends one burst; false ends the goroutine.
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

// next decides how a running pump goes on; c.mu is held.
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

// read reads from the source, a bounded number of pumps at once.
func (p *pump) read(room int) ([]bridge.Notification, error) {
	h := p.c.hub
	h.reads <- struct{}{}
	defer func() { <-h.reads }()
	ctx, cancel := context.WithTimeout(context.Background(), h.o.Query)
	defer cancel()
	h.figures.reads.Add(1)
	return p.source.read(ctx, room)
}

// fail makes p wait until the database responds again: the sweep tries, and then
// wakes every pump.
func (p *pump) fail(err error) {
	c := p.c
	c.mu.Lock()
	p.source.reload()
	if p.state != closed {
		p.state = idle
	}
	c.mu.Unlock()
	if !c.hub.readFailed.Swap(true) {
		c.hub.o.Logger.Warn("delivery waits for the database", "error", err)
	}
}

// claim turns a page into messages in flight. It is where delivery is allowed: by the
// claims that the connection has now, not those it subscribed with. c.mu is held.
func (p *pump) reserve(page []bridge.Notification, limit int) []Message {
	if p.state == closed {
		return nil
	}
	c, now := p.c, time.Now()
	if !c.hub.node.current(now) { // the poll that succeeds next wakes p
		p.source.reload()
		return nil
	}
	// The connection's other pumps read at the same time, and may have taken the room.
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
			continue // since it was read: no position need be moved past what no read returns
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

// message returns n as p's subscription asks for it; c.mu is held.
func (p *pump) message(n *bridge.Notification) Message {
	h := p.c.hub
	return Message{Notification: n, Topic: p.filter, QoS: p.sub.QoS, SubID: p.sub.ID, Epoch: h.o.Epoch(), Expiry: n.Life(h.Now)}
}

// send writes ms; false where the connection is gone.
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
	c.follower.wake() // it may have waited for what was written
	if omitted {
		if c.inflight() == 0 {
			c.ackWaitStart = time.Time{} // nothing to acknowledge, so no silence
		}
		c.wakePumps()
	}
	return true
}
