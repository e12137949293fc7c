package delivery

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/fakeclock"
)

// fakeLink is the link to a device. It keeps what it received.
type fakeLink struct {
	mu     sync.Mutex
	got    []Message
	states []StateMessage
	order  []string // everything received: seqs and "state"
	ended  []bridge.EndReason
	pace   time.Duration // how long a write takes
	refuse int           // a message with a longer title exceeds the Maximum Packet Size; 0: none does
	broken error
}

func (f *fakeLink) Send(ms []Message) error {
	fakeclock.Spend(f.pace)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.broken != nil {
		return f.broken
	}
	for i := range ms {
		if f.refuse > 0 && len(ms[i].Title) > f.refuse {
			continue
		}
		ms[i].Delivered = true
		f.got = append(f.got, ms[i])
		f.order = append(f.order, fmt.Sprint(ms[i].Seq))
	}
	return nil
}

func (f *fakeLink) SendState(m StateMessage) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.broken != nil || f.refuse > 0 && len(m.Payload) > f.refuse {
		return false, f.broken
	}
	f.states = append(f.states, m)
	f.order = append(f.order, "state")
	return true, nil
}

func (f *fakeLink) End(r bridge.EndReason) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = append(f.ended, r)
}

// drain returns the messages received since the last call, as "seq", with r for a retained
// copy and d for DUP.
func (f *fakeLink) drain() (words []string, ids []uint16) {
	f.mu.Lock()
	defer f.mu.Unlock()
	words = []string{}
	for _, m := range f.got {
		w := fmt.Sprint(m.Seq)
		if m.Retain {
			w += "r"
		}
		if m.Dup {
			w += "d"
		}
		words = append(words, w)
		ids = append(ids, m.PacketID)
	}
	f.got = nil
	return words, ids
}

func (f *fakeLink) reasons() []bridge.EndReason {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.ended)
}

// world is a hub with a memLog. The hub runs until the test ends.
type world struct {
	t   *testing.T
	log *memLog
	hub *Hub
	svc *bridge.Service
}

type deafBus struct{}

func (deafBus) Publish(...bridge.Hint)                              {}
func (deafBus) Run(ctx context.Context, _ bridge.HintHandler) error { <-ctx.Done(); return nil }
func (deafBus) Ready() error                                        { return nil }

// started is the age of the hub that newWorld returns: all its loops have started.
const started = 10 * stagger

func newWorld(t *testing.T, o Options) *world {
	l := newMemLog()
	o.Log, o.Sessions, o.Feed = l, l, l
	if o.Cluster == nil {
		o.Cluster = singleNode{}
	}
	if o.Epoch == nil {
		o.Epoch = func() string { return "e1" }
	}
	w := &world{t: t, log: l, hub: NewHub(o)}
	w.svc = bridge.NewService(bridge.ServiceOptions{Log: l, Hub: w.hub, Bus: deafBus{}})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.hub.Run(ctx) }()
	fakeclock.Advance(started)
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, bridge.ErrUnavailable) {
			t.Errorf("the hub ended with %v", err)
		}
	})
	return w
}

func (w *world) notify(u bridge.UserID, titles ...string) {
	w.t.Helper()
	for _, s := range titles {
		if _, err := w.svc.Notify(context.Background(), bridge.Draft{User: u, Title: s, Message: s}, nil); err != nil {
			w.t.Fatalf("notify: %v", err)
		}
	}
}

// appendUnheard appends to u's log, and the hint is lost.
func (w *world) appendUnheard(u bridge.UserID) {
	w.t.Helper()
	_, err := w.log.Append(context.Background(), bridge.Command{Drafts: []bridge.Draft{{User: u, Title: "a", Message: "a"}}})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) connect(r ConnectRequest) (*Conn, *fakeLink, bool) {
	w.t.Helper()
	if r.Claims.User == "" {
		r.Claims.User = r.Device.User
	}
	if r.Claims.ExpiresAt.IsZero() {
		r.Claims.ExpiresAt = time.Now().Add(240 * time.Hour)
	}
	l := &fakeLink{}
	c, present, err := w.hub.Connect(context.Background(), r, l)
	if err != nil {
		w.t.Fatalf("connect: %v", err)
	}
	c.Resume()
	return c, l, present
}

// subscribed connects a device of u with a persistent session and subscribes it to u's topic.
func (w *world) subscribed(u bridge.UserID) (*Conn, *fakeLink) {
	w.t.Helper()
	c, l, _ := w.connect(persistent(u))
	w.subscribe(c, qos1)
	return c, l
}

func (w *world) subscribe(c *Conn, r SubscribeRequest, since ...bridge.Seq) {
	w.t.Helper()
	var after *bridge.Seq
	if len(since) > 0 {
		after = &since[0]
	}
	if r.Filter == "" {
		r.Filter = w.hub.o.Topics.Status(c.device.User)
	}
	if err := c.Subscribe(context.Background(), []SubscribeRequest{r}, after)[0]; err != nil {
		w.t.Fatalf("subscribe: %v", err)
	}
	c.Activate(r.Filter)
}
