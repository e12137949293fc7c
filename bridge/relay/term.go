package relay

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// place is how far the relay came; it is stored as JSON.
type place struct {
	Log     bridge.Position `json:"log"`     // everything before it is published
	Touched bridge.Position `json:"touched"` // every mute and delete before it is followed
	Walk    string          `json:"walk"`    // a user id; retained messages of users up to here are published
	Walked  bool            `json:"walked"`  // those of all users are
	Epoch   string          `json:"epoch"`   // the positions are of; "" in a place from before it was stored
}

var (
	errLost  = errors.New("another node has the lease")
	errEpoch = errors.New("the log was restored to an earlier point")
)

// term is the time from taking the lease to losing it or the connection.
type term struct {
	r     *Relay
	at    place
	until atomic.Pointer[time.Time] // the lease is held until then, by this process's clock
	link  *link
}

func (r *Relay) term(ctx context.Context, state string, until time.Time) error {
	r.stats.active.Store(1)
	defer r.stats.active.Store(0)
	t := &term{r: r}
	t.until.Store(&until)
	if state != "" {
		if err := json.Unmarshal([]byte(state), &t.at); err != nil {
			return fmt.Errorf("read the relay's place: %w", err)
		}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel(nil)
	wg.Go(func() { cancel(t.renew(ctx)) })
	var err error
	if t.link, err = r.connect(ctx); err != nil {
		return err
	}
	defer t.link.close()
	r.stats.connected.Store(1)
	defer r.stats.connected.Store(0)
	if err := t.begin(ctx); err != nil {
		return err
	}
	for ctx.Err() == nil {
		busy, err := t.round(ctx)
		if err == nil && !busy {
			err = t.idle(ctx)
		}
		if err != nil {
			return cmp.Or(context.Cause(ctx), err)
		}
	}
	return context.Cause(ctx)
}

// renew keeps the lease, until ctx ends or the lease is lost.
func (t *term) renew(ctx context.Context) error {
	tick := time.NewTicker(t.r.o.Lease / 4)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		begun := time.Now()
		_, held, err := t.r.lease(ctx)
		switch {
		case err == nil && !held, !t.held():
			return errLost
		case err == nil:
			t.extend(begun)
		}
	}
}

// held reports whether the lease holds, as far as this process can know.
func (t *term) held() bool { return time.Now().Before(*t.until.Load()) }

func (t *term) extend(begun time.Time) {
	until := begun.Add(t.r.o.Lease)
	t.until.Store(&until)
}

// begin fixes where a relay starts that never ran: at this moment, with the
// retained messages that exist already. After a restore it goes on where the restored
// log says that it was; what it published past that point is replaced by walking all
// users once more, the newest notification of each.
func (t *term) begin(ctx context.Context) error {
	epoch := t.epoch()
	if t.at.Log != "" {
		if t.at.Epoch != "" && t.at.Epoch != epoch {
			t.at.Walk, t.at.Walked = "", false
		}
		t.at.Epoch = epoch
		return nil
	}
	q, cancel := context.WithTimeout(ctx, t.r.o.Query)
	defer cancel()
	now, err := t.r.o.Feed.Now(q)
	if err != nil {
		return fmt.Errorf("find where the relay starts: %w", err)
	}
	t.at = place{Log: now, Epoch: epoch} // nothing was touched before the first lease
	return t.save(ctx)
}

func (t *term) epoch() string {
	if t.r.o.Epoch == nil {
		return ""
	}
	return t.r.o.Epoch()
}

// round publishes one batch of everything there is; busy reports that more may
// follow. What a batch published of a notification that was deleted meanwhile is
// cleared after it. Mutes and deletes are read before the feed, so that where the
// relay has no backlog, what is retained after them is not ahead of the feed.
func (t *term) round(ctx context.Context) (busy bool, err error) {
	if t.epoch() != t.at.Epoch { // what this term knows is of a log that is gone
		return false, errEpoch
	}
	walking, err := t.walk(ctx)
	if err != nil {
		return false, err
	}
	q, cancel := context.WithTimeout(ctx, t.r.o.Query)
	defer cancel()
	users, touched, err := t.r.o.Store.Touched(q, t.at.Touched, t.r.o.Batch)
	if err != nil {
		return false, fmt.Errorf("read mutes and deletes: %w", err)
	}
	following, err := t.follow(ctx)
	if err != nil {
		return false, err
	}
	clearing, err := t.clear(ctx, users, touched)
	return walking || following || clearing, err
}

// walk publishes the retained messages that were there before the relay.
func (t *term) walk(ctx context.Context) (more bool, err error) {
	if t.at.Walked {
		return false, nil
	}
	q, cancel := context.WithTimeout(ctx, t.r.o.Query)
	defer cancel()
	items, err := t.r.o.Feed.Retained(q, bridge.UserID(t.at.Walk), t.r.o.Batch)
	if err != nil {
		return false, fmt.Errorf("read retained messages: %w", err)
	}
	if len(items) == 0 {
		t.at.Walked = true
		return false, t.save(ctx)
	}
	users := make([]bridge.UserID, len(items))
	for i := range items {
		users[i] = items[i].User
	}
	// A user's newer notification may be published already, or be yet to come.
	if items, err = t.latest(ctx, users); err != nil {
		return false, err
	}
	if err := t.publish(ctx, messages(items)); err != nil {
		return false, err
	}
	t.r.stats.published.Add(int64(len(items)))
	t.at.Walk = string(users[len(users)-1])
	return true, t.save(ctx)
}

// follow publishes what was appended since.
func (t *term) follow(ctx context.Context) (more bool, err error) {
	q, cancel := context.WithTimeout(ctx, t.r.o.Query)
	defer cancel()
	items, pos, more, err := t.r.o.Feed.Since(q, t.at.Log, t.r.o.Batch)
	if err != nil {
		return false, fmt.Errorf("read the feed: %w", err)
	}
	if pos == t.at.Log {
		return false, nil
	}
	if len(items) > 0 {
		if err := t.publish(ctx, messages(items)); err != nil {
			return false, err
		}
		t.r.stats.published.Add(int64(len(items)))
	}
	t.at.Log = pos
	if len(items) == 0 { // only the position moved: it is saved with the next batch
		return more, nil
	}
	return true, t.save(ctx)
}

// clear follows mutes and deletes: users were touched, up to the position touched.
func (t *term) clear(ctx context.Context, users []bridge.UserID, touched bridge.Position) (more bool, err error) {
	t.at.Touched = touched
	if len(users) == 0 {
		return false, nil
	}
	if err := t.refresh(ctx, users); err != nil {
		return false, err
	}
	t.r.stats.cleared.Add(int64(len(users)))
	return true, t.save(ctx)
}

func messages(items []bridge.Notification) []message {
	ms := make([]message, len(items))
	for i := range items {
		ms[i] = message{user: items[i].User, item: &items[i]}
	}
	return ms
}

// latest reads what is retained for users. It goes no further than the feed was
// followed: a device that drops repeats by seq would take what comes after a newer
// notification for one, and lose it.
func (t *term) latest(ctx context.Context, users []bridge.UserID) ([]bridge.Notification, error) {
	q, cancel := context.WithTimeout(ctx, t.r.o.Query)
	defer cancel()
	items, err := t.r.o.Store.LatestAt(q, users, t.at.Log)
	if err != nil {
		return nil, fmt.Errorf("read what is retained for %d users: %w", len(users), err)
	}
	return items, nil
}

// refresh publishes what is retained for users, and clears where nothing is (MQTT 5
// §3.3.1.3: an empty payload).
func (t *term) refresh(ctx context.Context, users []bridge.UserID) error {
	items, err := t.latest(ctx, users)
	if err != nil {
		return err
	}
	latest := make(map[bridge.UserID]*bridge.Notification, len(items))
	for i := range items {
		latest[items[i].User] = &items[i]
	}
	ms := make([]message, 0, len(users))
	seen := make(map[bridge.UserID]bool, len(users))
	for _, u := range users {
		if !seen[u] {
			ms = append(ms, message{user: u, item: latest[u]})
		}
		seen[u] = true
	}
	return t.publish(ctx, ms)
}

// save stores the place; the lease is renewed with it.
func (t *term) save(ctx context.Context) error {
	state, err := json.Marshal(t.at)
	if err != nil {
		return fmt.Errorf("write the relay's place: %w", err)
	}
	begun := time.Now()
	q, cancel := context.WithTimeout(ctx, t.r.o.Query)
	defer cancel()
	held, err := t.r.o.Store.SaveRelay(q, t.r.o.Node, string(state), t.r.o.Lease)
	if err != nil {
		return fmt.Errorf("save the relay's place: %w", err)
	}
	if !held {
		return errLost
	}
	t.extend(begun)
	return nil
}

// idle waits for news.
func (t *term) idle(ctx context.Context) error {
	timer := time.NewTimer(t.r.o.Poll)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.link.down:
		return errors.New("the connection to the external broker ended")
	case <-t.r.wake:
	case <-timer.C:
	}
	return nil
}
