package delivery

import (
	"context"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// retainedCopy is a topic's retained message on its way to a device that subscribed.
// The message is not stored anywhere: it is the user's latest row, read when somebody
// subscribes, and again where the copy had to wait.
type retainedCopy struct {
	log    *userLog
	latest *bridge.Notification // nil: there is none any more
	at     time.Time            // when latest was read; zero: it may have been muted or deleted since
}

// copyDue reports whether the retained copy is to be sent now. One that a replay of the
// own log still comes to waits for it: a device that takes every higher seq for the last
// would drop the replay. c.mu is held.
func (p *pump) copyDue() bool {
	r := p.retained
	if r == nil {
		return false
	}
	return !p.c.isOwn(p) || r.latest == nil || r.latest.Seq <= r.log.pos || !r.log.due()
}

// sendRetained sends the retained copy, the response to a SUBSCRIBE. It stands outside
// the order and never moves a cursor: its packet id is of the second range. c.mu is
// held, and released. It returns false where the goroutine has to end.
func (p *pump) sendRetained() bool {
	c, r := p.c, p.retained
	if r.latest != nil && r.latest.Expired(c.hub.Now()) {
		r.at = time.Time{} // an earlier one is retained now
	}
	if time.Since(r.at) > bridge.HintLife { // it waited for the window: a delete may have come
		forgets := r.log.invalidations
		c.mu.Unlock()
		ctx, cancel := context.WithTimeout(context.Background(), c.hub.o.Query)
		head, err := c.hub.o.Log.Head(ctx, r.log.user)
		cancel()
		if err != nil {
			p.fail(err)
			return false
		}
		c.mu.Lock()
		if r.latest = head.Latest; r.log.invalidations == forgets {
			r.at = time.Now()
		}
		c.mu.Unlock()
		return true // decides again whether it may be sent
	}
	p.retained = nil
	if r.latest == nil {
		c.mu.Unlock()
		return true
	}
	if !c.claims.MayReceive(r.latest.User) || !c.valid(time.Now()) {
		c.endLocked(bridge.EndExpired)
		c.mu.Unlock()
		return false
	}
	m := p.message(r.latest)
	m.Retain = true
	if m.QoS > 0 {
		if c.inflight() == 0 {
			c.ackWaitStart = time.Now()
		}
		m.PacketID = c.aux.acquire()
	}
	p.state = sending
	c.mu.Unlock()
	return p.send([]Message{m})
}
