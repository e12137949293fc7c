package delivery

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// What happens on one node concerns others: a device connects elsewhere, an operator
// ends connections or revokes tokens. Hints say so at once; a poll of the database every
// pollEvery says so when hints are lost. A node whose last poll is older than viewLife
// delivers nothing, because it may not know that it should not.
const (
	pollEvery = 2 * time.Second
	viewLife  = 5 * time.Second

	// beatEvery is how often a node says that it lives; see [bridge.NodeTimeout].
	beatEvery = 4 * time.Second
)

// node is this process as a member of the cluster. It beats, so that the others count it
// as alive, registers which connections opened and closed on it, and polls for orders
// and revocations, which it obeys.
type node struct {
	hub     *Hub
	changes connectionChanges
	pollNow chan struct{} // orders or revocations were stored

	clock atomic.Pointer[clockReading] // of the database, at the last poll; nil: none yet

	started time.Time
	polled  atomic.Int64 // begin of the last poll, ns after started, plus one; 0: none yet

	mu    sync.Mutex     // one poll at a time
	at    time.Time      // of the database, at the last poll
	epoch string         // at the last poll; "": none yet
	scan  revocationScan // of learning revocations
}

func newNode(h *Hub) *node {
	return &node{hub: h, pollNow: make(chan struct{}, 1), started: time.Now()}
}

// Poll learns the cluster's orders and revocations and obeys them. Call it once
// before the first connection is served; Run repeats it.
func (h *Hub) Poll(ctx context.Context) error { return h.node.poll(ctx) }

// Ready is nil while the node may deliver.
func (h *Hub) Ready() error {
	if !h.node.current(time.Now()) {
		return fmt.Errorf("the cluster's orders are not known: %w", bridge.ErrUnavailable)
	}
	return nil
}

func (n *node) poll(ctx context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	begun := time.Now()
	o := &n.hub.o
	q, cancel := context.WithTimeout(ctx, o.Query)
	orders, at, err := o.Cluster.Poll(q, o.Node, n.at)
	cancel()
	if err != nil {
		return fmt.Errorf("poll the cluster: %w", err)
	}
	n.at = at
	n.clock.Store(&clockReading{at, begun.Add(time.Since(begun) / 2)})
	for _, order := range orders {
		n.applyOrder(order)
	}
	epoch := o.Epoch()
	restored := n.epoch != "" && n.epoch != epoch
	n.epoch = epoch
	if restored {
		n.hub.endAll()
		n.scan = revocationScan{} // the table is another one
	}
	if err := n.syncRevocations(ctx, at); err != nil {
		return err
	}
	// Judged after the new view is stored: a pump that found the old one too old,
	// even while this poll waited for the database, did so before now.
	former := n.polled.Swap(int64(begun.Sub(n.started)) + 1)
	if !n.fresh(former, time.Now()) {
		n.hub.wakeAll(false)
	}
	return nil
}

// clockReading is what the database's clock showed at a moment of this node's.
type clockReading struct{ shown, here time.Time }

// Now is the database's clock, by which notifications expire: as the last poll read it,
// and as much later as that poll is ago. It is exact to half of what the poll took, and a
// step of this node's own clock does not move it. Before the first poll it is that clock.
func (h *Hub) Now() time.Time {
	r := h.node.clock.Load()
	if r == nil {
		return time.Now()
	}
	return r.shown.Add(time.Since(r.here))
}

// current reports whether the node's view of the cluster may be trusted at now.
func (n *node) current(now time.Time) bool { return n.fresh(n.polled.Load(), now) }

// trusts reports whether a view as of polled may be trusted at now.
func (n *node) fresh(polled int64, now time.Time) bool {
	return polled > 0 && now.Sub(n.started)-time.Duration(polled) <= viewLife
}

func (n *node) applyOrder(o bridge.Order) {
	e := n.hub.entry(o.User)
	if o.Reason == bridge.EndErased {
		for _, l := range e.logs {
			if l.p.c.device.User != o.User { // the user's own connections end
				l.startOver(o.Before)
			}
		}
	}
	for _, c := range e.conns {
		if c.gen < o.Before && (o.ClientID == "" || o.ClientID == c.device.ClientID) {
			c.end(o.Reason)
		}
	}
}

// pollRegularly polls until ctx ends, and at once where a hint asks for it.
func (n *node) pollRegularly(ctx context.Context) {
	t := time.NewTicker(pollEvery)
	defer t.Stop()
	for {
		if err := n.poll(ctx); err != nil && ctx.Err() == nil && n.current(time.Now()) {
			n.hub.o.Logger.Warn("the cluster's orders wait for the database", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		case <-n.pollNow:
		}
	}
}

// beat says every beatEvery that the node lives. Where the others may have taken it for
// dead, and forgotten its connections, all are registered again.
func (n *node) beat(ctx context.Context) {
	o := &n.hub.o
	last := time.Now() // begin of the last beat that was stored: it may be that old
	every(ctx, beatEvery, func() {
		begun := time.Now()
		q, cancel := context.WithTimeout(ctx, o.Query)
		defer cancel()
		figures := n.hub.Figures()
		figures.InFlight = int64(n.hub.Backlog().Own)
		err := o.Cluster.Beat(q, o.Node, figures)
		switch {
		case err == nil && time.Since(last) > bridge.NodeTimeout:
			n.changes.registerAll()
			last = begun
		case err == nil:
			last = begun
		case ctx.Err() == nil:
			o.Logger.Warn("the beat waits for the database", "error", err)
		}
	})
}
