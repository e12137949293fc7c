package delivery

import (
	"context"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// retainedCopy is a topic's retained message for a device that has subscribed. Retained
// messages are not stored separately: the retained message is the user's latest notification.
// It is read at SUBSCRIBE, and again if the copy had to wait.
type retainedCopy struct {
	log    *userLog
	latest *bridge.Notification // nil: there is none any more
	at     time.Time            // when latest was read; zero: it may be muted or deleted by now
}

// copyDue reports whether the retained copy is to be sent now. The copy waits until a replay
// of the own log has reached it. Otherwise a device that ignores seqs below the highest one
// it has seen would drop the replay. c.mu is held.
func (p *pump) copyDue() bool {
	r := p.retained
	if r == nil {
		return false
	}
	return !p.c.isOwn(p) || r.latest == nil || r.latest.Seq <= r.log.pos || !r.log.due()
}

// sendRetained sends the retained copy. The copy is not part of the ordered delivery and does
// not move the cursor, so its packet id is from the second range. The caller holds c.mu, and
// sendRetained releases it. sendRetained returns false if the goroutine has to end.
func (p *pump) sendRetained() bool {
	c, r := p.c, p.retained
	if r.latest != nil && r.latest.Expired(c.hub.Now()) {
		r.at = time.Time{} // an earlier notification is retained now
	}
	if time.Since(r.at) > bridge.HintLife { // it had to wait, and may be deleted by now
		invalidations := r.log.invalidations
		c.mu.Unlock()
		ctx, cancel := context.WithTimeout(context.Background(), c.hub.o.Query)
		head, err := c.hub.o.Log.Head(ctx, r.log.user)
		cancel()
		if err != nil {
			p.fail(err)
			return false
		}
		c.mu.Lock()
		if r.latest = head.Latest; r.log.invalidations == invalidations {
			r.at = time.Now()
		}
		c.mu.Unlock()
		return true // step decides again whether it may be sent
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
