package relay_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// fakeStore is the feed and the store of a relay in memory. A position is an index.
type fakeStore struct {
	mu          sync.Mutex
	rows        []bridge.Notification
	touched     []bridge.UserID
	unavailable bool

	holder string
	until  time.Time
	state  string
	saves  int
}

func (b *fakeStore) add(u bridge.UserID, n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.append(u, n)
}

// addAndDelete appends n notifications and deletes the one with the given seq, in one transaction.
func (b *fakeStore) addAndDelete(u bridge.UserID, n int, seq bridge.Seq) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.append(u, n)
	for i := range b.rows {
		if b.rows[i].User == u && b.rows[i].Seq == seq {
			b.rows[i].Muted = true // so that the positions of the others stay
		}
	}
	b.touched = append(b.touched, u)
}

func (b *fakeStore) append(u bridge.UserID, n int) {
	for range n {
		seq := bridge.Seq(1)
		for _, r := range b.rows {
			if r.User == u {
				seq = r.Seq + 1
			}
		}
		b.rows = append(b.rows, bridge.Notification{ID: int64(len(b.rows) + 1), Seq: seq, User: u, Kind: bridge.KindMessage,
			Title: fmt.Sprint("n", seq), Message: "m", CreatedAt: time.Now()})
	}
}

// hide removes everything of u from the feed, as a mute does.
func (b *fakeStore) hide(u bridge.UserID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.rows {
		if b.rows[i].User == u {
			b.rows[i].Muted = true
		}
	}
	b.touched = append(b.touched, u)
}

func (b *fakeStore) setUnavailable(yes bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.unavailable = yes
}

// lock locks b, or fails if it is unavailable.
func (b *fakeStore) lock() (unlock func(), err error) {
	b.mu.Lock()
	if b.unavailable {
		b.mu.Unlock()
		return nil, bridge.ErrUnavailable
	}
	return b.mu.Unlock, nil
}

func (b *fakeStore) latest(u bridge.UserID) *bridge.Notification {
	for _, r := range slices.Backward(b.rows) {
		if r.User == u && !r.Muted {
			return &r
		}
	}
	return nil
}

func (b *fakeStore) LatestAt(_ context.Context, users []bridge.UserID, p bridge.Position) (out []bridge.Notification, err error) {
	unlock, err := b.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	for _, u := range users {
		for _, r := range slices.Backward(b.rows[:index(p)]) {
			if r.User == u && !r.Muted {
				out = append(out, r)
				break
			}
		}
	}
	return out, nil
}

func (b *fakeStore) Now(context.Context) (bridge.Position, error) {
	unlock, err := b.lock()
	if err != nil {
		return "", err
	}
	defer unlock()
	return position(len(b.rows)), nil
}

func position(n int) bridge.Position { return bridge.Position(strconv.Itoa(n)) }

func index(p bridge.Position) int {
	n, _ := strconv.Atoi(string(p))
	return n
}

func (b *fakeStore) Since(_ context.Context, p bridge.Position, limit int) ([]bridge.Notification, bridge.Position, bool, error) {
	unlock, err := b.lock()
	if err != nil {
		return nil, p, false, err
	}
	defer unlock()
	to := min(index(p)+limit, len(b.rows))
	var out []bridge.Notification
	for _, r := range b.rows[index(p):to] {
		if !r.Muted {
			out = append(out, r)
		}
	}
	return out, position(to), to-index(p) == limit, nil
}

func (b *fakeStore) Retained(_ context.Context, after bridge.UserID, limit int) ([]bridge.Notification, error) {
	unlock, err := b.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	var users []bridge.UserID
	for _, r := range b.rows {
		if r.User > after && !slices.Contains(users, r.User) && b.latest(r.User) != nil {
			users = append(users, r.User)
		}
	}
	slices.Sort(users)
	var out []bridge.Notification
	for _, u := range users[:min(limit, len(users))] {
		out = append(out, *b.latest(u))
	}
	return out, nil
}

func (b *fakeStore) Touched(_ context.Context, p bridge.Position, limit int) ([]bridge.UserID, bridge.Position, error) {
	unlock, err := b.lock()
	if err != nil {
		return nil, p, err
	}
	defer unlock()
	start := min(index(p), len(b.touched))
	to := min(start+limit, len(b.touched))
	return slices.Clone(b.touched[start:to]), position(to), nil
}

func (b *fakeStore) LeaseRelay(_ context.Context, node string, ttl time.Duration) (string, bool, error) {
	unlock, err := b.lock()
	if err != nil {
		return "", false, err
	}
	defer unlock()
	if b.holder != node && time.Now().Before(b.until) {
		return "", false, nil
	}
	b.holder, b.until = node, time.Now().Add(ttl)
	return b.state, true, nil
}

func (b *fakeStore) SaveRelay(_ context.Context, node, state string, ttl time.Duration) (bool, error) {
	unlock, err := b.lock()
	if err != nil {
		return false, err
	}
	defer unlock()
	if b.holder != node {
		return false, nil
	}
	b.state, b.until = state, time.Now().Add(ttl)
	b.saves++
	return true, nil
}

func (b *fakeStore) ReleaseRelay(_ context.Context, node string) error {
	unlock, err := b.lock()
	if err != nil {
		return err
	}
	defer unlock()
	if b.holder == node {
		b.until = time.Time{}
	}
	return nil
}

func (b *fakeStore) heldBy() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.holder
}
