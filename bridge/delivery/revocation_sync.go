package delivery

import (
	"context"
	"fmt"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// revocationOverlap is how far back each scan reads again. A revocation is stored with the
// time at which its transaction began, and may commit long after others with a later time.
const revocationOverlap = time.Minute

// revocationScan is the progress of the node's scan of the stored revocations. The zero value
// begins a scan of all.
type revocationScan struct {
	complete  bool              // an earlier scan has reached its end
	last      bridge.Revocation // the last one read
	startedAt time.Time         // when the scan began, by the database's clock; zero: it has ended
}

// syncRevocations reads the revocations that were stored since the last scan, in pages, and
// ends the connections whose tokens they revoke. The first scan reads all of them, or as many
// as may be kept in memory. A scan that fails continues with the next call where it stopped.
// at is the time by the database's clock. n.mu is held.
//
// A scan reads the revocations of the last minute again, at some 200,000 a second. The poll,
// and with it the node's view, is current only when the scan has ended.
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
		// There are more revocations than may be kept. The rest need not be read, because
		// tokens that no kept revocation concerns are looked up in the database.
	}
}

// readRevocations reads and keeps a page of revocations, and ends the connections whose tokens
// they revoke.
func (h *Hub) readRevocations(ctx context.Context, after bridge.Revocation) ([]bridge.Revocation, error) {
	q, cancel := context.WithTimeout(ctx, h.o.Query)
	defer cancel()
	page, err := h.o.Cluster.Revocations(q, after, h.o.Step)
	if err != nil {
		return nil, fmt.Errorf("poll the revocations: %w", err)
	}
	added := h.Revocations.Add(page...)
	if len(added) == 0 {
		return page, nil
	}
	ids, users := make(map[string]bool), make(map[bridge.UserID]time.Time)
	for _, r := range added {
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

// refillRevocations drops revocations of expired tokens. If there were too many to keep, and
// enough of them have expired, it reads all again, so that tokens need not be looked up in
// the database any more.
func (h *Hub) refillRevocations(ctx context.Context) {
	r := &h.Revocations
	r.drop(time.Now())
	if !r.partial.Load() || r.kept.Load() > int64(r.limit)*3/4 {
		return
	}
	missesBefore := r.misses()
	for last := (bridge.Revocation{}); ; {
		page, err := h.readRevocations(ctx, last)
		switch {
		case err != nil || r.misses() != missesBefore:
			return // tried again by the next call
		case len(page) < h.o.Step:
			r.complete(missesBefore)
			return
		}
		last = page[len(page)-1]
	}
}
