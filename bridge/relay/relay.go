// Package relay publishes every notification to an external MQTT 5 broker or
// cluster as well, retained and with QoS 1, on the topic it has here.
//
// The log stays the truth: the relay is one more cursor over it. One node relays
// at a time. It holds a lease in the database and connects under one fixed client
// id, so that the broker itself ends the connection of a node that lost the lease
// and does not know it yet (MQTT 5 §3.1.4-3). Its place is stored after a batch
// was acknowledged whole; a crash of either side repeats at most one batch, in
// order.
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

// ClientID is the one client id all nodes use at the external broker.
const ClientID = "falconbridge-relay"

// Options sets up a Relay. URL, Node, Feed and Store are required.
type Options struct {
	URL      *url.URL // mqtt(s)://user:pass@host:port
	Node     string
	Feed     Feed
	Store    Store
	Topics   bridge.Topics
	Epoch    func() string // nil writes no epoch property
	ClientID string        // "" means ClientID; namespaces that share a broker need their own
	Logger   *slog.Logger  // nil means slog.Default

	// Now is the database's clock, by which notifications expire. nil means this node's.
	Now func() time.Time

	Lease  time.Duration // 0 means 10s
	Poll   time.Duration // between looks at an unchanged log; 0 means 250ms
	Batch  int           // notifications read at once; 0 means 500
	Window int           // users published to at once; 0 means 64
	Query  time.Duration // longest wait for the database; 0 means 2s
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

// CheckURL reports whether u names an external broker.
func CheckURL(u *url.URL) error {
	switch {
	case u.Scheme != "mqtt" && u.Scheme != "mqtts":
		return errors.New("its scheme is neither mqtt nor mqtts")
	case u.Host == "":
		return errors.New("it names no host")
	case u.Path != "" && u.Path != "/", u.RawQuery != "", u.Fragment != "":
		return errors.New("it has more than mqtt(s)://user:pass@host:port")
	}
	return nil
}

// Relay is one node's side of the relay.
type Relay struct {
	o     Options
	wake  chan struct{}
	stats struct{ active, connected, published, cleared, oversize, failed atomic.Int64 }
}

// Stats are the relay's counters since the start.
type Stats struct {
	Active    bool  // this node relays
	Connected bool  // to the external broker
	Published int64 // acknowledged by the external broker
	Cleared   int64 // retained messages cleared or replaced after a mute or delete
	Oversize  int64 // left out: over the external broker's Maximum Packet Size
	Failed    int64 // attempts that ended in an error
}

// New returns a relay over o; it fails for a URL that cannot be one.
func New(o Options) (*Relay, error) {
	if err := CheckURL(o.URL); err != nil {
		return nil, fmt.Errorf("the relay's URL: %w", err)
	}
	return &Relay{o: o.withDefaults(), wake: make(chan struct{}, 1)}, nil
}

// Wake says that the log grew. It does not block.
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

// Run relays while it holds the lease, and waits for it otherwise, until ctx ends.
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

// backoff doubles a pause from least to most.
type backoff struct{ least, most, now time.Duration }

func newBackoff(least, most time.Duration) *backoff {
	return &backoff{least: least, most: max(least, most)}
}

func (b *backoff) reset() { b.now = 0 }

func (b *backoff) next() time.Duration {
	b.now = min(max(b.least, 2*b.now), b.most)
	return b.now
}
