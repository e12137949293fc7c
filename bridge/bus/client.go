package bus

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// Stats count what a bus did since it was made.
type Stats struct {
	Sent       int64 // hints handed to the server
	Dropped    int64 // hints lost here: the queue was full, or sending failed
	Received   int64 // other nodes' hints handed to the handler
	Reconnects int64 // times the connection came back after it was lost
}

// Counters are the Stats while they count. The zero value is ready to use.
type Counters struct {
	Sent, Dropped, Received, Reconnects atomic.Int64
}

// Stats returns the counters of this moment.
func (c *Counters) Stats() Stats {
	return Stats{c.Sent.Load(), c.Dropped.Load(), c.Received.Load(), c.Reconnects.Load()}
}

// Client is what buses over a server have in common: it keeps a session that listens
// connected, and has a bounded queue between Publish, which never waits, and the one
// goroutine that sends. A bus embeds it.
type Client struct {
	Counters
	Node   string // this node's name
	Logger *slog.Logger

	queue chan bridge.Hint

	mu     sync.Mutex
	err    error // why not connected; nil while connected
	ever   bool  // connected once
	logged bool  // the outage is in the log
}

// NewClient returns the client of node, of which at most queue hints may wait to be sent.
// A nil logger means slog.Default.
func NewClient(node string, logger *slog.Logger, queue int) *Client {
	return &Client{
		Node:   node,
		Logger: cmp.Or(logger, slog.Default()).With("component", "bus"),
		queue:  make(chan bridge.Hint, queue),
	}
}

// Enqueue has h sent, or drops and counts it where the queue is full. It does not block.
func (c *Client) Enqueue(h bridge.Hint) {
	h.Items = nil // never leave the process, and would be kept alive in the queue
	select {
	case c.queue <- h:
	default:
		c.Dropped.Add(1)
	}
}

// Deliver hands the hints of a received message to h; see [Deliver].
func (c *Client) Deliver(message []byte, h bridge.HintHandler) {
	c.Received.Add(int64(Deliver(message, c.Node, h)))
}

// Run calls listen until ctx ends, with growing pauses between calls that fail, and send
// once, at the same time. listen calls up once it listens, and returns an error when it no
// longer does. send returns when ctx ends.
func (c *Client) Run(ctx context.Context, listen func(ctx context.Context, up func()) error, send func(context.Context)) error {
	var sending sync.WaitGroup
	sending.Go(func() { send(ctx) })
	var pause Backoff
	for ctx.Err() == nil {
		session, cancel := context.WithCancel(ctx)
		err := listen(session, func() {
			c.up()
			pause.Reset()
		})
		cancel()
		c.down(err, ctx.Err() == nil)
		pause.Wait(ctx)
	}
	sending.Wait()
	return nil
}

// errNew is what Ready returns before the first session listens.
var errNew = errors.New("the bus has not connected yet")

// Ready is nil while a session listens.
func (c *Client) Ready() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ever && c.err == nil {
		return errNew
	}
	return c.err
}

func (c *Client) up() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ever {
		c.Reconnects.Add(1)
		c.Logger.Info("the bus is connected again")
	}
	c.err, c.ever, c.logged = nil, true, false
}

// down notes the end of a session; of an outage only the first is logged.
func (c *Client) down(err error, outage bool) {
	if err == nil {
		err = errors.New("the connection ended")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
	if outage && !c.logged {
		c.logged = true
		c.Logger.Warn("the bus is unavailable, notifications for other nodes' devices wait for the sweep", "error", err)
	}
}

// SendBatches calls send with the hints that wait, at most limit, until ctx ends. It also
// calls send, without hints, each time that wake fires; nil: never. Hints of a send that
// fails are lost, which is counted, and a growing pause follows.
func (c *Client) SendBatches(ctx context.Context, limit int, wake <-chan time.Time, send func(context.Context, []bridge.Hint) error) {
	var pause Backoff
	for {
		hints := c.dequeue(ctx, limit, wake)
		if ctx.Err() != nil {
			return
		}
		if err := send(ctx, hints); err != nil {
			c.Dropped.Add(int64(len(hints)))
			c.Logger.Debug("hints were lost", "hints", len(hints), "error", err)
			pause.Wait(ctx)
			continue
		}
		pause.Reset()
		c.Sent.Add(int64(len(hints)))
	}
}

// dequeue waits for a hint and returns it with those behind it, at most limit. It returns
// none when ctx ends or wake fires.
func (c *Client) dequeue(ctx context.Context, limit int, wake <-chan time.Time) []bridge.Hint {
	var hints []bridge.Hint
	select {
	case <-ctx.Done():
		return nil
	case <-wake:
		return nil
	case h := <-c.queue:
		hints = append(hints, h)
	}
	for len(hints) < limit {
		select {
		case h := <-c.queue:
			hints = append(hints, h)
		default:
			return hints
		}
	}
	return hints
}

// Backoff is the pause between attempts: it doubles from 100 ms to 5 s, and each pause is
// drawn from the upper half of that, so that nodes that lost the same server do not
// reconnect in step.
type Backoff struct{ tries int }

// Reset starts over with the shortest pause.
func (b *Backoff) Reset() { b.tries = 0 }

// Wait pauses, or returns early when ctx ends.
func (b *Backoff) Wait(ctx context.Context) {
	t := time.NewTimer(b.next())
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

func (b *Backoff) next() time.Duration {
	const first, longest = 100 * time.Millisecond, 5 * time.Second
	d := min(first<<b.tries, longest)
	if d < longest {
		b.tries++
	}
	return d/2 + rand.N(d/2+1)
}
