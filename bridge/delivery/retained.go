package delivery

import (
	"context"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// The retained message of a topic is not stored anywhere: it is the user's
// latest row, read when somebody subscribes.

// copyDue reports whether the retained copy is to be sent now. One that a replay
// under way still comes to waits until then: a device that takes every higher seq
// for the last would drop the replay. c.mu is held.
func (p *pump) copyDue() bool {
	replays := p.isOwn() && p.retained != nil && p.retained.Seq > p.pos && (p.behind || len(p.cache) > 0)
	return p.wantRetained && !replays
}

// sendRetained sends the retained copy, the answer to a SUBSCRIBE. It stands
// outside the order and never moves a cursor: its packet id is of the second
// range. c.mu is held, and released.
func (p *pump) sendRetained() bool {
	c := p.c
	if time.Since(p.retainedAt) > bridge.HintLife { // it waited for the window: a delete may have come
		forgets := p.forgets
		c.mu.Unlock()
		ctx, cancel := context.WithTimeout(context.Background(), c.hub.o.Query)
		head, err := c.hub.o.Log.Head(ctx, p.user)
		cancel()
		if err != nil {
			p.retry(err)
			return false
		}
		c.mu.Lock()
		if p.retained = head.Latest; p.forgets == forgets {
			p.retainedAt = time.Now()
		}
		c.mu.Unlock()
		return true // looks again whether it may be sent
	}
	n := p.retained
	p.wantRetained, p.retained = false, nil
	if n == nil || c.dead || p.gone {
		c.mu.Unlock()
		return true
	}
	if !c.claims.MayReceive(n.User) || !c.valid(time.Now()) {
		c.endLocked(bridge.EndExpired)
		c.mu.Unlock()
		return true
	}
	m := Message{Notification: n, Topic: p.filter, QoS: p.sub.QoS, Retain: true, SubID: p.sub.ID, Epoch: c.hub.o.Epoch()}
	if m.QoS > 0 {
		if c.inflight() == 0 {
			c.since = time.Now()
		}
		m.PacketID = c.aux.take()
	}
	c.mu.Unlock()
	return p.send([]Message{m})
}
