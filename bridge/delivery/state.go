package delivery

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// State messages tell a device what became of notifications that it may have received: read,
// unread, deleted, superseded, expired, muted. A device asks for them at SUBSCRIBE, with the
// rev of its inbox.
//
// Like notifications they are pulled and not queued. A connection that asked for them is a
// follower, and has the rev that its device acknowledged. When a hint says that the state of
// a user's inbox changed, the hub reads what changed since the lowest rev of the user's
// followers on this node, once for all of them. It offers this state to each follower, since
// it applies to an inbox at any rev from State.From on. A follower whose last message is not
// acknowledged takes none; the state is read again for it after the acknowledgement. A device
// therefore has at most one state message in flight, and the next one combines all changes
// since. A lost hint only causes a delay, because [Hub.sweepStates] compares revs every
// Options.Sweep.
//
// A notification that is older than a state message must not be sent after it, or a deleted
// notification would stay on the screen. When a state is offered, everything that the pump
// of the own topic has read or cached is discarded, and the state message waits until the
// pump has written what it had reserved. What the pump reads afterwards is at least as new
// as the state. TestAStateMessageIsNotOvertaken checks this.

// stateDelay is the time from a hint to the read of the state, so that changes in quick
// succession are combined.
const stateDelay = 50 * time.Millisecond

// StateMessage is a change of an inbox for one device, as a PUBLISH.
type StateMessage struct {
	Topic    string
	PacketID uint16 // 0 with QoS 0
	QoS      byte
	SubID    int // Subscription Identifier; 0: none
	Epoch    string
	Payload  []byte // a bridge.State as JSON
}

// stateRead is a state that was read for followers of a user.
type stateRead struct {
	bridge.State
	since   bridge.Rev // the rev it was read for
	payload []byte
}

// appliesTo reports whether the state brings an inbox at rev up to date. A state without From
// makes the device fetch the list again. It applies only to the rev for which it was read,
// because for a later rev the changes may still be known.
func (r *stateRead) appliesTo(rev bridge.Rev) bool {
	if r.From == nil {
		return rev == r.since
	}
	return *r.From <= rev && rev <= r.Rev
}

// follower is the part of a connection that sends state messages. It is nil if the connection
// has never asked for them. Its fields are guarded by the connection's mu.
type follower struct {
	c          *Conn
	enabled    bool       // the current subscription of the own topic asks for them
	initialDue bool       // the message after the SUBACK was not sent yet; it is sent even if nothing changed
	rev        bridge.Rev // of the device's inbox, from SUBSCRIBE or the last acknowledgement
	next       *stateRead // to be sent; nil: none
	writing    bool       // a message is being written
	packet     uint16     // packet id of the message in flight; 0: none
	sent       bridge.Rev // rev of the message being written or in flight; noRev: the message belongs to an earlier SUBSCRIBE
	behind     bool       // the state has changed since it was last offered
}

// noRev stands for no rev.
const noRev = -1

// follow starts state messages from rev on, or ends them if rev is nil.
func (c *Conn) follow(rev *bridge.Rev) {
	if c.hub.o.States == nil {
		return
	}
	c.mu.Lock()
	f := c.follower
	if rev == nil && (f == nil || !f.enabled) {
		c.mu.Unlock()
		return
	}
	if f == nil {
		f = &follower{c: c}
		c.follower = f
	}
	f.enabled, f.initialDue, f.next, f.behind, f.sent = rev != nil, true, nil, false, noRev
	if rev != nil {
		f.rev = *rev
	}
	c.mu.Unlock()
	c.hub.change(c.device.User, func(e *entry) {
		c.mu.Lock()
		defer c.mu.Unlock()
		e.unfollow(c)
		if f.enabled && !c.closed { // Close removes c, and has already run
			e.followers = append(slices.Clip(e.followers), c)
			c.hub.followers.Add(1)
		}
	})
}

// unfollow removes c from the followers, if it is one.
func (e *entry) unfollow(c *Conn) {
	if !slices.Contains(e.followers, c) {
		return
	}
	c.hub.followers.Add(-1)
	if e.followers = without(e.followers, c); len(e.followers) == 0 {
		e.followers, e.rev = nil, 0
	}
}

// stateChanged schedules a read of the state of u's inbox, if it has followers on this node.
func (h *Hub) stateChanged(u bridge.UserID) {
	s := h.shard(u)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.users[u]; e != nil {
		h.scheduleRead(u, e)
	}
}

// scheduleRead schedules a read of the state for the followers of u. The shard's lock is held.
func (h *Hub) scheduleRead(u bridge.UserID, e *entry) {
	if len(e.followers) == 0 {
		return
	}
	e.stale = true
	if !e.readPending {
		e.readPending = true
		time.AfterFunc(stateDelay, func() { h.readStates(u, e) })
	}
}

// readStates reads the state of u's inbox and offers it to the followers that are ready for a
// message. For each user it runs once at a time, and again after stateDelay if the state
// changed meanwhile. It returns early if e is no longer u's entry. In that case all of u's
// devices have left, and those that have connected since are in the new entry.
func (h *Hub) readStates(u bridge.UserID, e *entry) {
	s := h.shard(u)
	s.mu.Lock()
	if s.users[u] != e {
		s.mu.Unlock()
		return
	}
	e.stale = false
	followers := e.followers
	s.mu.Unlock()

	rev, err := h.offerStates(u, followers)

	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users[u] != e {
		return
	}
	e.readPending = false
	switch {
	case err != nil:
		e.rev = noRev // so that the sweep finds a difference and schedules a read
		if !h.readFailed.Swap(true) {
			h.o.Logger.Warn("state messages are waiting for the database", "error", err)
		}
	case rev != noRev && len(e.followers) > 0:
		e.rev = rev
	}
	if e.stale && err == nil {
		h.scheduleRead(u, e)
	}
}

// readyFollower is a follower that is ready for a message, and its rev.
type readyFollower struct {
	*Conn
	rev bridge.Rev
}

// offerStates offers each follower of u what changed since its rev. It returns the rev of the
// state that was read, or noRev if no follower was ready.
func (h *Hub) offerStates(u bridge.UserID, followers []*Conn) (rev bridge.Rev, err error) {
	rev = noRev
	var ready []readyFollower
	for _, c := range followers {
		c.mu.Lock()
		if f := c.follower; f.ready() {
			ready = append(ready, readyFollower{c, f.rev})
		} else {
			f.behind = true
		}
		c.mu.Unlock()
	}
	// Begin with the lowest rev. What changed since then applies to the other followers as
	// well, unless it is so much that the device has to fetch the list again.
	slices.SortFunc(ready, func(a, b readyFollower) int { return cmp.Compare(a.rev, b.rev) })
	var read *stateRead
	for _, w := range ready {
		if read == nil || !read.appliesTo(w.rev) {
			if read, err = h.readState(u, w.rev); err != nil {
				return noRev, err
			}
			rev = max(rev, read.Rev)
			h.invalidateHints(u) // their items may be older than the state
		}
		w.offerState(w.rev, read)
	}
	return rev, nil
}

// readState reads what changed since a rev. At most Options.Reads reads run at once.
func (h *Hub) readState(u bridge.UserID, since bridge.Rev) (*stateRead, error) {
	h.reads <- struct{}{}
	defer func() { <-h.reads }()
	ctx, cancel := context.WithTimeout(context.Background(), h.o.Query)
	defer cancel()
	h.figures.reads.Add(1)
	s, err := h.o.States.Changes(ctx, u, since)
	if err != nil {
		return nil, err
	}
	return &stateRead{State: s, since: since, payload: s.Encode()}, nil
}

// offerState sends r to c's follower, if the follower is still at rev. While r was read, the
// follower may have begun to write an earlier message, or received its acknowledgement. Then
// the state is read again for it, as soon as it is ready.
func (c *Conn) offerState(rev bridge.Rev, r *stateRead) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.follower
	if !f.ready() || f.rev != rev {
		f.behind = true
		f.catchUp()
		return
	}
	if r.From != nil && r.Rev == rev && !f.initialDue {
		return
	}
	f.next = r
	c.own.discardUnsent()
	f.wake()
}

// ready reports whether the follower is ready for a message, which replaces one that was
// offered but is not being written yet. c.mu is held.
func (f *follower) ready() bool {
	c := f.c
	return f.enabled && !c.stopped && c.own != nil && c.own.p.granted && !f.writing && f.packet == 0
}

// inflight returns how many state messages are in flight, 0 or 1. They count towards the
// device's Receive Maximum, but not towards Options.Window.
func (f *follower) inflight() int {
	if f != nil && f.packet != 0 {
		return 1
	}
	return 0
}

// qos returns the QoS of state messages: that of the subscription, or 0 if the device's
// Receive Maximum is 1 and a state message in flight would leave no room for notifications.
func (f *follower) qos() byte {
	if f.c.receiveMax == 1 {
		return 0
	}
	return f.c.own.p.sub.QoS
}

// wake writes the next message if possible. It is called after every acknowledgement, and
// after each write of the pump before the pump reserves more, so that a busy device receives
// state messages as well. c.mu is held.
func (f *follower) wake() {
	if f == nil || f.next == nil || !f.ready() {
		return
	}
	c, p := f.c, f.c.own.p
	if !p.allowed() || p.state == sending || f.qos() > 0 && c.inflight() >= c.receiveMax {
		return
	}
	now := time.Now()
	if !c.valid(now) {
		c.endLocked(bridge.EndExpired)
		return
	}
	r := f.next
	m := StateMessage{Topic: p.filter, QoS: f.qos(), SubID: p.sub.ID, Epoch: c.hub.o.Epoch(), Payload: r.payload}
	if m.QoS > 0 {
		if c.inflight() == 0 {
			c.ackWaitStart = now
		}
		f.packet = c.aux.acquire()
		m.PacketID = f.packet
	}
	f.next, f.initialDue, f.behind, f.sent, f.writing = nil, false, false, r.Rev, true
	go f.write(m, r)
}

// write writes m, which has the state r. If it exceeds the device's Maximum Packet Size, write
// sends a short message instead, with which the device fetches the list again. If even that
// is too large, m counts as delivered (MQTT 5 §3.1.2.11.4).
func (f *follower) write(m StateMessage, r *stateRead) {
	c := f.c
	sent, err := c.link.SendState(m)
	if err == nil && !sent && r.From != nil {
		m.Payload = r.Refetch().Encode()
		sent, err = c.link.SendState(m)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	f.writing = false
	if err != nil {
		c.stop()
		return
	}
	if m.QoS == 0 {
		f.commitRev()
	} else if !sent && c.aux.complete(m.PacketID) {
		f.packet = 0
		f.commitRev()
		if c.inflight() == 0 {
			c.ackWaitStart = time.Time{}
		}
	}
	f.catchUp()
	c.wakePumps()
}

// acknowledge completes the message in flight. c.mu is held.
func (f *follower) acknowledge() {
	f.packet = 0
	f.commitRev()
	f.catchUp()
}

// commitRev sets rev to the rev of the message that the device has received.
func (f *follower) commitRev() {
	if f.sent != noRev {
		f.rev = f.sent
	}
}

// catchUp schedules a read of the state if it changed while f was not ready for a message.
func (f *follower) catchUp() {
	if f.behind && f.ready() {
		f.behind = false
		go f.c.hub.stateChanged(f.c.device.User) // locks the shard, which must precede c.mu
	}
}

// sweepStates repairs lost hints. For every user with followers on this node it compares the
// rev with the one that was last read, and schedules a read if they differ. One statement
// reads the revs of Options.Step users.
func (h *Hub) sweepStates(ctx context.Context) error {
	if h.followers.Load() == 0 {
		return nil
	}
	var users []bridge.UserID
	for i := range h.shards {
		s := &h.shards[i]
		s.mu.Lock()
		for u, e := range s.users {
			if len(e.followers) > 0 {
				users = append(users, u)
			}
		}
		s.mu.Unlock()
	}
	for step := range slices.Chunk(users, h.o.Step) {
		q, cancel := context.WithTimeout(ctx, h.o.Query)
		revs, err := h.o.States.Revs(q, step)
		cancel()
		if err != nil {
			return err
		}
		for _, u := range step {
			s := h.shard(u)
			s.mu.Lock()
			if e := s.users[u]; e != nil && e.rev != revs[u] {
				h.scheduleRead(u, e)
			}
			s.mu.Unlock()
		}
	}
	return nil
}
