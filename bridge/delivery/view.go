package delivery

import (
	"context"
	"fmt"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// What one node does concerns others: a device connects elsewhere, an operator
// ends connections or revokes tokens. Hints say so at once; a poll of the
// database every pollEvery says so when hints are lost. A node whose last poll
// is older than viewLife delivers nothing, because it may not know that it
// should not.
const (
	pollEvery = 2 * time.Second
	viewLife  = 5 * time.Second
)

// Poll learns the cluster's orders and revocations and obeys them. Call it once
// before the first connection is served; Run repeats it.
func (h *Hub) Poll(ctx context.Context) error {
	h.view.mu.Lock()
	defer h.view.mu.Unlock()
	begun := time.Now()
	q, cancel := context.WithTimeout(ctx, h.o.Query)
	v, err := h.o.Cluster.Poll(q, h.o.Node, h.view.at)
	cancel()
	if err != nil {
		return fmt.Errorf("poll the cluster: %w", err)
	}
	h.view.at = v.At
	for _, o := range v.Orders {
		h.obey(o)
	}
	epoch := h.o.Epoch()
	restored := h.view.epoch != "" && h.view.epoch != epoch
	h.view.epoch = epoch
	if restored {
		h.endAll()
		h.view.known, h.view.last, h.view.begun = false, bridge.Revocation{}, time.Time{} // the table is another one
	}
	if err := h.learn(ctx, v.At); err != nil {
		return err
	}
	// Judged after the new view is stored: a pump that found the old one too old,
	// even while this poll waited for the database, did so before now.
	old := h.view.fresh.Swap(int64(begun.Sub(h.started)) + 1)
	if !h.trusted(old, time.Now()) {
		h.wakeAll(false)
	}
	return nil
}

// endAll ends every connection because the log was restored. Nothing is delivered
// to any of them from now on, as their positions mean nothing; the connections
// themselves end one after the other, so that the devices do not all come back to
// the database in one moment.
func (h *Hub) endAll() {
	var all []*Conn
	h.each(func(c *Conn) { all = append(all, c) })
	over := min(h.o.EndOver, time.Duration(len(all))*endPace)
	for i, c := range all {
		c.mu.Lock()
		c.endAfter(bridge.EndEpoch, over*time.Duration(i)/time.Duration(len(all)))
		c.mu.Unlock()
	}
}

// endPace is how far apart the ends of few connections are: two devices need not
// be kept waiting for each other.
const endPace = 10 * time.Millisecond

// fresh reports whether the view may be trusted at now.
func (h *Hub) fresh(now time.Time) bool { return h.trusted(h.view.fresh.Load(), now) }

// trusted reports whether a view as of at, see Hub.view.fresh, may be trusted at
// now.
func (h *Hub) trusted(at int64, now time.Time) bool {
	return at > 0 && now.Sub(h.started)-time.Duration(at) <= viewLife
}

// Ready is nil while the node may deliver.
func (h *Hub) Ready() error {
	if !h.fresh(time.Now()) {
		return fmt.Errorf("the cluster's orders are not known: %w", bridge.ErrUnavailable)
	}
	return nil
}

func (h *Hub) obey(o bridge.Order) {
	conns, pumps, _ := h.entry(o.User)
	if o.Reason == bridge.EndErased {
		for _, p := range pumps {
			if p.c.device.User != o.User { // the user's own connections end
				p.startOver(o.Before)
			}
		}
	}
	for _, c := range conns {
		if c.gen < o.Before && (o.ClientID == "" || o.ClientID == c.device.ClientID) {
			c.end(o.Reason)
		}
	}
}

func (h *Hub) poller(ctx context.Context) {
	t := time.NewTicker(pollEvery)
	defer t.Stop()
	for {
		if err := h.Poll(ctx); err != nil && ctx.Err() == nil && h.fresh(time.Now()) {
			h.o.Logger.Warn("the cluster's orders wait for the database", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		case <-h.pollNow:
		}
	}
}
