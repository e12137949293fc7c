package broker

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/delivery"
)

// memLog is the log in memory, for tests of what happens on the wire. Delivery is tested in
// bridge/delivery and storage in db.
type memLog struct {
	mu          sync.Mutex
	rows        map[bridge.UserID][]bridge.Notification
	n           int64
	sessions    map[bridge.Device]*memSession
	gen         int64
	unavailable bool
}

type memSession struct{ bridge.Session }

func newMemLog() *memLog {
	return &memLog{rows: map[bridge.UserID][]bridge.Notification{}, sessions: map[bridge.Device]*memSession{}}
}

func (l *memLog) setUnavailable(unavailable bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unavailable = unavailable
}

// lock locks the log. It fails while the database is unavailable.
func (l *memLog) lock() error {
	l.mu.Lock()
	if l.unavailable {
		l.mu.Unlock()
		return bridge.ErrUnavailable
	}
	return nil
}

func (l *memLog) Append(_ context.Context, c bridge.Command) (bridge.Result, error) {
	if err := l.lock(); err != nil {
		return bridge.Result{}, err
	}
	defer l.mu.Unlock()
	var r bridge.Result
	for _, d := range c.Drafts {
		l.n++
		n := bridge.Notification{ID: l.n, Seq: bridge.Seq(len(l.rows[d.User]) + 1), User: d.User, Kind: d.Kind,
			Title: d.Title, Message: d.Message, CreatedAt: time.Now().UTC()}
		if d.ExpiresIn > 0 {
			n.ExpiresAt = n.CreatedAt.Add(d.ExpiresIn)
		}
		l.rows[d.User] = append(l.rows[d.User], n)
		r.Appended = append(r.Appended, n)
	}
	return r, nil
}

func (l *memLog) After(_ context.Context, u bridge.UserID, after bridge.Seq, limit int) ([]bridge.Notification, error) {
	if err := l.lock(); err != nil {
		return nil, err
	}
	defer l.mu.Unlock()
	rows := l.rows[u]
	rows = rows[min(int(after), len(rows)):]
	return append([]bridge.Notification(nil), rows[:min(limit, len(rows))]...), nil
}

func (l *memLog) head(u bridge.UserID) bridge.Head {
	rows := l.rows[u]
	if len(rows) == 0 {
		return bridge.Head{}
	}
	n := rows[len(rows)-1]
	return bridge.Head{Last: n.Seq, Latest: &n}
}

func (l *memLog) Head(_ context.Context, u bridge.UserID) (bridge.Head, error) {
	if err := l.lock(); err != nil {
		return bridge.Head{}, err
	}
	defer l.mu.Unlock()
	return l.head(u), nil
}

func (l *memLog) Skip(_ context.Context, u bridge.UserID, after bridge.Seq, limit int) (bridge.Seq, error) {
	if err := l.lock(); err != nil {
		return 0, err
	}
	defer l.mu.Unlock()
	return max(after, bridge.Seq(len(l.rows[u])-limit)), nil
}

func (l *memLog) Starts(ctx context.Context, users []bridge.UserID, since *bridge.Seq, limit int) (map[bridge.UserID]bridge.Start, error) {
	out := map[bridge.UserID]bridge.Start{}
	for _, u := range users {
		h, err := l.Head(ctx, u)
		if err != nil {
			return nil, err
		}
		start := bridge.Start{Head: h, After: h.Last}
		if since != nil {
			start.After, _ = l.Skip(ctx, u, min(*since, h.Last), limit)
		}
		out[u] = start
	}
	return out, nil
}

func (l *memLog) Open(_ context.Context, o bridge.OpenSession) (bridge.Session, error) {
	if err := l.lock(); err != nil {
		return bridge.Session{}, err
	}
	defer l.mu.Unlock()
	l.gen++
	s, ok := l.sessions[o.Device]
	if o.Clean || !ok {
		delete(l.sessions, o.Device)
		s, ok = &memSession{}, false
	}
	s.Generation, s.Present = l.gen, ok
	if o.Expiry > 0 {
		l.sessions[o.Device] = s
	}
	return s.Session, nil
}

func (l *memLog) Subscribe(_ context.Context, d bridge.Device, gen int64, sub bridge.Subscription, since *bridge.Seq) (bridge.Head, bool, error) {
	if err := l.lock(); err != nil {
		return bridge.Head{}, false, err
	}
	defer l.mu.Unlock()
	s := l.sessions[d]
	if s == nil || s.Generation != gen {
		return bridge.Head{}, true, nil
	}
	h := l.head(d.User)
	if s.Subscribed == nil {
		s.Acked = h.Last
	}
	if since != nil {
		s.Acked = min(*since, h.Last)
	}
	s.Subscribed = &sub
	return h, false, nil
}

func (l *memLog) Unsubscribe(_ context.Context, d bridge.Device, gen int64) error {
	if err := l.lock(); err != nil {
		return err
	}
	defer l.mu.Unlock()
	if s := l.sessions[d]; s != nil && s.Generation == gen {
		s.Subscribed = nil
	}
	return nil
}

func (l *memLog) Advance(_ context.Context, as []bridge.Advance) error {
	if err := l.lock(); err != nil {
		return err
	}
	defer l.mu.Unlock()
	for _, a := range as {
		s := l.sessions[a.Device]
		if s == nil || s.Generation != a.Generation {
			continue
		}
		s.Acked, s.Sent = max(s.Acked, a.Acked), a.Sent
		if a.Closed && a.Expiry == 0 {
			delete(l.sessions, a.Device)
		}
	}
	return nil
}

func (l *memLog) Deliveries(context.Context, bridge.Notification) ([]bridge.Delivery, error) {
	return nil, nil
}

func (l *memLog) Now(context.Context) (bridge.Position, error) {
	return bridge.Position(strconv.Itoa(0)), nil
}

func (l *memLog) Since(_ context.Context, p bridge.Position, _ int) ([]bridge.Notification, bridge.Position, bool, error) {
	return nil, p, false, nil
}

func (l *memLog) Changed(_ context.Context, p bridge.Position, _ int) ([]bridge.Change, bridge.Position, bool, error) {
	return nil, p, false, nil
}

func (l *memLog) Retained(_ context.Context, after bridge.UserID, limit int) ([]bridge.Notification, error) {
	return nil, nil
}

// singleNode is a cluster of one node, in which there are never any orders.
type singleNode struct{ delivery.Membership }

func (singleNode) Beat(context.Context, string, bridge.Figures) error { return nil }
func (singleNode) Leave(context.Context, string) error                { return nil }
func (singleNode) Register(context.Context, string, []bridge.Connection, []bridge.Connection) error {
	return nil
}
func (singleNode) Revocations(context.Context, bridge.Revocation, int) ([]bridge.Revocation, error) {
	return nil, nil
}

func (singleNode) Poll(context.Context, string, time.Time) ([]bridge.Order, time.Time, error) {
	return nil, time.Now(), nil
}

type nopBus struct{}

func (nopBus) Publish(...bridge.Hint)                              {}
func (nopBus) Run(ctx context.Context, _ bridge.HintHandler) error { <-ctx.Done(); return nil }
func (nopBus) Ready() error                                        { return nil }
