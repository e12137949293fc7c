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

// Stats are counters of a bus since it was created.
type Stats struct {
	Sent       int64 // hints passed to the server
	Dropped    int64 // hints lost in this process, because the queue was full or sending failed
	Received   int64 // hints of other nodes passed to the handler
	Reconnects int64 // how often the connection was restored
}

// Counters count the Stats. The zero value is ready to use.
type Counters struct {
	Sent, Dropped, Received, Reconnects atomic.Int64
}

// Stats returns the current values.
func (c *Counters) Stats() Stats {
	return Stats{c.Sent.Load(), c.Dropped.Load(), c.Received.Load(), c.Reconnects.Load()}
}

// Client is the common part of all buses that use a server, which embed it. It keeps a listening
// session open, and starts another one when that ends. Published hints go into a bounded queue
// without blocking, and a single goroutine sends them.
type Client struct {
	Counters
	Node   string // this node's name
	Logger *slog.Logger

	queue chan bridge.Hint

	mu            sync.Mutex
	err           error // why the client is not connected; nil while it is
	everConnected bool
	outageLogged  bool // whether the current outage has been logged
}

// NewClient returns a client for node with a queue of the given length. A nil logger means
// slog.Default.
func NewClient(node string, logger *slog.Logger, queue int) *Client {
	return &Client{
		Node:   node,
		Logger: cmp.Or(logger, slog.Default()).With("component", "bus"),
		queue:  make(chan bridge.Hint, queue),
	}
}

// Enqueue queues h for sending. If the queue is full, h is dropped and counted. Enqueue does not
// block.
func (c *Client) Enqueue(h bridge.Hint) {
	h.Items = nil // items are not sent, and the queue would keep them in memory
	select {
	case c.queue <- h:
	default:
		c.Dropped.Add(1)
	}
}

// Deliver passes the hints of a received message to h and counts them; see [Deliver].
func (c *Client) Deliver(message []byte, h bridge.HintHandler) {
	c.Received.Add(int64(Deliver(message, c.Node, h)))
}

// Run calls send in a goroutine, and meanwhile calls listen repeatedly, with growing pauses after
// failures. It returns nil once ctx has ended and both have returned. listen runs one session: it
// must call up once it is listening, and return the reason when the session ends. send must return
// when ctx ends.
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

// errNeverConnected is the error of Ready before the first session.
var errNeverConnected = errors.New("the bus has not connected yet")

// Ready returns nil while a session is listening, and otherwise why none is.
func (c *Client) Ready() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.everConnected && c.err == nil {
		return errNeverConnected
	}
	return c.err
}

// up records that a session is listening.
func (c *Client) up() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.everConnected {
		c.Reconnects.Add(1)
		c.Logger.Info("the bus is connected again")
	}
	c.err, c.everConnected, c.outageLogged = nil, true, false
}

// down records the end of a session and its cause err. If outage is true, down logs it, but only
// once until a session listens again.
func (c *Client) down(err error, outage bool) {
	if err == nil {
		err = errors.New("the connection ended")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
	if outage && !c.outageLogged {
		c.outageLogged = true
		c.Logger.Warn("the bus is unavailable, notifications for other nodes' devices wait for the sweep", "error", err)
	}
}

// SendBatches calls send with the queued hints, at most limit at a time, until ctx ends. It also
// calls send without hints whenever wake fires; a nil wake never fires. If send fails, its hints
// are lost and counted as dropped, and the next call waits for a growing pause.
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

// dequeue waits for a hint and returns it together with other queued hints, at most limit in all.
// It returns none if ctx ends or wake fires.
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

// Backoff computes the pauses between attempts. The longest possible pause doubles from 100 ms to
// 5 s. Each pause is random between half of that and all of it, so that nodes that have lost the
// same server do not reconnect in step. The zero value is ready to use.
type Backoff struct{ tries int }

// Reset starts over with the shortest pause.
func (b *Backoff) Reset() { b.tries = 0 }

// Wait waits for the next pause, or until ctx ends.
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
