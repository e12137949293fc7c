package bridge

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

// memLog is the log in memory: rows in commit order, sessions in a map. The
// engine's tests fake time with synctest, which real databases do not follow;
// the same rules run on real ones in TestModelKeepsEveryInvariant.
type memLog struct {
	mu       sync.Mutex
	rows     []Notification
	last     map[UserID]Seq
	muted    map[UserID]bool
	sessions map[Device]*memSession
	gen      int64
	away     bool
	reads    int
	advances int
}

type memSession struct {
	Session
	open bool
}

func newMemLog() *memLog {
	return &memLog{last: map[UserID]Seq{}, muted: map[UserID]bool{}, sessions: map[Device]*memSession{}}
}

func (l *memLog) enter() (func(), error) {
	l.mu.Lock()
	if l.away {
		l.mu.Unlock()
		return nil, ErrUnavailable
	}
	return l.mu.Unlock, nil
}

func (l *memLog) setAway(away bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.away = away
}

func (l *memLog) Append(_ context.Context, c Command) (Result, error) {
	leave, err := l.enter()
	if err != nil {
		return Result{}, err
	}
	defer leave()
	var r Result
	for _, d := range c.Drafts {
		l.last[d.User]++
		n := Notification{ID: int64(len(l.rows) + 1), Seq: l.last[d.User], User: d.User, Kind: d.Kind,
			Title: d.Title, Message: d.Message, CreatedAt: time.Now().UTC(), Muted: l.muted[d.User]}
		l.rows = append(l.rows, n)
		r.Appended = append(r.Appended, n)
	}
	return r, nil
}

func (l *memLog) deliverable(u UserID, after Seq) []Notification {
	var out []Notification
	for _, n := range l.rows {
		if n.User == u && n.Seq > after && !n.Muted && !l.muted[u] {
			out = append(out, n)
		}
	}
	return out
}

func (l *memLog) After(_ context.Context, u UserID, after Seq, limit int) ([]Notification, error) {
	leave, err := l.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	l.reads++
	all := l.deliverable(u, after)
	return all[:min(limit, len(all))], nil
}

func (l *memLog) head(u UserID) Head {
	h := Head{Last: l.last[u]}
	for _, n := range l.rows {
		if n.User == u && !l.muted[u] {
			h.Latest = &n
		}
	}
	return h
}

func (l *memLog) Head(_ context.Context, u UserID) (Head, error) {
	leave, err := l.enter()
	if err != nil {
		return Head{}, err
	}
	defer leave()
	return l.head(u), nil
}

func (l *memLog) Skip(_ context.Context, u UserID, after Seq, limit int) (Seq, error) {
	leave, err := l.enter()
	if err != nil {
		return 0, err
	}
	defer leave()
	all := l.deliverable(u, after)
	if len(all) <= limit {
		return after, nil
	}
	return all[len(all)-limit].Seq - 1, nil
}

func (l *memLog) delete(u UserID, s Seq) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rows = slices.DeleteFunc(l.rows, func(n Notification) bool { return n.User == u && n.Seq == s })
}

func (l *memLog) setMuted(u UserID, muted bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.muted[u] = muted
}

func (l *memLog) Open(_ context.Context, o OpenSession) (Session, error) {
	leave, err := l.enter()
	if err != nil {
		return Session{}, err
	}
	defer leave()
	l.gen++
	s, ok := l.sessions[o.Device]
	if o.Clean || !ok {
		delete(l.sessions, o.Device)
		s, ok = &memSession{}, false
	}
	s.Generation, s.Present, s.open = l.gen, ok, true
	if o.Expiry > 0 {
		l.sessions[o.Device] = s
	}
	return s.Session, nil
}

func (l *memLog) Subscribe(_ context.Context, d Device, gen int64, sub Subscription, since *Seq) (Head, bool, error) {
	leave, err := l.enter()
	if err != nil {
		return Head{}, false, err
	}
	defer leave()
	s := l.sessions[d]
	if s == nil || s.Generation != gen {
		return Head{}, true, nil
	}
	h := l.head(d.User)
	if s.Subscribed == nil {
		s.Acked, s.From = h.Last, h.Last
	}
	if since != nil {
		s.Acked = min(*since, h.Last)
	}
	s.Subscribed = &sub
	return h, false, nil
}

func (l *memLog) Unsubscribe(_ context.Context, d Device, gen int64) error {
	leave, err := l.enter()
	if err != nil {
		return err
	}
	defer leave()
	if s := l.sessions[d]; s != nil && s.Generation == gen {
		s.Subscribed = nil
	}
	return nil
}

func (l *memLog) Advance(_ context.Context, as []Advance) error {
	leave, err := l.enter()
	if err != nil {
		return err
	}
	defer leave()
	l.advances++
	for _, a := range as {
		s := l.sessions[a.Device]
		if s == nil || s.Generation != a.Generation {
			continue
		}
		s.Acked, s.Sent, s.From = max(s.Acked, a.Acked), a.Sent, max(s.From, a.From)
		if a.Closed && a.Expiry == 0 {
			delete(l.sessions, a.Device)
		}
	}
	return nil
}

func (l *memLog) acked(d Device) Seq {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.sessions[d]; s != nil {
		return s.Acked
	}
	return -1
}

func (l *memLog) Deliveries(context.Context, Notification) ([]Delivery, error) { return nil, nil }

// lone is a cluster of one node: nobody else leaves orders.
type lone struct{ Cluster }

func (lone) Beat(context.Context, string, Figures) error { return nil }
func (lone) Leave(context.Context, string) error         { return nil }
func (lone) Register(_ context.Context, _ string, _, _ []Connection) error {
	return nil
}

func (lone) Poll(_ context.Context, _ string, _ time.Time) (View, error) {
	return View{At: time.Now()}, nil
}

func (l *memLog) Now(context.Context) (Position, error) {
	leave, err := l.enter()
	if err != nil {
		return "", err
	}
	defer leave()
	return Position(strconv.Itoa(len(l.rows))), nil
}

func (l *memLog) Since(_ context.Context, p Position, limit int) ([]Notification, Position, error) {
	leave, err := l.enter()
	if err != nil {
		return nil, p, err
	}
	defer leave()
	from, _ := strconv.Atoi(string(p))
	to := min(from+limit, len(l.rows))
	return slices.Clone(l.rows[from:to]), Position(strconv.Itoa(to)), nil
}

func (l *memLog) Changed(_ context.Context, p Position) ([]Change, Position, error) {
	leave, err := l.enter()
	if err != nil {
		return nil, p, err
	}
	defer leave()
	from, _ := strconv.Atoi(string(p))
	var out []Change
	for _, n := range l.rows[min(from, len(l.rows)):] {
		out = append(out, Change{n.User, n.Seq})
	}
	return out, Position(strconv.Itoa(len(l.rows))), nil
}

func (l *memLog) Retained(_ context.Context, after UserID, limit int) ([]Notification, error) {
	leave, err := l.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	var out []Notification
	for _, u := range slices.Sorted(mapKeys(l.last)) {
		if h := l.head(u); u > after && h.Latest != nil && len(out) < limit {
			out = append(out, *h.Latest)
		}
	}
	return out, nil
}

func mapKeys(m map[UserID]Seq) func(func(UserID) bool) {
	return func(yield func(UserID) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// fakeLink is a device: it keeps what it got.
type fakeLink struct {
	mu     sync.Mutex
	got    []Message
	ended  []EndReason
	refuse int // messages with a title longer than this are over the packet size; 0: none
	broken error
}

func (f *fakeLink) Send(ms []Message) error {
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
	}
	return nil
}

func (f *fakeLink) End(r EndReason) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = append(f.ended, r)
}

// take returns what came since the last take, as "seq", with r for a retained
// copy and d for DUP.
func (f *fakeLink) take() (words []string, ids []uint16) {
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

func (f *fakeLink) reasons() []EndReason {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.ended)
}

// world is a hub over a memLog, with its upkeep running until the test ends.
type world struct {
	t   *testing.T
	log *memLog
	hub *Hub
	svc *Service
}

type deafBus struct{}

func (deafBus) Publish(...Hint)                              {}
func (deafBus) Run(ctx context.Context, _ HintHandler) error { <-ctx.Done(); return nil }
func (deafBus) Ready() error                                 { return nil }

func newWorld(t *testing.T, o Options) *world {
	l := newMemLog()
	o.Log, o.Sessions, o.Feed, o.Cluster, o.Epoch = l, l, l, lone{}, func() string { return "e1" }
	w := &world{t: t, log: l, hub: NewHub(o)}
	w.svc = NewService(ServiceOptions{Log: l, Sessions: l, Cluster: lone{}, Hub: w.hub, Bus: deafBus{}})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.hub.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, ErrUnavailable) {
			t.Errorf("the hub ended with %v", err)
		}
	})
	return w
}

func (w *world) notify(u UserID, titles ...string) {
	w.t.Helper()
	for _, s := range titles {
		if _, err := w.svc.Notify(context.Background(), Draft{User: u, Title: s, Message: s}, nil); err != nil {
			w.t.Fatalf("notify: %v", err)
		}
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

func (w *world) subscribe(c *Conn, r SubscribeRequest) {
	w.t.Helper()
	if r.Filter == "" {
		r.Filter = w.hub.o.Topics.Status(c.device.User)
	}
	if err := c.Subscribe(context.Background(), r); err != nil {
		w.t.Fatalf("subscribe: %v", err)
	}
	c.Activate(r.Filter)
}
