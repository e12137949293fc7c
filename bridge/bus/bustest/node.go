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

// limit is how long anything on loopback may take before it counts as broken.
const limit = 20 * time.Second

// node is one bus that runs, and what it handed over.
type node struct {
	bridge.Bus
	name  string
	carry func(h bridge.Hint) // how this node tells of h

	mu          sync.Mutex
	hints       []bridge.Hint
	reconnected int

	cancel context.CancelFunc
	done   chan error
}

// Hint notes h.
func (n *node) Hint(h bridge.Hint) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hints = append(n.hints, h)
}

// Reconnected notes that hints may have been lost.
func (n *node) Reconnected() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.reconnected++
}

func (n *node) reconnects() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.reconnected
}

func (n *node) heard(h bridge.Hint) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.ContainsFunc(n.hints, func(got bridge.Hint) bool {
		return got.Type == h.Type && got.User == h.User && got.Seq == h.Seq && got.ClientID == h.ClientID && got.Gen == h.Gen
	})
}

// start runs the bus until the test ends.
func (n *node) start(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	n.cancel, n.done = cancel, make(chan error, 1)
	go func() { n.done <- n.Run(ctx, n) }()
	t.Cleanup(func() { n.stop(t) })
}

// stop ends Run and wants it to return nil, soon. It may be called twice.
func (n *node) stop(t *testing.T) {
	n.cancel()
	select {
	case err := <-n.done:
		if err != nil {
			t.Errorf("Run of %s returned %v, want nil at the end of ctx", n.name, err)
		}
		n.done <- nil
	case <-time.After(limit):
		t.Errorf("Run of %s does not return at the end of ctx", n.name)
	}
}

func (n *node) watch(users ...bridge.UserID) {
	if w, ok := n.Bus.(bridge.Interest); ok {
		for _, u := range users {
			w.Watch(u)
		}
	}
}

// ready waits until the node listens.
func (n *node) ready(t *testing.T) {
	t.Helper()
	testserver.Eventually(t, limit, func() error {
		if err := n.Ready(); err != nil {
			return fmt.Errorf("%s: %w", n.name, err)
		}
		if n.reconnects() == 0 {
			return fmt.Errorf("%s was not told that it listens", n.name)
		}
		return nil
	})
}

// away waits until the node knows that it hears nothing.
func (n *node) away(t *testing.T) {
	t.Helper()
	testserver.Eventually(t, limit, func() error {
		if n.Ready() == nil {
			return fmt.Errorf("%s still says that it is connected", n.name)
		}
		return nil
	})
}

// hears waits until n was handed h; h is told again and again, since a bus may
// lose it.
func (n *node) hears(t *testing.T, from *node, h bridge.Hint) {
	t.Helper()
	next := time.Now()
	testserver.Eventually(t, limit, func() error {
		if n.heard(h) {
			return nil
		}
		if time.Now().After(next) {
			from.carry(h)
			next = time.Now().Add(200 * time.Millisecond)
		}
		return errors.New(n.name + " does not hear of the hint")
	})
}

// publishes wants many calls of Publish to return at once.
func (n *node) publishes(t *testing.T, many int) {
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
