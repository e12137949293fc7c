package delivery

import (
	"context"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// SubscribeRequest is one filter of a SUBSCRIBE.
type SubscribeRequest struct {
	Filter string
	bridge.Subscription
	RetainHandling byte // 0, 1 or 2 (MQTT 5 §3.8.3.1)

	// State asks for state messages from that rev of the inbox on; nil: none. It has no
	// effect on topics of other users.
	State *bridge.Rev
}

// maxOthers is how many topics a connection may subscribe to in addition to its own.
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

// Subscribe stores the subscriptions of one SUBSCRIBE packet. With since, notifications after
// it are replayed, and the retained message is not sent. Subscribe returns an error or nil
// for each of rs. The SUBACK may grant those with nil, and nothing is sent for them before
// [Conn.Activate]. An error is ErrForbidden if [Conn.May] is false, ErrTooManySubscriptions past 16 topics
// of other users, ErrConflict if the connection has ended, and ErrUnavailable while the
// database is unavailable.
//
// However many filters a packet has, the database does a bounded amount of work for it: one
// statement records the subscriptions to other users' topics in the audit log, one
// transaction stores the own topic, and one statement reads all others. A subscription that
// cannot be recorded fails.
func (c *Conn) Subscribe(ctx context.Context, rs []SubscribeRequest, since *bridge.Seq) []error {
	distinct, index := distinctFilters(rs)
	errs := make([]error, len(distinct))
	unrecorded := c.recordReads(ctx, distinct)
	var reads []*pendingSubscription // those that are not stored
	for i, r := range distinct {
		u, everyone, _ := c.hub.o.Topics.Parse(r.Filter)
		switch {
		case !c.May(r.Filter):
			errs[i] = fmt.Errorf("subscribe: %w", bridge.ErrForbidden)
		case unrecorded != nil && u != c.device.User:
			errs[i] = unrecorded
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

// recordReads records in the audit log which other users' topics rs subscribes to, because a
// subscription shows a user's latest notification, and with since the user's history.
func (c *Conn) recordReads(ctx context.Context, rs []SubscribeRequest) error {
	if c.hub.o.Audit == nil {
		return nil
	}
	host, _, err := net.SplitHostPort(c.request.Remote)
	if err != nil {
		host = c.request.Remote
	}
	c.mu.Lock()
	jti := c.claims.ID
	c.mu.Unlock()
	var entries []bridge.AuditEntry
	for _, r := range rs {
		if u, _, _ := c.hub.o.Topics.Parse(r.Filter); u != c.device.User && c.May(r.Filter) {
			entries = append(entries, bridge.AuditEntry{Sub: c.device.User, JTI: jti, Action: bridge.AuditHistory, User: u, Remote: host, Detail: "SUBSCRIBE " + r.Filter})
		}
	}
	if len(entries) == 0 {
		return nil
	}
	return c.hub.o.Audit.Record(ctx, entries...)
}

// distinctFilters merges equal filters into one with the effect of all of them in order
// ([MQTT-3.8.4-4]): the options of the last one, and the retained message if any of them asks
// for it. rs[i] became distinct[index[i]].
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
			if r.RetainHandling != 0 { // 1 asks for it in a new subscription only, and this filter is no longer new
				r.RetainHandling = distinct[j].RetainHandling
			}
			distinct[j] = r
		}
		index[i] = j
	}
	return distinct, index
}

// pendingSubscription is a subscription to one user's topic until the database has responded.
type pendingSubscription struct {
	SubscribeRequest
	log           *userLog
	existed       bool   // the connection was subscribed already
	invalidations int    // those of log before the database was asked
	err           *error // where to store the error
}

// findPump returns the pump of a filter, or nil. c.mu is held.
func (c *Conn) findPump(filter string) *pump {
	for p := range c.pumps {
		if p.filter == filter {
			return p
		}
	}
	return nil
}

// newOwnLog returns a new source of the own topic, with its pump.
func (c *Conn) newOwnLog(filter string) *ownLog {
	l := &ownLog{userLog: userLog{user: c.device.User}}
	l.p = &pump{c: c, filter: filter, source: l}
	return l
}

// errEnded is the error of a SUBSCRIBE whose connection has ended meanwhile.
var errEnded = fmt.Errorf("subscribe: the connection has ended: %w", bridge.ErrConflict)

// attach finds or creates the pump of a user's topic. A new pump does not send yet, but it is
// registered before the database is asked, so that it receives the hints meanwhile. Nothing
// is therefore missed between the head that is read and the first live message. attach fails
// as [Conn.addPump] does.
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

// findLog returns the source of a filter that c is subscribed to, and its invalidations.
func (c *Conn) findLog(filter string) (l *userLog, invalidations int, found bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.findPump(filter)
	if p == nil || c.stopped {
		return nil, 0, false
	}
	switch source := p.source.(type) {
	case *ownLog:
		l = &source.userLog
	case *userLog:
		l = source
	}
	return l, l.invalidations, true
}

// addPump adds a new pump to c and registers it. own is its source if that is the own log,
// otherwise nil. addPump fails with ErrTooManySubscriptions, or with ErrConflict if the connection has
// ended.
//
// Close unregisters the pumps that it finds. A pump that is registered later would stay in
// the hub forever, and with it the connection. So addPump checks after registering whether
// the connection was closed, and if so unregisters the pump itself.
func (c *Conn) addPump(p *pump, own *ownLog) error {
	c.mu.Lock()
	var err error
	switch {
	case c.stopped:
		err = errEnded
	case own != nil:
		c.own = own
	case len(c.others) >= maxOthers:
		err = fmt.Errorf("subscribe: %w", bridge.ErrTooManySubscriptions)
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

// rollBack removes a new subscription after the database has failed.
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
		// The cursor is about to go back. A pending write of earlier acknowledgements would
		// move it forward again.
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

// storeOwn stores the subscription and returns where it starts.
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

// subscribeReads starts subscriptions that are not stored: subscriptions to other users'
// topics, and to the own topic of a device without a session.
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

// startFrom sets the position to start, which the database returned. Delivery starts with
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

// retireWindow empties the window of the own topic, because a new subscription begins or the
// device has unsubscribed. The messages in flight are still to be acknowledged, so they keep
// their packet ids and their room ([MQTT-3.3.4-9], [MQTT-3.10.4-3]). When a replay reaches
// such a message, the pump waits for its acknowledgement before sending it again, because
// nothing may be resent on the same connection ([MQTT-4.4.0-1]). c.mu is held.
func (c *Conn) retireWindow(own *ownLog) {
	c.retired.flights = slices.Concat(c.retired.flights, own.win.flights)
	own.win.flights = nil
}

// applyRequest sets what a SUBSCRIBE asked for, and stops sending until [Conn.Activate]. c.mu
// is held.
func (p *pump) applyRequest(s *pendingSubscription, retained bool, latest *bridge.Notification) {
	p.sub = s.Subscription
	p.granted = false // also after subscribing again: nothing is sent before this SUBACK
	due := s.RetainHandling == 0 || s.RetainHandling == 1 && !s.existed
	if retained && due && latest != nil {
		p.retained = &retainedCopy{log: s.log, latest: latest}
		if s.log.invalidations == s.invalidations { // otherwise latest may be deleted, and is read again
			p.retained.at = time.Now()
		}
	}
}

// Activate starts delivery for a filter. Call it after the SUBACK was written. The retained
// copy is sent first, if one is due. The first state message follows after stateDelay.
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

// Unsubscribe ends delivery for a filter. existed is false if there was no such subscription.
// It fails with ErrUnavailable, and then the subscription remains.
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

// detach closes p and removes it from its connection and the hub.
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
		return fmt.Errorf("subscribe to all users: %w", err)
	}
	if former != nil { // MQTT 5 §3.8.4: the new subscription replaces it and starts over
		c.detach(former)
	}
	snapshot := since == nil && (r.RetainHandling == 0 || r.RetainHandling == 1 && former == nil)
	f := &feed{feedCursor: feedCursor{pos: pos, live: !snapshot}, caughtUp: !snapshot, behind: true}
	f.p = &pump{c: c, filter: r.Filter, source: f, sub: r.Subscription}
	return c.addPump(f.p, nil)
}
