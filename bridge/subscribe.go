package bridge

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// SubscribeRequest is one filter of a SUBSCRIBE.
type SubscribeRequest struct {
	Filter string
	Subscription
	RetainHandling byte // 0, 1 or 2 (MQTT 5 §3.8.3.1)
	Since          *Seq // the since user property: replay after it, in place of the retained message
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
		return c.claims.Has(ScopeRead)
	}
	return c.claims.MayReceive(u)
}

// Subscribe stores the subscription. When it returns nil the SUBACK may grant
// it; nothing is sent for it before [Conn.Activate]. It fails with ErrForbidden
// where May is false, with ErrTooMany past 16 topics of others, and with
// ErrUnavailable while the database is away.
func (c *Conn) Subscribe(ctx context.Context, r SubscribeRequest) error {
	if !c.May(r.Filter) {
		return fmt.Errorf("subscribe: %w", ErrForbidden)
	}
	r.QoS = min(r.QoS, 1)
	u, everyone, _ := c.hub.o.Topics.Parse(r.Filter)
	switch {
	case everyone:
		return c.subscribeEveryone(ctx, r)
	case u == c.device.User:
		return c.subscribeOwn(ctx, r)
	default:
		return c.subscribeOther(ctx, r, u)
	}
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

// attach finds or makes the pump of a filter, inactive while the database is
// asked: a hint that comes meanwhile is noted, so nothing falls between the head
// that is read and the first live message.
func (c *Conn) attach(filter string, u UserID, own bool) (p *pump, existed bool, err error) {
	c.mu.Lock()
	if p = c.find(filter); p != nil {
		c.mu.Unlock()
		return p, true, nil
	}
	if !own && len(c.others) >= maxOthers {
		c.mu.Unlock()
		return nil, false, fmt.Errorf("subscribe: %w", ErrTooMany)
	}
	p = c.newPump(filter, u)
	if own {
		c.own = p
	} else {
		c.others = append(slices.Clip(c.others), p)
	}
	c.mu.Unlock()
	if u != "" {
		c.hub.change(u, func(e *entry) { e.pumps = append(slices.Clip(e.pumps), p) })
	}
	return p, false, nil
}

func (c *Conn) subscribeOwn(ctx context.Context, r SubscribeRequest) error {
	p, existed, err := c.attach(r.Filter, c.device.User, true)
	if err != nil {
		return err
	}
	forgets := p.forgotten()
	undo := func(err error) error {
		if !existed {
			c.detach(p)
		}
		return fmt.Errorf("subscribe %s: %w", c.device.User, err)
	}
	var head Head
	if c.persistent && existed && r.Since != nil {
		// The cursor goes back: nothing that was acknowledged before may be
		// written after.
		release, err := c.holdCursor(ctx)
		defer release()
		if err != nil {
			return undo(err)
		}
	}
	if c.persistent {
		var stale bool
		head, stale, err = c.hub.o.Sessions.Subscribe(ctx, c.device, c.gen, r.Subscription, r.Since)
		if stale {
			c.end(EndTakenOver)
			return undo(fmt.Errorf("the session was taken over: %w", ErrConflict))
		}
	} else {
		head, err = c.hub.o.Log.Head(ctx, c.device.User)
	}
	if err != nil {
		return undo(err)
	}
	start := head.Last
	if r.Since != nil {
		from := max(0, min(*r.Since, head.Last))
		if start, err = c.hub.o.Log.Skip(ctx, c.device.User, from, c.hub.o.ReplayCap); err != nil {
			return undo(err)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = false
	if r.Since != nil || !existed {
		p.dupUpTo = max(p.dupUpTo, p.sent)
		c.leaveOpen(p, start)
		p.pos, c.acked = start, start
		if r.Since != nil && start > *r.Since {
			c.jumped(start)
		}
		p.restart(start < head.Last)
	}
	p.adopt(r, existed, head.Latest, forgets)
	return nil
}

func (c *Conn) subscribeOther(ctx context.Context, r SubscribeRequest, u UserID) error {
	p, existed, err := c.attach(r.Filter, u, false)
	if err != nil {
		return err
	}
	forgets := p.forgotten()
	head, err := c.hub.o.Log.Head(ctx, u)
	start := head.Last
	if err == nil && r.Since != nil {
		start, err = c.hub.o.Log.Skip(ctx, u, max(0, min(*r.Since, head.Last)), c.hub.o.ReplayCap)
	}
	if err != nil {
		if !existed {
			c.detach(p)
		}
		return fmt.Errorf("subscribe to %s: %w", u, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.Since != nil || !existed {
		p.pos = start
		p.restart(start < head.Last)
	}
	p.adopt(r, existed, head.Latest, forgets)
	return nil
}

// leaveOpen empties p's window, whose messages the device has yet to acknowledge:
// they keep their packet ids and their room (MQTT 5 [MQTT-3.3.4-9], [MQTT-3.10.4-3]).
// What is after start is sent again, under its old packet id. c.mu is held.
func (c *Conn) leaveOpen(p *pump, start Seq) {
	open := slices.Concat(c.left.seqs, p.win.seqs)
	c.left.seqs = slices.DeleteFunc(open, func(s Seq) bool { return s > start })
	p.win.seqs = nil
}

// restart forgets what hints carried for another position: it is to be read from
// the log. c.mu is held.
func (p *pump) restart(behind bool) {
	p.behind = p.behind || len(p.cache) > 0 || behind
	p.cache, p.held = nil, false
}

// adopt takes over what a SUBSCRIBE asked for; c.mu is held.
func (p *pump) adopt(r SubscribeRequest, existed bool, latest *Notification, forgets int) {
	p.sub = r.Subscription
	p.active = false // subscribed again: what it asks for waits for this SUBACK, too
	due := r.RetainHandling == 0 || r.RetainHandling == 1 && !existed
	if r.Since == nil && due && latest != nil {
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
		c.leaveOpen(p, p.sent)
		c.own = nil
	} else {
		c.others = without(c.others, p)
	}
	c.progress()
	c.mu.Unlock()
	c.hub.drop(p)
}

// drop makes the hub forget p.
func (h *Hub) drop(p *pump) {
	if p.stream != nil {
		h.streams.remove(p)
		return
	}
	h.change(p.user, func(e *entry) { e.pumps = without(e.pumps, p) })
}
