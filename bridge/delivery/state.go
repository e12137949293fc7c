package delivery

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// State messages say what became of notifications that a device may have: read, unread,
// deleted, superseded, expired, muted. A device asks for them at SUBSCRIBE, with the rev
// that its inbox is at.
//
// Like notifications they are pulled, not queued. Each follower, a connection that asked
// for them, has the rev that its device acknowledged. When the hub learns that the state
// of a user's inbox changed, it reads what changed since the lowest rev of the user's
// followers here, once for all of them, and offers it to each: a state applies to an
// inbox at any rev from State.From on. A follower whose last message is not acknowledged
// takes none, and has the state read again when it is. So a device has at most one state
// message in flight, several changes are joined in the next one, and a hint that is lost
// costs a delay: [Hub.sweepStates] compares revs every Options.Sweep.
//
// A state message must not be followed by an older picture of what it speaks of, or a
// deleted notification would stay on the screen. What the pump of the own topic read or
// cached before the state was read is therefore dropped when the state is offered, and
// the message waits until the pump has written what it had claimed. What the pump reads
// afterwards is at least as new. TestAStateMessageIsNotOvertaken checks this.

// stateRest is how long after a hint the state is read: changes that come close together
// are joined.
const stateDelay = 50 * time.Millisecond

// StateMessage is a change of an inbox on its way to one device.
type StateMessage struct {
	Topic    string
	PacketID uint16 // 0 with QoS 0
	QoS      byte
	SubID    int // subscription identifier, 0: none
	Epoch    string
	Payload  []byte // a bridge.State as JSON
}

// stateRead is a state that was read for the followers of a user.
type stateRead struct {
	bridge.State
	since   bridge.Rev // what was asked for
	payload []byte
}

// appliesTo reports whether the state brings an inbox at rev up to date. One that has the
// list fetched again is for the rev it was read for: what it says of an older rev need
// not be so for a newer one.
func (r *stateRead) appliesTo(rev bridge.Rev) bool {
	if r.From == nil {
		return rev == r.since
	}
	return *r.From <= rev && rev <= r.Rev
}

// follower is a connection that asks for state messages, or did. Its fields are guarded by
// the connection's mu. A nil follower never asked.
type follower struct {
	c          *Conn
	enabled    bool       // the subscription of the own topic asks for them
	initialDue bool       // the message that follows every SUBACK is due
	rev        bridge.Rev // of the device's inbox, as it acknowledged or said at SUBSCRIBE
	next       *stateRead // to be sent; nil: none
	writing    bool
	packet     uint16     // in flight; 0: none
	sent       bridge.Rev // of the message that is written or in flight; forgone: it was asked for by an earlier SUBSCRIBE
	behind     bool       // the state changed meanwhile
}

// forgone is no rev.
const noRev = -1

// follow begins state messages from rev on, or ends them where rev is nil.
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
		if f.enabled && !c.closed { // else Close would have to remove it, and was here before
			e.followers = append(slices.Clip(e.followers), c)
			c.hub.followers.Add(1)
		}
	})
}

// unfollow removes c from the followers.
func (e *entry) unfollow(c *Conn) {
	if !slices.Contains(e.followers, c) {
		return
	}
	c.hub.followers.Add(-1)
	if e.followers = without(e.followers, c); len(e.followers) == 0 {
		e.followers, e.rev = nil, 0
	}
}

// stateChanged has the state of u's inbox read for its followers here, if there are any.
func (h *Hub) stateChanged(u bridge.UserID) {
	s := h.shard(u)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.users[u]; e != nil {
		h.scheduleRead(u, e)
	}
}

// readSoon has the state read for the followers of u; the shard's lock is held.
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

// readStates reads the state of u's inbox and offers it to the followers that can take a
// message. It runs once at a time for a user, and again after stateRest where more
// changed meanwhile. It ends where e is not u's entry any more: all devices have left, and
// those that came since are served by the reads of their own entry.
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
		e.rev = noRev // the sweep finds another rev, and so has it read
		if !h.readFailed.Swap(true) {
			h.o.Logger.Warn("state messages wait for the database", "error", err)
		}
	case rev != noRev && len(e.followers) > 0:
		e.rev = rev
	}
	if e.stale && err == nil {
		h.scheduleRead(u, e)
	}
}

// waiting is a follower that can take a message, and its rev.
type readyFollower struct {
	*Conn
	rev bridge.Rev
}

// offerStates offers each of the followers of u what changed since its rev, and returns up
// to which rev that was; forgone where none can take a message.
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
	// From the lowest rev on: what changed since then is for all, but where it has the
	// list fetched again.
	slices.SortFunc(ready, func(a, b readyFollower) int { return cmp.Compare(a.rev, b.rev) })
	var read *stateRead
	for _, w := range ready {
		if read == nil || !read.appliesTo(w.rev) {
			if read, err = h.readState(u, w.rev); err != nil {
				return noRev, err
			}
			rev = max(rev, read.Rev)
			h.invalidateHints(u) // items of appends that began before may be older than the state
		}
		w.offerState(w.rev, read)
	}
	return rev, nil
}

// readState reads what changed since a rev, a bounded number of reads at once.
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

// offerState has r sent to a follower that is still at rev. While r was read the follower
// may have begun to write an earlier message, or had it acknowledged: then the state is
// read again for it, as soon as it can take a message.
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

// ready reports whether a message may be offered: one that is not written yet is replaced.
func (f *follower) ready() bool {
	c := f.c
	return f.enabled && !c.stopped && c.own != nil && c.own.p.granted && !f.writing && f.packet == 0
}

// inflight is how many of the connection's messages in flight are state messages. They
// take a place of the device's Receive Maximum, not of Options.Window.
func (f *follower) inflight() int {
	if f != nil && f.packet != 0 {
		return 1
	}
	return 0
}

// qos is the subscription's, but 0 where a message in flight would leave no place for
// notifications.
func (f *follower) qos() byte {
	if f.c.receiveMax == 1 {
		return 0
	}
	return f.c.own.p.sub.QoS
}

// wake writes the next message where that may be done now; c.mu is held. It is called with
// every acknowledgement and whenever the pump has written, before the pump claims more, so
// a busy device is sent states as well.
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

// write writes m. Where it is over the device's Maximum Packet Size the device fetches the
// list again; where that is, too, m counts as delivered (MQTT 5 §3.1.2.11.4).
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

// acknowledge completes the message in flight; c.mu is held.
func (f *follower) acknowledge() {
	f.packet = 0
	f.commitRev()
	f.catchUp()
}

// arrived moves the rev to that of the message.
func (f *follower) commitRev() {
	if f.sent != noRev {
		f.rev = f.sent
	}
}

// catchUp has the state read where it changed while f could not take it.
func (f *follower) catchUp() {
	if f.behind && f.ready() {
		f.behind = false
		go f.c.hub.stateChanged(f.c.device.User) // takes the shard's lock, which comes before c.mu
	}
}

// sweepStates repairs lost hints: it has the state read of every user with followers here
// whose rev is not the one that was read last. It reads Options.Step revs a statement.
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
