package delivery

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// Some events on one node concern the others: a device connects to another node, an operator
// ends connections or revokes tokens. Hints announce these events at once. In case hints are
// lost, every node polls the database every pollEvery. A node whose last poll is older than
// viewLife delivers nothing, because it may have missed an order to end connections.
const (
	pollEvery = 2 * time.Second
	viewLife  = 5 * time.Second

	// beatEvery is the interval of a node's heartbeat; see [bridge.NodeTimeout].
	beatEvery = 4 * time.Second
)

// node is this process as a member of the cluster. Its heartbeat keeps the other nodes from
// taking it for dead. It registers the connections that open and close on it, and polls for
// orders and revocations, which it applies.
type node struct {
	hub     *Hub
	changes connectionChanges
	pollNow chan struct{} // orders or revocations were stored: poll now

	clock atomic.Pointer[clockReading] // the database's clock at the last poll; nil: no poll yet

	started time.Time
	polled  atomic.Int64 // when the last successful poll began, in ns after started, plus one; 0: no poll yet

	mu    sync.Mutex // held during a poll
	at    time.Time  // the database's clock at the last poll
	epoch string     // at the last poll; "": no poll yet
	scan  revocationScan
}

func newNode(h *Hub) *node {
	return &node{hub: h, pollNow: make(chan struct{}, 1), started: time.Now()}
}

// Poll reads the orders and revocations of the cluster and applies them. Call it once before
// the first connection is served; Run repeats it. It fails with ErrUnavailable while the
// database is unavailable.
func (h *Hub) Poll(ctx context.Context) error { return h.node.poll(ctx) }

// Ready returns nil while the node delivers. It fails with ErrUnavailable if the last poll
// was too long ago.
func (h *Hub) Ready() error {
	if !h.node.current(time.Now()) {
		return fmt.Errorf("the node's view of the cluster is out of date: %w", bridge.ErrUnavailable)
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
		n.scan = revocationScan{} // the revocations are those of another database
	}
	if err := n.syncRevocations(ctx, at); err != nil {
		return err
	}
	// Pumps that found the former view out of date went idle and have to be woken. Whether it
	// was out of date is checked after the new view is stored, so that pumps which went idle
	// while this poll waited for the database are woken as well.
	former := n.polled.Swap(int64(begun.Sub(n.started)) + 1)
	if !n.fresh(former, time.Now()) {
		n.hub.wakeAll(false)
	}
	return nil
}

// clockReading is a reading of the database's clock, and this node's time at that moment.
type clockReading struct{ database, local time.Time }

// Now returns the time by the database's clock, which decides when notifications expire. It
// adds the time since the last poll to the time that the poll read, so a step of this node's
// own clock has no effect. The error is at most half the duration of that poll. Before the
// first poll, Now returns this node's time.
func (h *Hub) Now() time.Time {
	r := h.node.clock.Load()
	if r == nil {
		return time.Now()
	}
	return r.database.Add(time.Since(r.local))
}

// current reports whether the node's view of the cluster is recent enough at now.
func (n *node) current(now time.Time) bool { return n.fresh(n.polled.Load(), now) }

// fresh reports whether the view of a poll that began at polled is recent enough at now.
func (n *node) fresh(polled int64, now time.Time) bool {
	return polled > 0 && now.Sub(n.started)-time.Duration(polled) <= viewLife
}

// applyOrder ends the connections that o concerns. After an erasure it also restarts other
// users' subscriptions to the erased user's topic, whose seqs begin again.
func (n *node) applyOrder(o bridge.Order) {
	e := n.hub.entry(o.User)
	if o.Reason == bridge.EndErased {
		for _, l := range e.logs {
			if l.p.c.device.User != o.User { // the user's own connections end below
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

// pollRegularly polls every pollEvery until ctx ends, and at once when a hint asks for it.
func (n *node) pollRegularly(ctx context.Context) {
	t := time.NewTicker(pollEvery)
	defer t.Stop()
	for {
		if err := n.poll(ctx); err != nil && ctx.Err() == nil && n.current(time.Now()) {
			n.hub.failures.warn("polling the cluster failed, will be retried", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		case <-n.pollNow:
		}
	}
}

// beat stores a heartbeat every beatEvery. After a gap in which the others may have taken
// the node for dead, and removed its connections, it registers all of them again.
func (n *node) beat(ctx context.Context) {
	o := &n.hub.o
	last := time.Now() // when the last stored beat began, the earliest time that the database may have for it
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
			n.hub.failures.warn("storing the heartbeat failed, will be retried", err)
		}
	})
}
