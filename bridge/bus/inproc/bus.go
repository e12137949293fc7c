// Package inproc is the bus of a cluster with a single node and, in tests, of several nodes in one
// process. It is also the simplest implementation of [bridge.Bus], and the one to read first. It
// uses a Go channel per node where the other buses use a network.
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
	nodes []*Bus // those whose Run has begun and not returned
}

// Bus is one node's end of an exchange.
type Bus struct {
	node     string
	exchange *Exchange
	queue    chan bridge.Hint
	lost     chan struct{} // signals that a hint was dropped because the queue was full
	counters bus.Counters
}

// New returns the bus of a cluster's only node.
func New() *Bus { return new(Exchange).Join("") }

// Join returns the bus of another node.
func (x *Exchange) Join(node string) *Bus {
	return &Bus{node: node, exchange: x, queue: make(chan bridge.Hint, queueSize), lost: make(chan struct{}, 1)}
}

// Publish passes hints to every other node that is running.
func (b *Bus) Publish(hints ...bridge.Hint) {
	b.exchange.mu.RLock()
	defer b.exchange.mu.RUnlock()
	for _, other := range b.exchange.nodes {
		if other == b {
			continue
		}
		for _, h := range hints {
			h.Node, h.Items = b.node, nil // as if it came from another process
			if other.offer(h) {
				b.counters.Sent.Add(1)
			} else {
				b.counters.Dropped.Add(1)
			}
		}
	}
}

// offer queues a hint without blocking. If the queue is full, offer drops the hint, and Run calls
// the handler's Reconnected, which makes the node read the log.
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
	b.exchange.enter(b)
	defer b.exchange.leave(b)
	h.Reconnected()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-b.lost:
			h.Reconnected()
		case hint := <-b.queue:
			b.counters.Received.Add(1)
			h.Hint(hint)
		}
	}
}

// Ready returns nil, because there is no server between the nodes that could be unavailable.
func (b *Bus) Ready() error { return nil }

// Stats returns the counters.
func (b *Bus) Stats() bus.Stats { return b.counters.Stats() }

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
