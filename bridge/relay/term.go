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

// progress is how far the relay has got. It is stored as JSON.
type progress struct {
	Log     bridge.Position `json:"log"`     // the feed has been published up to here
	Touched bridge.Position `json:"touched"` // mutes and deletes have been followed up to here
	Walk    string          `json:"walk"`    // the retained messages of users up to this id have been published
	Walked  bool            `json:"walked"`  // those of all users have been published
	Epoch   string          `json:"epoch"`   // the epoch of the positions; "" if an older release stored them
}

var (
	errLost  = errors.New("another node holds the lease")
	errEpoch = errors.New("the log was restored to an earlier point")
)

// term is a period in which this node is the relay. It begins when the node acquires the lease, and
// ends when the node loses the lease or the connection.
type term struct {
	r        *Relay
	progress progress
	leaseEnd atomic.Pointer[time.Time] // by this process's clock
	link     *link
}

// term runs a term that begins with the stored state and has the lease until leaseEnd. It returns
// why the term ended.
func (r *Relay) term(ctx context.Context, state string, leaseEnd time.Time) error {
	r.stats.active.Store(1)
	defer r.stats.active.Store(0)
	t := &term{r: r}
	t.leaseEnd.Store(&leaseEnd)
	if state != "" {
		if err := json.Unmarshal([]byte(state), &t.progress); err != nil {
			return fmt.Errorf("read the relay's state: %w", err)
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

// renew renews the lease until ctx ends or the lease is lost.
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

// held reports whether this node certainly still holds the lease. leaseEnd is earlier than the end
// of the lease by the database's clock, because it is computed from the time before the call that
// renewed the lease.
func (t *term) held() bool { return time.Now().Before(*t.leaseEnd.Load()) }

// extend records that a call that began at begun renewed the lease.
func (t *term) extend(begun time.Time) {
	end := begun.Add(t.r.o.Lease)
	t.leaseEnd.Store(&end)
}

// begin decides where the relay starts.
//
// A relay that has never run starts at the current end of the feed, and publishes the existing
// retained messages in a walk over all users. After a restore the relay continues at the position in
// the restored state. Another walk then publishes the newest notification of each user, because the
// relay had already published notifications that the restore undid.
func (t *term) begin(ctx context.Context) error {
	epoch := t.epoch()
	if t.progress.Log != "" {
		if t.progress.Epoch != "" && t.progress.Epoch != epoch {
			t.progress.Walk, t.progress.Walked = "", false
		}
		t.progress.Epoch = epoch
		return nil
	}
	q, cancel := context.WithTimeout(ctx, t.r.o.Query)
	defer cancel()
	now, err := t.r.o.Feed.Now(q)
	if err != nil {
		return fmt.Errorf("find where the relay starts: %w", err)
	}
	t.progress = progress{Log: now, Epoch: epoch} // Touched is "", because nothing is recorded before the first lease
	return t.save(ctx)
}

func (t *term) epoch() string {
	if t.r.o.Epoch == nil {
		return ""
	}
	return t.r.o.Epoch()
}

// round publishes one batch each of the walk, the feed, and the mutes and deletes. busy reports
// whether there may be more.
//
// If a notification is deleted while a batch is being published, the retained message is corrected
// afterwards, when the relay comes to the deletion. Mutes and deletes are read before the feed but
// published after it, so that the corrected messages are not ahead of the feed unless the relay has
// a backlog.
func (t *term) round(ctx context.Context) (busy bool, err error) {
	if t.epoch() != t.progress.Epoch { // the log was restored, so this term's positions are invalid
		return false, errEpoch
	}
	walking, err := t.walk(ctx)
	if err != nil {
		return false, err
	}
	q, cancel := context.WithTimeout(ctx, t.r.o.Query)
	defer cancel()
	users, touched, err := t.r.o.Store.Touched(q, t.progress.Touched, t.r.o.Batch)
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

// walk publishes a batch of the retained messages that existed before the relay.
func (t *term) walk(ctx context.Context) (more bool, err error) {
	if t.progress.Walked {
		return false, nil
	}
	q, cancel := context.WithTimeout(ctx, t.r.o.Query)
	defer cancel()
	items, err := t.r.o.Feed.Retained(q, bridge.UserID(t.progress.Walk), t.r.o.Batch)
	if err != nil {
		return false, fmt.Errorf("read retained messages: %w", err)
	}
	if len(items) == 0 {
		t.progress.Walked = true
		return false, t.save(ctx)
	}
	users := make([]bridge.UserID, len(items))
	for i := range items {
		users[i] = items[i].User
	}
	// follow publishes a user's newer notifications in order, so the walk must not publish one
	// that follow has not reached.
	if items, err = t.latest(ctx, users); err != nil {
		return false, err
	}
	if err := t.publish(ctx, messages(items)); err != nil {
		return false, err
	}
	t.r.stats.published.Add(int64(len(items)))
	t.progress.Walk = string(users[len(users)-1])
	return true, t.save(ctx)
}

// follow publishes a batch of the feed.
func (t *term) follow(ctx context.Context) (more bool, err error) {
	q, cancel := context.WithTimeout(ctx, t.r.o.Query)
	defer cancel()
	items, pos, more, err := t.r.o.Feed.Since(q, t.progress.Log, t.r.o.Batch)
	if err != nil {
		return false, fmt.Errorf("read the feed: %w", err)
	}
	if pos == t.progress.Log {
		return false, nil
	}
	if len(items) > 0 {
		if err := t.publish(ctx, messages(items)); err != nil {
			return false, err
		}
		t.r.stats.published.Add(int64(len(items)))
	}
	t.progress.Log = pos
	if len(items) == 0 { // the position is saved with the next batch
		return more, nil
	}
	return true, t.save(ctx)
}

// clear corrects the retained messages of users, whose mutes and deletes were read up to the position
// touched.
func (t *term) clear(ctx context.Context, users []bridge.UserID, touched bridge.Position) (more bool, err error) {
	t.progress.Touched = touched
	if len(users) == 0 {
		return false, nil
	}
	if err := t.refresh(ctx, users); err != nil {
		return false, err
	}
	t.r.stats.cleared.Add(int64(len(users)))
	return true, t.save(ctx)
}

// messages returns the messages that publish items.
func messages(items []bridge.Notification) []message {
	ms := make([]message, len(items))
	for i := range items {
		ms[i] = message{user: items[i].User, item: &items[i]}
	}
	return ms
}

// latest reads the retained messages of users as of the position up to which the feed has been
// published. Otherwise a newer notification could be published before older ones, and a device that
// drops repeats by seq would drop the older ones.
func (t *term) latest(ctx context.Context, users []bridge.UserID) ([]bridge.Notification, error) {
	q, cancel := context.WithTimeout(ctx, t.r.o.Query)
	defer cancel()
	items, err := t.r.o.Store.LatestAt(q, users, t.progress.Log)
	if err != nil {
		return nil, fmt.Errorf("read the retained messages of %d users: %w", len(users), err)
	}
	return items, nil
}

// refresh publishes the retained messages of users again. For users who have none, an empty payload
// clears the retained message on the external broker (MQTT 5 §3.3.1.3).
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

// save stores the progress, which also renews the lease.
func (t *term) save(ctx context.Context) error {
	state, err := json.Marshal(t.progress)
	if err != nil {
		return fmt.Errorf("encode the relay's state: %w", err)
	}
	begun := time.Now()
	q, cancel := context.WithTimeout(ctx, t.r.o.Query)
	defer cancel()
	held, err := t.r.o.Store.SaveRelay(q, t.r.o.Node, string(state), t.r.o.Lease)
	if err != nil {
		return fmt.Errorf("save the relay's state: %w", err)
	}
	if !held {
		return errLost
	}
	t.extend(begun)
	return nil
}

// idle waits until the log may have grown.
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
