package delivery

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/fakeclock"
)

// memLog is the log in memory: rows in commit order, sessions in a map. These tests fake time
// with synctest, which does not work with real databases. TestModelKeepsEveryInvariant checks
// the same rules on real ones.
type memLog struct {
	mu          sync.Mutex
	rows        []bridge.Notification
	last        map[bridge.UserID]bridge.Seq
	muted       map[bridge.UserID]bool
	sessions    map[bridge.Device]*memSession
	gen         int64
	id          int64 // of the last row
	unavailable bool
	noSkip      bool          // Skip fails
	pace        time.Duration // how long a read by a pump takes
	age         time.Duration // of new rows: time from the call to the commit
	reads       int
	advances    int

	statements atomic.Int64 // statements that SUBSCRIBE packets caused
}

type memSession struct {
	bridge.Session
	open bool
}

func newMemLog() *memLog {
	return &memLog{last: map[bridge.UserID]bridge.Seq{}, muted: map[bridge.UserID]bool{}, sessions: map[bridge.Device]*memSession{}}
}

func (l *memLog) lock() (func(), error) {
	l.mu.Lock()
	if l.unavailable {
		l.mu.Unlock()
		return nil, bridge.ErrUnavailable
	}
	return l.mu.Unlock, nil
}

func (l *memLog) setUnavailable(unavailable bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unavailable = unavailable
}

func (l *memLog) setPace(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pace = d
}

// read takes as long as a read of a slow database.
func (l *memLog) read() {
	l.mu.Lock()
	pace := l.pace
	l.mu.Unlock()
	fakeclock.Spend(pace)
}

func (l *memLog) Append(_ context.Context, c bridge.Command) (bridge.Result, error) {
	leave, err := l.lock()
	if err != nil {
		return bridge.Result{}, err
	}
	defer leave()
	var r bridge.Result
	for _, d := range c.Drafts {
		l.last[d.User]++
		l.id++
		n := bridge.Notification{ID: l.id, Seq: l.last[d.User], User: d.User, Kind: d.Kind,
			Title: d.Title, Message: d.Message, CreatedAt: time.Now().UTC().Add(-l.age), Muted: l.muted[d.User], Replaces: d.Replaces}
		if d.ExpiresIn > 0 {
			n.ExpiresAt = time.Now().Add(d.ExpiresIn)
		}
		if d.Replaces != "" {
			l.rows = slices.DeleteFunc(l.rows, func(o bridge.Notification) bool { return o.User == d.User && o.Replaces == d.Replaces })
		}
		l.rows = append(l.rows, n)
		r.Appended = append(r.Appended, n)
	}
	return r, nil
}

func (l *memLog) deliverable(u bridge.UserID, after bridge.Seq) []bridge.Notification {
	var out []bridge.Notification
	for _, n := range l.rows {
		if n.User == u && n.Seq > after && !n.Muted && !l.muted[u] && !n.Expired(time.Now()) {
			out = append(out, n)
		}
	}
	return out
}

func (l *memLog) After(_ context.Context, u bridge.UserID, after bridge.Seq, limit int) ([]bridge.Notification, error) {
	l.read()
	leave, err := l.lock()
	if err != nil {
		return nil, err
	}
	defer leave()
	l.reads++
	all := l.deliverable(u, after)
	return all[:min(limit, len(all))], nil
}

func (l *memLog) head(u bridge.UserID) bridge.Head {
	h := bridge.Head{Last: l.last[u]}
	for _, n := range l.rows {
		if n.User == u && !l.muted[u] && !n.Expired(time.Now()) {
			h.Latest = &n
		}
	}
	return h
}

func (l *memLog) Head(_ context.Context, u bridge.UserID) (bridge.Head, error) {
	leave, err := l.lock()
	if err != nil {
		return bridge.Head{}, err
	}
	defer leave()
	return l.head(u), nil
}

func (l *memLog) Skip(_ context.Context, u bridge.UserID, after bridge.Seq, limit int) (bridge.Seq, error) {
	leave, err := l.lock()
	if err != nil {
		return 0, err
	}
	defer leave()
	if l.noSkip {
		return 0, bridge.ErrUnavailable
	}
	all := l.deliverable(u, after)
	if len(all) <= limit {
		return after, nil
	}
	return all[len(all)-limit].Seq - 1, nil
}

func (l *memLog) Starts(ctx context.Context, users []bridge.UserID, since *bridge.Seq, limit int) (map[bridge.UserID]bridge.Start, error) {
	l.statements.Add(1)
	out := map[bridge.UserID]bridge.Start{}
	for _, u := range users {
		h, err := l.Head(ctx, u)
		if err != nil {
			return nil, err
		}
		start := bridge.Start{Head: h, After: h.Last}
		if since != nil {
			start.After, _ = l.Skip(ctx, u, max(0, min(*since, h.Last)), limit)
		}
		out[u] = start
	}
	return out, nil
}

func (l *memLog) delete(u bridge.UserID, s bridge.Seq) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rows = slices.DeleteFunc(l.rows, func(n bridge.Notification) bool { return n.User == u && n.Seq == s })
}

func (l *memLog) erase(u bridge.UserID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rows = slices.DeleteFunc(l.rows, func(n bridge.Notification) bool { return n.User == u })
	delete(l.last, u)
}

func (l *memLog) setMuted(u bridge.UserID, muted bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.muted[u] = muted
}

func (l *memLog) Open(_ context.Context, o bridge.OpenSession) (bridge.Session, error) {
	leave, err := l.lock()
	if err != nil {
		return bridge.Session{}, err
	}
	defer leave()
	l.gen++
	s, ok := l.sessions[o.Device]
	if o.Clean || !ok {
		delete(l.sessions, o.Device)
		s, ok = &memSession{}, false
	}
	if s.Sent < 0 {
		s.Sent = l.last[o.Device.User]
	}
	s.Generation, s.Present, s.Shared, s.open = l.gen, ok, s.open, true
	if o.Expiry > 0 {
		l.sessions[o.Device] = s
	}
	return s.Session, nil
}

func (l *memLog) Subscribe(_ context.Context, d bridge.Device, gen int64, sub bridge.Subscription, since *bridge.Seq) (bridge.Head, bool, error) {
	l.statements.Add(1)
	leave, err := l.lock()
	if err != nil {
		return bridge.Head{}, false, err
	}
	defer leave()
	s := l.sessions[d]
	if s == nil || s.Generation != gen {
		return bridge.Head{}, true, nil
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

func (l *memLog) Unsubscribe(_ context.Context, d bridge.Device, gen int64) error {
	leave, err := l.lock()
	if err != nil {
		return err
	}
	defer leave()
	if s := l.sessions[d]; s != nil && s.Generation == gen {
		s.Subscribed = nil
	}
	return nil
}

func (l *memLog) Advance(_ context.Context, as []bridge.Advance) error {
	leave, err := l.lock()
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
		s.open = s.open && !a.Closed
		if a.Closed && a.Expiry == 0 {
			delete(l.sessions, a.Device)
		}
	}
	return nil
}

func (l *memLog) acked(d bridge.Device) bridge.Seq {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.sessions[d]; s != nil {
		return s.Acked
	}
	return -1
}

func (l *memLog) Deliveries(context.Context, bridge.Notification) ([]bridge.Delivery, error) {
	return nil, nil
}

func (l *memLog) Explain(context.Context, int64) (bridge.Explanation, error) {
	return bridge.Explanation{}, bridge.ErrNotFound
}

// singleNode is a cluster of one node, in which there are never any orders.
type singleNode struct{ Membership }

func (singleNode) Beat(context.Context, string, bridge.Figures) error { return nil }
func (singleNode) Leave(context.Context, string) error                { return nil }
func (singleNode) Register(_ context.Context, _ string, _, _ []bridge.Connection) error {
	return nil
}

func (singleNode) Poll(_ context.Context, _ string, _ time.Time) ([]bridge.Order, time.Time, error) {
	return nil, time.Now(), nil
}

func (singleNode) Revocations(context.Context, bridge.Revocation, int) ([]bridge.Revocation, error) {
	return nil, nil
}

func (l *memLog) Now(context.Context) (bridge.Position, error) {
	leave, err := l.lock()
	if err != nil {
		return "", err
	}
	defer leave()
	return bridge.Position(strconv.Itoa(len(l.rows))), nil
}

func (l *memLog) Since(_ context.Context, p bridge.Position, limit int) ([]bridge.Notification, bridge.Position, bool, error) {
	l.read()
	leave, err := l.lock()
	if err != nil {
		return nil, p, false, err
	}
	defer leave()
	from, _ := strconv.Atoi(string(p))
	to := min(from+limit, len(l.rows))
	return slices.Clone(l.rows[from:to]), bridge.Position(strconv.Itoa(to)), to-from == limit, nil
}

func (l *memLog) Changed(_ context.Context, p bridge.Position, limit int) ([]bridge.Change, bridge.Position, bool, error) {
	leave, err := l.lock()
	if err != nil {
		return nil, p, false, err
	}
	defer leave()
	from, _ := strconv.Atoi(string(p))
	from = min(from, len(l.rows))
	to := min(from+limit, len(l.rows))
	var out []bridge.Change
	for _, n := range l.rows[from:to] {
		out = append(out, bridge.Change{User: n.User, Last: n.Seq})
	}
	return out, bridge.Position(strconv.Itoa(to)), to-from == limit, nil
}

func (l *memLog) Retained(_ context.Context, after bridge.UserID, limit int) ([]bridge.Notification, error) {
	leave, err := l.lock()
	if err != nil {
		return nil, err
	}
	defer leave()
	var out []bridge.Notification
	for _, u := range slices.Sorted(mapKeys(l.last)) {
		if h := l.head(u); u > after && h.Latest != nil && len(out) < limit {
			out = append(out, *h.Latest)
		}
	}
	return out, nil
}

func mapKeys(m map[bridge.UserID]bridge.Seq) func(func(bridge.UserID) bool) {
	return func(yield func(bridge.UserID) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}
