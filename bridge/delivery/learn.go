package delivery

import (
	"context"
	"fmt"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// revocationOverlap is how far back each round of learn reads again: a transaction may
// commit long after it took the time that it stores.
const revocationOverlap = time.Minute

// round is where the node stands in its reading of revocations; the zero value reads
// all of them.
type revocationScan struct {
	complete  bool              // one round has ended
	last      bridge.Revocation // that was read
	startedAt time.Time         // of the database, when the round began; zero: it has ended
}

// learn reads the revocations that were stored since its last round, one page for each
// call to the database, and ends the connections that they concern. A round that fails
// continues with the next call where it stopped. The first one reads all, or as many as
// are kept in memory. at is the database's clock. n.mu is held.
//
// A round reads the revocations of the last minute again, some 200,000 a second. Until it
// ends, the node's view is as old as after the round before.
func (n *node) syncRevocations(ctx context.Context, at time.Time) error {
	h, r := n.hub, &n.scan
	if r.startedAt.IsZero() {
		r.startedAt = at
	}
	for {
		page, err := h.readRevocations(ctx, r.last)
		if err != nil {
			return err
		}
		if len(page) == h.o.Step && (r.complete || !h.Revocations.partial.Load()) {
			r.last = page[len(page)-1]
			continue
		}
		r.complete, r.last = true, bridge.Revocation{At: r.startedAt.Add(-revocationOverlap)}
		if len(page) < h.o.Step {
			r.startedAt = time.Time{}
			return nil
		}
		// There are more than may be kept. The rest need not be read, as the database is
		// asked about tokens that no kept one concerns.
	}
}

// readRevocations reads a page, keeps it, and ends the connections it concerns.
func (h *Hub) readRevocations(ctx context.Context, after bridge.Revocation) ([]bridge.Revocation, error) {
	q, cancel := context.WithTimeout(ctx, h.o.Query)
	defer cancel()
	page, err := h.o.Cluster.Revocations(q, after, h.o.Step)
	if err != nil {
		return nil, fmt.Errorf("poll the revocations: %w", err)
	}
	news := h.Revocations.Add(page...)
	if len(news) == 0 {
		return page, nil
	}
	ids, users := make(map[string]bool), make(map[bridge.UserID]time.Time)
	for _, r := range news {
		if r.ID != "" {
			ids[r.ID] = true
		} else {
			users[r.User] = r.Before
		}
	}
	h.each(func(c *Conn) {
		c.mu.Lock()
		defer c.mu.Unlock()
		before, found := users[c.claims.User]
		if ids[c.claims.ID] || found && (c.claims.IssuedAt.IsZero() || c.claims.IssuedAt.Before(before)) {
			c.endLocked(bridge.EndExpired)
		}
	})
	return page, nil
}

// completeRevocations drops revocations of expired tokens. Where not all revocations are
// kept, it reads them again once there is room, so that the database need not be asked
// any more.
func (h *Hub) refillRevocations(ctx context.Context) {
	r := &h.Revocations
	r.drop(time.Now())
	if !r.partial.Load() || r.kept.Load() > int64(r.limit)*3/4 {
		return
	}
	then := r.misses()
	for last := (bridge.Revocation{}); ; {
		page, err := h.readRevocations(ctx, last)
		switch {
		case err != nil || r.misses() != then:
			return // later
		case len(page) < h.o.Step:
			r.complete(then)
			return
		}
		last = page[len(page)-1]
	}
}
