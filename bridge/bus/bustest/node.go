package bustest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/testserver"
)

// limit is how long a test waits for an event before it fails.
const limit = 20 * time.Second

// Node is one running bus, with the hints that it has received.
type Node struct {
	bridge.Bus
	name string

	mu          sync.Mutex
	hints       []bridge.Hint
	reconnected int

	cancel context.CancelFunc
	done   chan error
}

// Hint records h.
func (n *Node) Hint(h bridge.Hint) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hints = append(n.hints, h)
}

// Reconnected records that hints may have been lost.
func (n *Node) Reconnected() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.reconnected++
}

func (n *Node) reconnects() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.reconnected
}

func (n *Node) hasReceived(h bridge.Hint) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.ContainsFunc(n.hints, func(got bridge.Hint) bool {
		return got.Type == h.Type && got.User == h.User && got.Seq == h.Seq && got.ClientID == h.ClientID && got.Gen == h.Gen &&
			got.Traceparent == h.Traceparent && got.From == h.From
	})
}

// start runs the bus in a goroutine until the test ends.
func (n *Node) start(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	n.cancel, n.done = cancel, make(chan error, 1)
	go func() { n.done <- n.Run(ctx, n) }()
	t.Cleanup(func() { n.stop(t) })
}

// stop ends Run and fails the test unless Run returns nil within limit. It may be called twice.
func (n *Node) stop(t *testing.T) {
	n.cancel()
	select {
	case err := <-n.done:
		if err != nil {
			t.Errorf("Run of %s returned %v at the end of ctx, want nil", n.name, err)
		}
		n.done <- nil
	case <-time.After(limit):
		t.Errorf("Run of %s did not return at the end of ctx", n.name)
	}
}

func (n *Node) watch(users ...bridge.UserID) {
	if w, ok := n.Bus.(bridge.Interest); ok {
		for _, u := range users {
			w.Watch(u)
		}
	}
}

// ready waits until the node is listening.
func (n *Node) ready(t *testing.T) {
	t.Helper()
	testserver.Eventually(t, limit, func() error {
		if err := n.Ready(); err != nil {
			return fmt.Errorf("%s: %w", n.name, err)
		}
		if n.reconnects() == 0 {
			return fmt.Errorf("%s is listening, but Reconnected was not called", n.name)
		}
		return nil
	})
}

// disconnected waits until the node has noticed that it is not connected.
func (n *Node) disconnected(t *testing.T) {
	t.Helper()
	testserver.Eventually(t, limit, func() error {
		if n.Ready() == nil {
			return fmt.Errorf("%s still reports that it is connected", n.name)
		}
		return nil
	})
}

// receives waits until n has received h. Meanwhile from sends h repeatedly, since a bus may lose
// hints.
func (n *Node) receives(t *testing.T, from *Node, h bridge.Hint) {
	t.Helper()
	next := time.Now()
	testserver.Eventually(t, limit, func() error {
		if n.hasReceived(h) {
			return nil
		}
		if time.Now().After(next) {
			from.Publish(h)
			next = time.Now().Add(200 * time.Millisecond)
		}
		return errors.New(n.name + " did not receive the hint")
	})
}

// publishes calls Publish many times and fails the test if the calls block.
func (n *Node) publishes(t *testing.T, many int) {
	t.Helper()
	start := time.Now()
	for i := range many {
		n.Publish(bridge.Hint{Type: bridge.HintMuted, User: user(i)})
	}
	if d := time.Since(start); d > 2*time.Second {
		t.Errorf("%d calls of Publish took %v", many, d)
	}
}

func user(i int) bridge.UserID { return bridge.UserID(fmt.Sprintf("u%d", i)) }

// Listen runs b, which watches users, until the test ends. It returns once b is listening.
func Listen(t *testing.T, b bridge.Bus, users ...bridge.UserID) *Node {
	t.Helper()
	n := &Node{Bus: b, name: "the node"}
	n.watch(users...)
	n.start(t)
	n.ready(t)
	return n
}

// Receives waits until n has received h, which from sends repeatedly.
func (n *Node) Receives(t *testing.T, from *Node, h bridge.Hint) {
	t.Helper()
	n.receives(t, from, h)
}

// HasReceived reports whether n has received h.
func (n *Node) HasReceived(h bridge.Hint) bool { return n.hasReceived(h) }

// Count returns how many hints n has received.
func (n *Node) Count() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.hints)
}
