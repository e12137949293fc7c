package delivery

import (
	"context"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// endExpiredAndSilent ends connections whose token has expired or was signed with a withdrawn
// key, and connections that have not acknowledged for Options.AckWait, until ctx ends. A pass
// over all connections every 2 s, or several times in a shorter AckWait, is cheaper than a
// timer for each. So a connection may end up to 2 s late, but it receives nothing after its
// token has expired, see [Conn.valid].
func (h *Hub) endExpiredAndSilent(ctx context.Context) {
	every(ctx, max(10*time.Millisecond, min(h.o.AckWait/4, 2*time.Second)), func() {
		now := time.Now()
		h.each(func(c *Conn) {
			c.mu.Lock()
			defer c.mu.Unlock()
			switch {
			case !c.valid(now):
				c.endLocked(bridge.EndExpired)
			case !c.ackWaitStart.IsZero() && now.Sub(c.ackWaitStart) > h.o.AckWait:
				c.endLocked(bridge.EndSilent)
			default:
				c.saveSent(now)
			}
		})
	})
}
