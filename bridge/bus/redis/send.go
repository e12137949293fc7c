package redis

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/bus"
)

const (
	maxBatch   = 256      // hints of one pipeline
	maxMessage = 64 << 10 // bytes; far above any hint
	beaconGap  = 50 * time.Millisecond
)

// send sends what is queued until ctx ends, once a session has found out whether the server
// knows sharded publish and subscribe.
func (b *Bus) send(ctx context.Context) {
	select {
	case <-b.known:
	case <-ctx.Done():
		return
	}
	client := b.client(ctx, false)
	defer client.Close()
	beacon := beacon{wake: time.NewTimer(beaconGap)}
	defer beacon.wake.Stop()
	b.SendBatches(ctx, maxBatch, beacon.wake.C, func(ctx context.Context, hints []bridge.Hint) error {
		return b.publish(ctx, client, hints, beacon.due(hints, time.Now()))
	})
}

// publish sends each hint to its user's channel in one round trip, and the
// beacon to all nodes.
func (b *Bus) publish(ctx context.Context, client *redis.Client, hints []bridge.Hint, beacon bool) error {
	limited, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	pipe := client.Pipeline()
	publish := pipe.Publish
	if b.sharded.Load() {
		publish = pipe.SPublish
	}
	for _, h := range hints {
		channel := b.channel(h.User)
		if h.User == "" {
			channel = b.everybody()
		}
		for _, m := range bus.Encode(b.Node, []bridge.Hint{h}, maxMessage) {
			publish(limited, channel, m)
		}
	}
	if beacon {
		for _, m := range bus.Encode(b.Node, []bridge.Hint{{Type: bridge.HintAppended}}, maxMessage) {
			publish(limited, b.everybody(), m)
		}
	}
	if pipe.Len() == 0 {
		return nil
	}
	if _, err := pipe.Exec(limited); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	return nil
}

// beacon is the hint to everybody that something was appended, at most one in
// beaconGap however much that is: what it costs a node does not grow with other
// nodes' users.
type beacon struct {
	wake *time.Timer // a beacon was put off
	last time.Time
	owed bool
}

// due reports whether a beacon goes out with hints.
func (c *beacon) due(hints []bridge.Hint, now time.Time) bool {
	for _, h := range hints {
		c.owed = c.owed || h.Type == bridge.HintAppended
	}
	if !c.owed {
		return false
	}
	if wait := c.last.Add(beaconGap).Sub(now); wait > 0 {
		c.wake.Reset(wait)
		return false
	}
	c.owed, c.last = false, now
	return true
}
