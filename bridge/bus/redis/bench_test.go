package redis_test

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/bus/redis"
	"github.com/falconalert/falconbridge/internal/testserver"
)

// counter counts hints and signals Reconnected.
type counter struct {
	hints       atomic.Int64
	reconnected chan struct{}
}

func (c *counter) Hint(bridge.Hint) { c.hints.Add(1) }
func (c *counter) Reconnected() {
	select {
	case c.reconnected <- struct{}{}:
	default:
	}
}

// BenchmarkResubscribe measures how long a node with 100,000 connected users takes to subscribe
// after a reconnect.
func BenchmarkResubscribe(b *testing.B) {
	server := testserver.NewRedis(b)
	c := client(b, server.Addr)
	memory := func() float64 {
		m, err := c.InfoMap(b.Context(), "memory").Result()
		if err != nil {
			b.Fatal(err)
		}
		var n float64
		if _, err := fmt.Sscan(m["Memory"]["used_memory"], &n); err != nil {
			b.Fatal(err)
		}
		return n
	}
	const users = 100000
	before := memory()
	for b.Loop() {
		node := join(b, redis.Options{URL: server.URL, Node: "a", Probe: 5 * time.Second})
		for i := range users {
			node.Watch(bridge.UserID(fmt.Sprint(i)))
		}
		ctx, cancel := context.WithCancel(b.Context())
		h, done := &counter{reconnected: make(chan struct{}, 1)}, make(chan error, 1)
		go func() { done <- node.Run(ctx, h) }()
		<-h.reconnected
		b.ReportMetric((memory()-before)/users, "server-B/user")
		cancel()
		<-done
	}
}

// BenchmarkHint measures sending one hint from node to node.
func BenchmarkHint(b *testing.B) {
	server := testserver.NewRedis(b)
	from, to := join(b, redis.Options{URL: server.URL, Node: "a"}), join(b, redis.Options{URL: server.URL, Node: "b"})
	to.Watch("7")
	h := &counter{reconnected: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 2)
	go func() { done <- from.Run(ctx, &counter{reconnected: make(chan struct{}, 1)}) }()
	go func() { done <- to.Run(ctx, h) }()
	<-h.reconnected
	testserver.Eventually(b, 10*time.Second, from.Ready)
	want := int64(0)
	for b.Loop() {
		from.Publish(bridge.Hint{Type: bridge.HintMuted, User: "7"})
		want++
		for want-h.hints.Load() > 8000 { // below the queue's size
			runtime.Gosched()
		}
	}
	testserver.Eventually(b, 10*time.Second, func() error {
		if n := h.hints.Load(); n < want {
			return fmt.Errorf("%d of %d hints arrived", n, want)
		}
		return nil
	})
	cancel()
	<-done
	<-done
}
