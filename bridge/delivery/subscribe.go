package delivery

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// SubscribeRequest is one filter of a SUBSCRIBE.
type SubscribeRequest struct {
	Filter string
	bridge.Subscription
	RetainHandling byte // 0, 1 or 2 (MQTT 5 §3.8.3.1)
}

// maxOthers is how many topics besides the own one a connection may follow.
const maxOthers = 16

// May tells whether the connection's claims allow the filter; see [Topics.Parse].
func (c *Conn) May(filter string) bool {
	u, everyone, ok := c.hub.o.Topics.Parse(filter)
	if !ok {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.claims.Expired(time.Now()) {
		return false
	}
	if everyone {
		return c.claims.Has(bridge.ScopeRead)
	}
	return c.claims.MayReceive(u)
}

// Subscribe stores the subscriptions of one SUBSCRIBE packet, and replays what came
// after since where that is not nil, in place of the retained message. Where the
// i-th error is nil the SUBACK may grant rs[i]; nothing is sent for it before
// [Conn.Activate]. An error is ErrForbidden where May is false, ErrTooMany past 16
// topics of others, and ErrUnavailable while the database is unavailable.
//
// The database's work is bounded by the packet, not by its filters: one transaction
// for the own topic and one statement for all others, each filter once.
func (c *Conn) Subscribe(ctx context.Context, rs []SubscribeRequest, since *bridge.Seq) []error {
	distinct, index := distinctFilters(rs)
	errs := make([]error, len(distinct))
	var reads []*subscribing // topics that are read, not stored
	for i, r := range distinct {
		u, everyone, _ := c.hub.o.Topics.Parse(r.Filter)
		switch {
		case !c.May(r.Filter):
			errs[i] = fmt.Errorf("subscribe: %w", bridge.ErrForbidden)
		case everyone:
			errs[i] = c.subscribeEveryone(ctx, r, since)
		case u == c.device.User && c.persistent:
			errs[i] = c.subscribeOwn(ctx, r, since)
		default:
			var s *subscribing
			if s, errs[i] = c.attach(r, u, nil); errs[i] == nil {
				s.err = &errs[i]
				reads = append(reads, s)
			}
		}
	}
	c.subscribeReads(ctx, reads, since)
	out := make([]error, len(rs))
	for i := range rs {
		out[i] = errs[index[i]]
	}
	return out
}

// distinctFilters merges equal filters into what they come to one after another
// ([MQTT-3.8.4-4]): the last one's options stay, and a retained message that any
// of them asks for is due. The i-th of rs is the index[i]-th of distinct.
func distinctFilters(rs []SubscribeRequest) (distinct []SubscribeRequest, index []int) {
	index = make([]int, len(rs))
	known := make(map[string]int, len(rs))
	for i, r := range rs {
		r.QoS = min(r.QoS, 1)
		j, again := known[r.Filter]
		if !again {
			j = len(distinct)
			known[r.Filter] = j
			distinct = append(distinct, r)
		} else {
			if r.RetainHandling != 0 { // 1 sends it with a new subscription only, and this one exists
				r.RetainHandling = distinct[j].RetainHandling
			}
			distinct[j] = r
		}
		index[i] = j
	}
	return distinct, index
}

// subscribing is a filter between the SUBSCRIBE and the database's response.
type subscribing struct {
	SubscribeRequest
	pump    *pump
	existed bool // the connection was subscribed before
	forgets int
	err     *error
}

// find returns the pump of a filter; c.mu is held.
func (c *Conn) find(filter string) *pump {
	if c.own != nil && c.own.filter == filter {
		return c.own
	}
	for _, p := range c.others {
		if p.filter == filter {
			return p
		}
	}
	return nil
}

// errEnded is the error of a SUBSCRIBE whose connection ended meanwhile.
var errEnded = fmt.Errorf("the connection ended: %w", bridge.ErrConflict)

// attach finds or makes the pump of a filter, inactive while the database is
// asked: a hint that comes meanwhile is noted, so nothing falls between the head
// that is read and the first live message. stream is that of an operator's
// wildcard subscription, nil for one user's topic. It fails with ErrTooMany, and
// with ErrConflict on a connection that ended.
//
// Close removes from the hub the pumps it finds. One that is registered after
// Close looked would stay there for good, with its connection, so attach looks
// again: whichever of the two comes last removes it.
func (c *Conn) attach(r SubscribeRequest, u bridge.UserID, stream *stream) (s *subscribing, err error) {
	c.mu.Lock()
	own := stream == nil && u == c.device.User
	s = &subscribing{SubscribeRequest: r, pump: c.find(r.Filter)}
	switch {
	case c.dead:
		err = errEnded
	case s.pump != nil:
		s.existed, s.forgets = true, s.pump.forgets
	case !own && len(c.others) >= maxOthers:
		err = bridge.ErrTooMany
	default:
		s.pump = c.newPump(r.Filter, u)
		s.pump.stream = stream
		if own {
			c.own = s.pump
		} else {
			c.others = append(slices.Clip(c.others), s.pump)
		}
	}
	c.mu.Unlock()
	if err == nil && !s.existed {
		c.hub.add(s.pump)
		c.mu.Lock()
		if c.closed {
			err = errEnded
		}
		c.mu.Unlock()
		if err != nil {
			c.hub.drop(s.pump)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	return s, nil
}

// undo takes a subscription back that the database did not take.
func (c *Conn) undo(s *subscribing) {
	if !s.existed {
		c.detach(s.pump)
	}
}

// subscribeOwn stores the subscription of a persistent device to its own topic.
func (c *Conn) subscribeOwn(ctx context.Context, r SubscribeRequest, since *bridge.Seq) error {
	s, err := c.attach(r, c.device.User, nil)
	if err != nil {
		return err
	}
	if since != nil {
		// The cursor goes back: nothing that was acknowledged before may be
		// written after.
		var release func()
		release, err = c.holdCursor(ctx)
		defer release()
	}
	var start bridge.Start
	if err == nil {
		start, err = c.storeOwn(ctx, r, since)
	}
	if err != nil {
		c.undo(s)
		return fmt.Errorf("subscribe %s: %w", c.device.User, err)
	}
	c.begin(s, start, since)
	return nil
}

func (c *Conn) storeOwn(ctx context.Context, r SubscribeRequest, since *bridge.Seq) (bridge.Start, error) {
	head, stale, err := c.hub.o.Sessions.Subscribe(ctx, c.device, c.gen, r.Subscription, since)
	if stale {
		c.end(bridge.EndTakenOver)
		return bridge.Start{}, fmt.Errorf("the session was taken over: %w", bridge.ErrConflict)
	}
	start := bridge.Start{Head: head, After: head.Last}
	if err == nil && since != nil {
		start.After, err = c.hub.o.Log.Skip(ctx, c.device.User, max(0, min(*since, head.Last)), c.hub.o.ReplayCap)
	}
	return start, err
}

// subscribeReads starts subscriptions of which nothing is stored: to other users'
// topics, and to the own one without a session.
func (c *Conn) subscribeReads(ctx context.Context, all []*subscribing, since *bridge.Seq) {
	if len(all) == 0 {
		return
	}
	users := make([]bridge.UserID, len(all))
	for i, s := range all {
		users[i] = s.pump.user
	}
	starts, err := c.hub.o.Log.Starts(ctx, users, since, c.hub.o.ReplayCap)
	for _, s := range all {
		if err != nil {
			c.undo(s)
			*s.err = fmt.Errorf("subscribe to %s: %w", s.pump.user, err)
			continue
		}
		c.begin(s, starts[s.pump.user], since)
	}
}

// begin starts the subscription where the database said.
func (c *Conn) begin(s *subscribing, start bridge.Start, since *bridge.Seq) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := s.pump
	own := p == c.own
	if own {
		c.held = false
	}
	if since != nil || !s.existed {
		p.pos = start.After
		if own {
			p.dupUpTo = max(p.dupUpTo, p.sent)
			c.leaveOpen(p)
			c.acked = start.After
		}
		if own && since != nil && start.After > *since {
			c.jumped(start.After)
		}
		p.restart(start.After < start.Last)
	}
	p.adopt(s.SubscribeRequest, s.existed, since == nil, start.Latest, s.forgets)
}

// leaveOpen empties p's window, whose messages the device has yet to acknowledge:
// they keep their packet ids and their room (MQTT 5 [MQTT-3.3.4-9], [MQTT-3.10.4-3]).
// A replay that comes to one of them waits for its acknowledgement before it sends
// it again: on one connection nothing may be resent ([MQTT-4.4.0-1]). c.mu is held.
func (c *Conn) leaveOpen(p *pump) {
	c.left.seqs = slices.Concat(c.left.seqs, p.win.seqs)
	p.win.seqs = nil
}

// restart forgets what hints carried for another position: it is to be read from
// the log. c.mu is held.
func (p *pump) restart(behind bool) {
	p.behind = p.behind || len(p.cache) > 0 || behind
	p.cache, p.held = nil, false
}

// adopt takes over what a SUBSCRIBE asked for; c.mu is held.
func (p *pump) adopt(r SubscribeRequest, existed, retained bool, latest *bridge.Notification, forgets int) {
	p.sub = r.Subscription
	p.active = false // subscribed again: what it asks for waits for this SUBACK, too
	due := r.RetainHandling == 0 || r.RetainHandling == 1 && !existed
	if retained && due && latest != nil {
		p.wantRetained, p.retained, p.retainedAt = true, latest, time.Time{}
		if p.forgets == forgets { // else it is read again: it may be deleted
			p.retainedAt = time.Now()
		}
	}
}

// Activate starts delivery of the filter, after its SUBACK was written: first
// the retained copy, where one is due.
func (c *Conn) Activate(filter string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.find(filter); p != nil {
		p.active = true
		p.start()
	}
}

// Unsubscribe ends delivery of the filter; existed is false where there was none.
func (c *Conn) Unsubscribe(ctx context.Context, filter string) (existed bool, err error) {
	c.mu.Lock()
	p := c.find(filter)
	own := p != nil && p.isOwn()
	c.mu.Unlock()
	if p == nil {
		return false, nil
	}
	if own && c.persistent {
		if err := c.hub.o.Sessions.Unsubscribe(ctx, c.device, c.gen); err != nil {
			return true, fmt.Errorf("unsubscribe %s: %w", c.device.User, err)
		}
	}
	c.detach(p)
	return true, nil
}

// detach removes p from its connection and the hub.
func (c *Conn) detach(p *pump) {
	c.mu.Lock()
	p.gone = true
	if c.own == p {
		c.leaveOpen(p)
		c.own = nil
	} else {
		c.others = without(c.others, p)
	}
	c.progress()
	c.mu.Unlock()
	c.hub.drop(p)
}

// add makes p known to the hub.
func (h *Hub) add(p *pump) {
	if p.stream != nil {
		h.streams.add(p)
		return
	}
	h.change(p.user, func(e *entry) { e.pumps = append(slices.Clip(e.pumps), p) })
}

// drop makes the hub forget p.
func (h *Hub) drop(p *pump) {
	if p.stream != nil {
		h.streams.remove(p)
		return
	}
	h.change(p.user, func(e *entry) { e.pumps = without(e.pumps, p) })
}
