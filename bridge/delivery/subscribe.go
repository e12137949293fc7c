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

	// State asks for state messages from that rev of the inbox on; nil ends them. It has no
	// effect on topics of other users.
	State *bridge.Rev
}

// maxOthers is how many topics a connection may follow in addition to its own.
const maxOthers = 16

// May reports whether the connection's claims allow the filter; see
// [bridge.Topics.Parse].
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

// Subscribe stores the subscriptions of one SUBSCRIBE packet. Where since is not nil, it
// replays what came after since, in place of the retained message. Where the i-th error
// is nil the SUBACK may grant rs[i]; nothing is sent for it before [Conn.Activate]. An
// error is ErrForbidden where May is false, ErrTooMany past 16 topics of other users,
// ErrConflict where the connection ended, and ErrUnavailable while the database is
// unavailable.
//
// The database does a bounded amount of work for a packet, however many filters it has:
// one transaction for the own topic and one statement for all others.
func (c *Conn) Subscribe(ctx context.Context, rs []SubscribeRequest, since *bridge.Seq) []error {
	distinct, index := distinctFilters(rs)
	errs := make([]error, len(distinct))
	var reads []*pendingSubscription // topics that are read, not stored
	for i, r := range distinct {
		u, everyone, _ := c.hub.o.Topics.Parse(r.Filter)
		switch {
		case !c.May(r.Filter):
			errs[i] = fmt.Errorf("subscribe: %w", bridge.ErrForbidden)
		case everyone:
			errs[i] = c.subscribeFeed(ctx, r, since)
		case u == c.device.User && c.persistent:
			errs[i] = c.subscribeOwn(ctx, r, since)
		default:
			var s *pendingSubscription
			if s, errs[i] = c.attach(r, u); errs[i] == nil {
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

// distinctFilters merges equal filters into one that has the effect of all of them in
// order ([MQTT-3.8.4-4]): the options of the last, and the retained message where any of
// them asks for it. The i-th of rs is the index[i]-th of distinct.
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

// subscribing is a user's topic between the SUBSCRIBE and the database's response.
type pendingSubscription struct {
	SubscribeRequest
	log           *userLog
	existed       bool // the connection was subscribed before
	invalidations int
	err           *error
}

// find returns the pump of a filter; c.mu is held.
func (c *Conn) findPump(filter string) *pump {
	for p := range c.pumps {
		if p.filter == filter {
			return p
		}
	}
	return nil
}

// newOwnLog returns the source of the own topic, with its pump.
func (c *Conn) newOwnLog(filter string) *ownLog {
	l := &ownLog{userLog: userLog{user: c.device.User}}
	l.p = &pump{c: c, filter: filter, source: l}
	return l
}

// errEnded is the error of a SUBSCRIBE whose connection ended meanwhile.
var errEnded = fmt.Errorf("subscribe: the connection ended: %w", bridge.ErrConflict)

// attach finds or makes the pump of a user's topic. A new one is not granted while the
// database is asked, but notes the hints that come meanwhile, so nothing falls between
// the head that is read and the first live message. It fails as [Conn.enter] does.
func (c *Conn) attach(r SubscribeRequest, u bridge.UserID) (*pendingSubscription, error) {
	s := &pendingSubscription{SubscribeRequest: r}
	if s.log, s.invalidations, s.existed = c.findLog(r.Filter); s.existed {
		return s, nil
	}
	if u == c.device.User {
		own := c.newOwnLog(r.Filter)
		s.log = &own.userLog
		return s, c.addPump(own.p, own)
	}
	s.log = &userLog{user: u}
	s.log.p = &pump{c: c, filter: r.Filter, source: s.log}
	return s, c.addPump(s.log.p, nil)
}

// logOf returns the log of a subscribed filter of one user, and its forgets.
func (c *Conn) findLog(filter string) (l *userLog, forgets int, found bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.findPump(filter)
	if p == nil || c.stopped {
		return nil, 0, false
	}
	switch of := p.source.(type) {
	case *ownLog:
		l = &of.userLog
	case *userLog:
		l = of
	}
	return l, l.invalidations, true
}

// enter adds a new pump to c and to the hub; own is its source where that is the own
// log. It fails with ErrTooMany, and with ErrConflict on a connection that ended.
//
// Close removes from the hub the pumps it finds. One that is registered after
// Close looked would stay there for good, with its connection, so enter looks
// again: whichever of the two comes last removes it.
func (c *Conn) addPump(p *pump, own *ownLog) error {
	c.mu.Lock()
	var err error
	switch {
	case c.stopped:
		err = errEnded
	case own != nil:
		c.own = own
	case len(c.others) >= maxOthers:
		err = fmt.Errorf("subscribe: %w", bridge.ErrTooMany)
	default:
		c.others = append(slices.Clip(c.others), p)
	}
	c.mu.Unlock()
	if err != nil {
		return err
	}
	p.source.register(c.hub)
	c.mu.Lock()
	ended := c.closed
	c.mu.Unlock()
	if ended {
		p.source.unregister(c.hub)
		return errEnded
	}
	return nil
}

// undo removes a new subscription that the database did not store.
func (c *Conn) rollBack(s *pendingSubscription) {
	if !s.existed {
		c.detach(s.log.p)
	}
}

// subscribeOwn stores the subscription of a persistent device to its own topic.
func (c *Conn) subscribeOwn(ctx context.Context, r SubscribeRequest, since *bridge.Seq) error {
	s, err := c.attach(r, c.device.User)
	if err != nil {
		return err
	}
	if since != nil {
		// The cursor goes back. A write of what was acknowledged before that would move
		// it forward again.
		var release func()
		release, err = c.freezeCursor(ctx)
		defer release()
	}
	var start bridge.Start
	if err == nil {
		start, err = c.storeOwn(ctx, r, since)
	}
	if err != nil {
		c.rollBack(s)
		return fmt.Errorf("subscribe %s: %w", c.device.User, err)
	}
	c.startFrom(s, start, since)
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

// subscribeReads starts subscriptions that are not stored: to other users' topics, and
// to the own one of a device without a session.
func (c *Conn) subscribeReads(ctx context.Context, all []*pendingSubscription, since *bridge.Seq) {
	if len(all) == 0 {
		return
	}
	users := make([]bridge.UserID, len(all))
	for i, s := range all {
		users[i] = s.log.user
	}
	starts, err := c.hub.o.Log.Starts(ctx, users, since, c.hub.o.ReplayCap)
	for _, s := range all {
		if err != nil {
			c.rollBack(s)
			*s.err = fmt.Errorf("subscribe to %s: %w", s.log.user, err)
			continue
		}
		c.startFrom(s, starts[s.log.user], since)
	}
}

// begin sets the position that the database returned; delivery starts with
// [Conn.Activate].
func (c *Conn) startFrom(s *pendingSubscription, start bridge.Start, since *bridge.Seq) {
	c.setPosition(s, start, since)
	if s.log.user == c.device.User {
		c.follow(s.State)
	}
}

func (c *Conn) setPosition(s *pendingSubscription, start bridge.Start, since *bridge.Seq) {
	c.mu.Lock()
	defer c.mu.Unlock()
	own := c.own
	if own != nil && own.p != s.log.p {
		own = nil
	}
	if own != nil {
		c.frozen = false
	}
	if since != nil || !s.existed {
		if own != nil {
			own.dupUpTo, own.skips = max(own.dupUpTo, own.sent), nil
			c.retireWindow(own)
			c.acked, c.ackedFrom = start.After, start.After
		}
		s.log.moveTo(start.After, start.After < start.Last)
		if own != nil && since != nil && start.After > *since {
			c.setCursor(start.After)
		}
	}
	s.log.p.applyRequest(s, since == nil, start.Latest)
}

// leaveOpen empties the window of the own log, whose messages the device has yet to
// acknowledge: they keep their packet ids and their room (MQTT 5 [MQTT-3.3.4-9],
// [MQTT-3.10.4-3]). A replay that comes to one of them waits for its acknowledgement
// before it sends it again: on one connection nothing may be resent ([MQTT-4.4.0-1]).
// c.mu is held.
func (c *Conn) retireWindow(own *ownLog) {
	c.retired.flights = slices.Concat(c.retired.flights, own.win.flights)
	own.win.flights = nil
}

// adopt takes over what a SUBSCRIBE asked for, until [Conn.Activate]; c.mu is held.
func (p *pump) applyRequest(s *pendingSubscription, retained bool, latest *bridge.Notification) {
	p.sub = s.Subscription
	p.granted = false // subscribed again: what it asks for waits for this SUBACK, too
	due := s.RetainHandling == 0 || s.RetainHandling == 1 && !s.existed
	if retained && due && latest != nil {
		p.retained = &retainedCopy{log: s.log, latest: latest}
		if s.log.invalidations == s.invalidations { // else it is read again: it may be deleted
			p.retained.at = time.Now()
		}
	}
}

// Activate starts delivery of the filter, after its SUBACK was written: first
// the retained copy, where one is due. The first state message follows within stateRest.
func (c *Conn) Activate(filter string) {
	c.mu.Lock()
	p := c.findPump(filter)
	if p != nil {
		p.granted = true
		p.wake()
	}
	follows := p != nil && c.isOwn(p) && c.follower != nil && c.follower.enabled
	c.mu.Unlock()
	if follows {
		c.hub.stateChanged(c.device.User)
	}
}

// Unsubscribe ends delivery of the filter; existed is false where there was none.
func (c *Conn) Unsubscribe(ctx context.Context, filter string) (existed bool, err error) {
	c.mu.Lock()
	p := c.findPump(filter)
	own := p != nil && c.isOwn(p)
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
	p.state = closed
	own := c.isOwn(p)
	if own {
		if c.follower != nil {
			c.follower.next = nil
		}
		c.retireWindow(c.own)
		c.own = nil
	} else {
		c.others = without(c.others, p)
	}
	c.restartAckWait()
	c.mu.Unlock()
	p.source.unregister(c.hub)
	if own {
		c.follow(nil)
	}
}

// subscribeFeed subscribes an operator to all users' topics.
func (c *Conn) subscribeFeed(ctx context.Context, r SubscribeRequest, since *bridge.Seq) error {
	c.mu.Lock()
	former := c.findPump(r.Filter)
	c.mu.Unlock()
	pos, err := c.hub.o.Feed.Now(ctx)
	if err != nil {
		return fmt.Errorf("subscribe to everyone: %w", err)
	}
	if former != nil { // starts over, as MQTT 5 §3.8.4 replaces the subscription
		c.detach(former)
	}
	snapshot := since == nil && (r.RetainHandling == 0 || r.RetainHandling == 1 && former == nil)
	f := &feed{feedCursor: feedCursor{pos: pos, live: !snapshot}, caughtUp: !snapshot, behind: true}
	f.p = &pump{c: c, filter: r.Filter, source: f, sub: r.Subscription}
	return c.addPump(f.p, nil)
}
