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
	maxBatch   = 256      // hints per pipeline
	maxMessage = 64 << 10 // in bytes; far larger than any hint
	beaconGap  = 50 * time.Millisecond
)

// send sends queued hints until ctx ends. It begins once a session has detected whether to use
// sharded publish and subscribe.
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

// publish sends each hint to its user's channel. If beacon is true it also sends the hint to all
// nodes that something was appended. It takes one round trip.
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
			channel = b.common()
		}
		for _, m := range bus.Encode(b.Node, []bridge.Hint{h}, maxMessage) {
			publish(limited, channel, m)
		}
	}
	if beacon {
		for _, m := range bus.Encode(b.Node, []bridge.Hint{{Type: bridge.HintAppended}}, maxMessage) {
			publish(limited, b.common(), m)
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

// A beacon is a hint to all nodes that something was appended. The type beacon decides when to send
// one. This is at most once per beaconGap, however much was appended, so that the cost for a node
// does not grow with the users of other nodes.
type beacon struct {
	wake *time.Timer // fires when a postponed beacon is due
	last time.Time   // when the last beacon was sent
	owed bool        // whether something has been appended since the last beacon
}

// due reports whether to send a beacon together with hints.
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
