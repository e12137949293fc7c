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

// send drains the queue until ctx ends.
func (b *Bus) send(ctx context.Context) {
	select {
	case <-b.known:
	case <-ctx.Done():
		return
	}
	client := b.client(ctx, false)
	defer client.Close()
	var pause bus.Backoff
	beacon := beacon{wake: time.NewTimer(beaconGap)}
	defer beacon.wake.Stop()
	for {
		hints := b.queue.TakeOr(ctx, maxBatch, beacon.wake.C)
		if ctx.Err() != nil {
			return
		}
		err := b.publish(ctx, client, hints, beacon.due(hints, time.Now()))
		if err != nil {
			b.count.Dropped.Add(int64(len(hints)))
			b.sessions.Logger.Debug("hints were lost", "hints", len(hints), "error", err)
			pause.Wait(ctx)
			continue
		}
		pause.Reset()
		b.count.Sent.Add(int64(len(hints)))
	}
}

// publish sends each hint to its user's channel in one round trip, and the
// beacon to everybody.
func (b *Bus) publish(ctx context.Context, client *redis.Client, hints []bridge.Hint, beacon bool) error {
	limited, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	pipe := client.Pipeline()
	tell := pipe.Publish
	if b.sharded.Load() {
		tell = pipe.SPublish
	}
	for _, h := range hints {
		channel := b.channel(h.User)
		if h.User == "" {
			channel = b.everybody()
		}
		for _, m := range bus.Encode(b.node, []bridge.Hint{h}, maxMessage) {
			tell(limited, channel, m)
		}
	}
	if beacon {
		for _, m := range bus.Encode(b.node, []bridge.Hint{{Type: bridge.HintAppended}}, maxMessage) {
			tell(limited, b.everybody(), m)
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

// due tells whether a beacon goes out with hints.
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
