// Package relay publishes every notification to an external MQTT 5 broker or cluster as well. It uses
// the topics of the embedded broker, QoS 1 and RETAIN.
//
// The log remains the source of truth, and the relay is another cursor into it. One node at a time
// is the relay. That node holds a lease in the database. All nodes use the same client id, so when
// the next holder connects, the external broker ends the connection of a former holder that has not
// noticed the loss of its lease (MQTT 5 §3.1.4-3). The relay stores its progress after a batch has
// been acknowledged completely, so a crash on either side repeats at most one batch, in order.
package relay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// ClientID is the client id that all nodes use at the external broker.
const ClientID = "falconbridge-relay"

// Options sets up a Relay. URL, Node, Feed and Store are required.
type Options struct {
	URL      *url.URL // mqtt(s)://user:pass@host:port
	Node     string
	Feed     Feed
	Store    Store
	Topics   bridge.Topics
	Epoch    func() string // nil means that messages have no epoch property
	ClientID string        // "" means ClientID; namespaces that share a broker need different ones
	Logger   *slog.Logger  // nil means slog.Default

	// Now returns the time of the database's clock, which decides when notifications expire.
	// nil means this node's clock.
	Now func() time.Time

	Lease  time.Duration // how long the lease lasts without a renewal; 0 means 10 s
	Poll   time.Duration // how often to look for notifications without a wake-up; 0 means 250 ms
	Batch  int           // how many notifications to read at once; 0 means 500
	Window int           // to how many users to publish in parallel; 0 means 64
	Query  time.Duration // how long to wait for the database; 0 means 2 s
}

func (o Options) withDefaults() Options {
	o.ClientID = cmp.Or(o.ClientID, ClientID)
	o.Logger = cmp.Or(o.Logger, slog.Default()).With("component", "relay")
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Lease = cmp.Or(o.Lease, 10*time.Second)
	o.Poll = cmp.Or(o.Poll, 250*time.Millisecond)
	o.Batch = cmp.Or(o.Batch, 500)
	o.Window = cmp.Or(o.Window, 64)
	o.Query = cmp.Or(o.Query, 2*time.Second)
	return o
}

// CheckURL returns an error unless u is the URL of a broker.
func CheckURL(u *url.URL) error {
	switch {
	case u.Scheme != "mqtt" && u.Scheme != "mqtts":
		return errors.New("its scheme is neither mqtt nor mqtts")
	case u.Host == "":
		return errors.New("it has no host")
	case u.Path != "" && u.Path != "/", u.RawQuery != "", u.Fragment != "":
		return errors.New("it has more than mqtt(s)://user:pass@host:port")
	}
	return nil
}

// Relay runs on every node, but relays only while its node holds the lease.
type Relay struct {
	o     Options
	wake  chan struct{}
	stats struct{ active, connected, published, cleared, oversize, failed atomic.Int64 }
}

// Stats are the relay's counters since the start.
type Stats struct {
	Active    bool  // whether this node holds the lease
	Connected bool  // whether it is connected to the external broker
	Published int64 // messages acknowledged by the external broker
	Cleared   int64 // retained messages cleared or replaced after a mute or delete
	Oversize  int64 // messages skipped because they exceed the broker's Maximum Packet Size
	Failed    int64 // terms that ended with an error
}

// New returns a relay. It fails if o.URL is not the URL of a broker.
func New(o Options) (*Relay, error) {
	if err := CheckURL(o.URL); err != nil {
		return nil, fmt.Errorf("the relay's URL: %w", err)
	}
	return &Relay{o: o.withDefaults(), wake: make(chan struct{}, 1)}, nil
}

// Wake makes the relay read the log, which has grown. It does not block.
func (r *Relay) Wake() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Stats returns the counters.
func (r *Relay) Stats() Stats {
	s := &r.stats
	return Stats{s.active.Load() > 0, s.connected.Load() > 0, s.published.Load(), s.cleared.Load(),
		s.oversize.Load(), s.failed.Load()}
}

// Run relays while this node holds the lease, and otherwise tries to acquire it, until ctx ends.
func (r *Relay) Run(ctx context.Context) error {
	pause := newBackoff(r.o.Poll, r.o.Lease)
	for ctx.Err() == nil {
		begun := time.Now()
		state, held, err := r.lease(ctx)
		switch {
		case err != nil:
			r.o.Logger.Warn("the relay waits for the database", "error", err)
		case held:
			if err = r.term(ctx, state, begun.Add(r.o.Lease)); err != nil && ctx.Err() == nil {
				r.stats.failed.Add(1)
				r.o.Logger.Warn("the relay reconnects", "error", err)
			}
		}
		if err == nil {
			pause.reset()
		}
		r.sleep(ctx, pause.next())
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.o.Query)
	defer cancel()
	if err := r.o.Store.ReleaseRelay(last, r.o.Node); err != nil {
		return fmt.Errorf("release the relay's lease: %w", err)
	}
	return nil
}

func (r *Relay) lease(ctx context.Context) (state string, held bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, r.o.Query)
	defer cancel()
	return r.o.Store.LeaseRelay(ctx, r.o.Node, r.o.Lease)
}

func (r *Relay) sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// backoff computes pauses that double from shortest to longest.
type backoff struct{ shortest, longest, last time.Duration }

func newBackoff(shortest, longest time.Duration) *backoff {
	return &backoff{shortest: shortest, longest: max(shortest, longest)}
}

func (b *backoff) reset() { b.last = 0 }

func (b *backoff) next() time.Duration {
	b.last = min(max(b.shortest, 2*b.last), b.longest)
	return b.last
}
