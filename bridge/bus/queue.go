package bus

import (
	"context"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// Queue stands between Publish, which never waits, and the one goroutine that
// sends. What finds it full is dropped and counted.
type Queue struct {
	hints chan bridge.Hint
	count *Counters
}

// NewQueue returns a queue for at most size hints that counts into c.
func NewQueue(size int, c *Counters) *Queue {
	return &Queue{hints: make(chan bridge.Hint, size), count: c}
}

// Put adds h, or drops it. It does not block.
func (q *Queue) Put(h bridge.Hint) {
	h.Items = nil // would be kept alive for nobody
	select {
	case q.hints <- h:
	default:
		q.count.Dropped.Add(1)
	}
}

// Take waits for a hint and returns it with those behind it, at most limit. It
// returns none when ctx ends.
func (q *Queue) Take(ctx context.Context, limit int) []bridge.Hint {
	return q.TakeOr(ctx, limit, nil)
}

// TakeOr is Take that also returns, with none, when wake tells something.
func (q *Queue) TakeOr(ctx context.Context, limit int, wake <-chan time.Time) []bridge.Hint {
	var hints []bridge.Hint
	select {
	case <-ctx.Done():
		return nil
	case <-wake:
		return nil
	case h := <-q.hints:
		hints = append(hints, h)
	}
	for len(hints) < limit {
		select {
		case h := <-q.hints:
			hints = append(hints, h)
		default:
			return hints
		}
	}
	return hints
}
