// Package inproc is the bus of a cluster with a single node and, in tests, of several nodes in one
// process. It is also the readable reference of [bridge.Bus]: what the other buses do over a
// network, it does with one channel per node.
package inproc

import (
	"context"
	"sync"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/bus"
)

// queueSize is how many hints are queued for a slow node.
const queueSize = 1024

// Exchange connects the nodes of one process. The zero value is ready to use.
type Exchange struct {
	mu    sync.RWMutex
	nodes []*Bus // those in Run
}

// Bus is one node's end of an exchange.
type Bus struct {
	node  string
	x     *Exchange
	queue chan bridge.Hint
	lost  chan struct{} // signals that a hint was dropped because the queue was full
	count bus.Counters
}

// New returns the bus of a cluster's only node.
func New() *Bus { return new(Exchange).Join("") }

// Join returns the bus of another node.
func (x *Exchange) Join(node string) *Bus {
	return &Bus{node: node, x: x, queue: make(chan bridge.Hint, queueSize), lost: make(chan struct{}, 1)}
}

// Publish passes hints to every other node that is in Run.
func (b *Bus) Publish(hints ...bridge.Hint) {
	b.x.mu.RLock()
	defer b.x.mu.RUnlock()
	for _, other := range b.x.nodes {
		if other == b {
			continue
		}
		for _, h := range hints {
			h.Node, h.Items = b.node, nil // as if it came from another process
			if other.offer(h) {
				b.count.Sent.Add(1)
			} else {
				b.count.Dropped.Add(1)
			}
		}
	}
}

// offer queues a hint without blocking. If the queue is full the hint is dropped, and the node's
// handler gets a call of Reconnected, which makes it read the log.
func (b *Bus) offer(h bridge.Hint) bool {
	select {
	case b.queue <- h:
		return true
	default:
	}
	select {
	case b.lost <- struct{}{}:
	default:
	}
	return false
}

// Run passes other nodes' hints to h until ctx ends.
func (b *Bus) Run(ctx context.Context, h bridge.HintHandler) error {
	b.x.enter(b)
	defer b.x.leave(b)
	h.Reconnected()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-b.lost:
			h.Reconnected()
		case hint := <-b.queue:
			b.count.Received.Add(1)
			h.Hint(hint)
		}
	}
}

// Ready returns nil: there is no server between the nodes that could be unavailable.
func (b *Bus) Ready() error { return nil }

// Stats returns the counters.
func (b *Bus) Stats() bus.Stats { return b.count.Stats() }

func (x *Exchange) enter(b *Bus) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.nodes = append(x.nodes, b)
}

func (x *Exchange) leave(b *Bus) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for i, other := range x.nodes {
		if other == b {
			x.nodes = append(x.nodes[:i:i], x.nodes[i+1:]...)
			return
		}
	}
}
