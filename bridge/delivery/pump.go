package delivery

import (
	"context"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// pump sends one user's notifications to one connection: those after its
// position, until the window is full. It is a goroutine only while there is
// something to send. All fields are guarded by the connection's mu.
type pump struct {
	c       *Conn
	filter  string        // as subscribed
	user    bridge.UserID // whose log it reads; "" with stream
	sub     bridge.Subscription
	pos     bridge.Seq // everything up to here was sent, or is not deliverable
	sent    bridge.Seq // the highest seq sent, across a replay that went back
	dupUpTo bridge.Seq // a former attempt may have sent up to here
	win     window
	stream  *stream // set: an operator's wildcard subscription

	wantRetained bool                 // the retained copy is due, before anything else
	retained     *bridge.Notification // it, as read at retainedAt
	retainedAt   time.Time

	cache   []bridge.Notification // contiguous from pos+1, from hints
	cacheAt time.Time             // of the oldest

	erased  int64 // Before of the last order that had it start over
	forgets int   // mutes and deletes that were committed, as hints told

	active  bool // the SUBACK was written
	running bool // its goroutine lives
	behind  bool // the log may hold more than cache
	unparks bool // a timer will clear parked
	parked  bool // stopped by a full window: wait for room worth a read
	held    bool // the next seq's packet id is still in flight: wait for an acknowledgement
	gone    bool // unsubscribed
}

// cacheMax bounds what a pump keeps from hints; past it the log is read.
const cacheMax = 64

func (c *Conn) newPump(filter string, u bridge.UserID) *pump {
	return &pump{c: c, filter: filter, user: u}
}

// isOwn tells whether p serves the device's own topic, whose cursor is kept.
func (p *pump) isOwn() bool { return p == p.c.own }

// offer hands p a hint: its items where they continue what p has, else the news
// that the log must be read.
func (p *pump) offer(h bridge.Hint) {
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	if h.Seq <= p.pos {
		return
	}
	next := p.pos + 1
	if n := len(p.cache); n > 0 {
		next = p.cache[n-1].Seq + 1
	}
	items := h.Items
	for len(items) > 0 && items[0].Seq < next {
		items = items[1:]
	}
	fits := len(items) > 0 && items[0].Seq == next && len(p.cache)+len(items) <= cacheMax
	if p.behind || p.parked || !fits {
		p.behind, p.cache = true, nil
	} else {
		if len(p.cache) == 0 {
			p.cacheAt = h.At
		}
		p.cache = append(p.cache, items...)
	}
	p.start()
}

// forget drops what hints carried and has the log read anew: a mute, its end or a
// delete was committed. What a mute hid from a device that came meanwhile is due
// once it ends.
func (p *pump) forget() {
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	p.forgets++
	p.retainedAt = time.Time{}
	p.cache, p.behind, p.held = nil, true, false // the seq it waits for may be the one deleted
	p.start()
}

// startOver reads the log from its start, once an order: the user was erased, and
// whoever has the same id now gets seqs from 1 on. Notifications that were sent
// before the order came are sent again.
func (p *pump) startOver(order int64) {
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	if p.c.gen >= order || p.erased >= order {
		return
	}
	p.erased = order
	p.forgets++
	p.pos = 0
	p.cache, p.behind = nil, true
	p.start()
}

// start makes p run where there is something to send and room for it; c.mu is
// held.
func (p *pump) start() {
	if p.running || !p.due() {
		return
	}
	p.running = true
	go p.run()
}

// due tells whether p could send something now.
func (p *pump) due() bool {
	if p.c.dead || p.gone || p.held || !p.active || !p.c.hub.fresh(time.Now()) {
		return false
	}
	room := p.room()
	if room == 0 {
		return false
	}
	if p.copyDue() {
		return true
	}
	if p.parked && room < (p.c.window+1)/2 {
		p.unpark() // one read for many rows, not one a row
		return false
	}
	return p.behind || len(p.cache) > 0
}

// parkedFor is how long a pump waits for a window worth a read. A device that
// never frees half of it is served all the same, a row at a time.
const parkedFor = 25 * time.Millisecond

// unpark lets p go on with what room there is, in a while. c.mu is held.
func (p *pump) unpark() {
	if p.unparks {
		return
	}
	p.unparks = true
	time.AfterFunc(parkedFor, func() {
		p.c.mu.Lock()
		defer p.c.mu.Unlock()
		p.unparks, p.parked = false, false
		p.start()
	})
}

// burst is how many messages a QoS 0 pump sends at once.
const burst = 64

// room is how many messages may be sent now.
func (p *pump) room() int {
	if p.sub.QoS == 0 {
		return burst
	}
	return max(0, p.c.window-p.c.inflight())
}

// run sends until nothing is due.
func (p *pump) run() {
	for p.step() {
	}
}

// step sends one burst; false ends the goroutine.
func (p *pump) step() bool {
	p.c.mu.Lock()
	if p.room() == 0 && (p.behind || len(p.cache) > 0) {
		p.parked, p.behind, p.cache = true, true, nil
	}
	if !p.due() {
		p.running = false
		p.c.mu.Unlock()
		return false
	}
	p.parked = false
	room := p.room()
	if p.copyDue() {
		return p.sendRetained()
	}
	items := p.cached(room)
	after, forgets := p.pos, p.forgets
	if items == nil {
		p.behind = false // before the read: a hint that comes meanwhile sets it again
	}
	p.c.mu.Unlock()

	if items == nil {
		var err error
		if items, err = p.read(after, room); err != nil {
			p.retry(err)
			return false
		}
	}
	ms := p.claim(items, after, forgets, room)
	return len(ms) == 0 || p.send(ms)
}

// cached takes up to room items from what hints left; nil means the log is to
// be read. c.mu is held.
func (p *pump) cached(room int) []bridge.Notification {
	for len(p.cache) > 0 && p.cache[0].Seq <= p.pos {
		p.cache = p.cache[1:]
	}
	if p.behind || len(p.cache) == 0 || p.cache[0].Seq != p.pos+1 || time.Since(p.cacheAt) > bridge.HintLife {
		p.cache = nil
		return nil
	}
	n := min(room, len(p.cache))
	items := p.cache[:n:n]
	p.cache = p.cache[n:]
	if len(p.cache) == 0 {
		p.cache = nil
	}
	return items
}

// read reads the log, a bounded number of pumps at once.
func (p *pump) read(after bridge.Seq, room int) ([]bridge.Notification, error) {
	h := p.c.hub
	h.reads <- struct{}{}
	defer func() { <-h.reads }()
	ctx, cancel := context.WithTimeout(context.Background(), h.o.Query)
	defer cancel()
	h.figures.reads.Add(1)
	if p.stream != nil {
		return p.stream.read(ctx, h, room)
	}
	return h.o.Log.After(ctx, p.user, after, room)
}

// retry parks p until the database answers again.
func (p *pump) retry(err error) {
	p.c.mu.Lock()
	p.behind, p.running = true, false
	p.c.mu.Unlock()
	if !p.c.hub.failed.Swap(true) {
		p.c.hub.o.Logger.Warn("delivery waits for the database", "error", err)
	}
}

// claim turns items into messages in flight. It is where delivery is allowed:
// by the claims the connection has now, not those it subscribed with.
func (p *pump) claim(items []bridge.Notification, after bridge.Seq, forgets, room int) []Message {
	c := p.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead || p.gone {
		return nil
	}
	// A SUBSCRIBE with since moved it meanwhile, or a mute or delete was committed.
	if p.stream == nil && (p.pos != after || p.forgets != forgets) {
		p.behind = true
		return nil
	}
	if len(items) == room || p.stream != nil && p.stream.more {
		p.behind = true
	}
	now := time.Now()
	if !c.hub.fresh(now) { // the poll that succeeds next wakes it
		p.unread()
		return nil
	}
	// The connection's other pumps read at the same time, and may have taken the
	// room. step parks p where none is left.
	if left := p.room(); len(items) > left {
		if p.stream != nil { // its position is behind all of items
			p.unread()
			return nil
		}
		p.behind, p.cache = true, nil
		items = items[:left]
	}
	if p.stream != nil {
		p.lookAgain(len(items))
	}
	if p.stream != nil && p.stream.lags(items, now, c.hub.o.MaxLag) {
		c.endLocked(bridge.EndSlow)
		return nil
	}
	if !c.valid(now) {
		c.endLocked(bridge.EndExpired)
		return nil
	}
	ms := make([]Message, 0, len(items))
	for i := range items {
		n := &items[i]
		if !c.claims.MayReceive(n.User) {
			c.endLocked(bridge.EndExpired)
			return nil
		}
		if p.isOwn() && p.sub.QoS > 0 && (!p.win.admits(n.Seq) || c.left.uses(PacketID(n.Seq))) {
			p.behind, p.cache, p.held = true, nil, true
			break
		}
		ms = append(ms, p.message(n))
	}
	return ms
}

// unread has what was read last read again; c.mu is held.
func (p *pump) unread() {
	p.behind, p.cache = true, nil
	if p.stream != nil {
		p.stream.place = p.stream.was
	}
}

// message puts n in flight; c.mu is held.
func (p *pump) message(n *bridge.Notification) Message {
	c := p.c
	m := Message{Notification: n, Topic: p.filter, QoS: p.sub.QoS, SubID: p.sub.ID, Epoch: c.hub.o.Epoch(),
		Retain: p.sub.RetainAsPublished}
	if p.stream != nil {
		m.Topic = c.hub.o.Topics.Status(n.User)
		m.Retain = m.Retain || p.stream.retained
	} else {
		p.pos = n.Seq
		m.Dup = m.QoS > 0 && n.Seq <= p.dupUpTo
		p.sent = max(p.sent, n.Seq)
	}
	if m.QoS == 0 {
		return m
	}
	if c.inflight() == 0 {
		c.since = time.Now()
	}
	if p.isOwn() {
		p.win.add(n.Seq)
		m.PacketID = PacketID(n.Seq)
	} else {
		m.PacketID = c.aux.take()
	}
	return m
}

// send writes ms; false where the connection is gone.
func (p *pump) send(ms []Message) bool {
	c := p.c
	if err := c.link.Send(ms); err != nil {
		c.mu.Lock()
		c.dead, p.running = true, false
		c.mu.Unlock()
		return false
	}
	c.hub.figures.sent.Add(int64(len(ms)))
	if observe := c.hub.o.Observe; observe != nil {
		now := time.Now()
		for i := range ms {
			// What was appended before the device came is history, not live.
			if m := &ms[i]; !m.CreatedAt.Before(c.at) {
				observe(max(0, now.Sub(m.CreatedAt)))
			}
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	left := false
	for i := range ms {
		m := &ms[i]
		if m.Delivered || m.QoS == 0 {
			continue
		}
		left = true
		c.hub.figures.oversize.Add(1)
		if m.PacketID > ownIDs {
			c.aux.complete(m.PacketID)
		} else {
			p.win.drop(m.Seq)
			c.left.drop(m.Seq)
		}
	}
	if p.isOwn() {
		c.moveCursor()
	}
	if left {
		if c.inflight() == 0 {
			c.since = time.Time{} // nothing to acknowledge, so no silence
		}
		c.roomCame()
	}
	return true
}
