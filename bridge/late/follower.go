// Package late follows the log for notifications that were not acknowledged or read in
// time, and has them pushed to the device or posted to the application.
//
// One node follows at a time, under a lease. What is to be done is in the store before it
// is due, and each attempt is stored as begun before it is made and as done afterwards: a
// crash in between repeats the attempt with the same id, and nothing else.
package late

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// Pusher sends Web Push messages; package push implements it.
type Pusher interface {
	// Send sends ns, which are of one user and ordered by seq: as it is where it is one,
	// and a summary of more.
	Send(ctx context.Context, r bridge.Registration, ns []bridge.Notification) Outcome
}

// Poster posts webhooks; package webhook implements it.
type Poster interface {
	// Send posts one webhook under an id that is the same for each try.
	Send(ctx context.Context, id string, rule Rule, n *bridge.Notification) Outcome
}

// WebhookPrefix begins a webhook's id; the rest is its Due.Ref.
const WebhookPrefix = "msg_"

// Options sets up a Follower. Store and Node are required, and one of Pusher and Poster.
type Options struct {
	Store  Store
	Node   string
	Logger *slog.Logger // nil means slog.Default

	Pusher    Pusher        // nil: no Web Push
	PushAfter time.Duration // 0 means 15s

	Poster Poster // nil: no webhooks
	Rules  []Rule

	Lease   time.Duration // 0 means 6s
	Poll    time.Duration // between looks at the log; 0 means 250ms
	Batch   int           // notifications entered at once; 0 means 500
	Pushes  int           // devices sent to at once; 0 means 64
	Posts   int           // webhooks posted at once; 0 means 32
	PerUser int           // devices of one user sent to at once; 0 means 4
	Query   time.Duration // longest wait for the database; 0 means 2s
}

func (o Options) withDefaults() Options {
	o.Logger = cmp.Or(o.Logger, slog.Default()).With("component", "late")
	o.PushAfter = cmp.Or(o.PushAfter, 15*time.Second)
	o.Lease = cmp.Or(o.Lease, 6*time.Second)
	o.Poll = cmp.Or(o.Poll, 250*time.Millisecond)
	o.Batch = cmp.Or(o.Batch, 500)
	o.Pushes = cmp.Or(o.Pushes, 64)
	o.Posts = cmp.Or(o.Posts, 32)
	o.PerUser = cmp.Or(o.PerUser, 4)
	o.Query = cmp.Or(o.Query, 2*time.Second)
	return o
}

const (
	// fresh is how old the judgement of an attempt may be when the attempt begins: what
	// is on disk a second before prevents it, with time to spare for the database's answer.
	maxJudgementAge = 600 * time.Millisecond
	// hold is how long an attempt may take, after which it is made again: longer than
	// any of the senders waits, which is 10 s.
	attemptTimeout = 15 * time.Second
	// keepPosition is how often the position is stored where nothing is new: far more often
	// than Longest, and no write for each look.
	positionInterval = time.Hour
	// kept is how long attempts are kept after they were done, to be explained or repeated.
	attemptRetention = 30 * 24 * time.Hour
	// many due at once for one device are sent as a summary.
	summaryAbove = 5
)

// Follower is one node's side of following.
type Follower struct {
	o      Options
	wake   chan struct{}
	active atomic.Bool
	counts [2]counts
}

// counts are of the notifications pushed, or posted, by this process.
type counts struct {
	sent, givenUp atomic.Int64
	failed        [len(Reasons)]atomic.Int64 // by the index in Reasons
}

// Counts are of the notifications that this process pushed, or posted as webhooks.
type Counts struct {
	Sent    int64
	GivenUp int64            // not to be tried again
	Failed  map[string]int64 // attempts, by Outcome.Reason; each reason is there
}

// Counts returns those of Web Push and of webhooks.
func (f *Follower) Counts() (push, webhooks Counts) {
	read := func(c *counts) Counts {
		out := Counts{Sent: c.sent.Load(), GivenUp: c.givenUp.Load(), Failed: make(map[string]int64)}
		for i, reason := range Reasons {
			out.Failed[reason] = c.failed[i].Load()
		}
		return out
	}
	return read(&f.counts[0]), read(&f.counts[1])
}

// New returns a follower over o.
func New(o Options) *Follower {
	return &Follower{o: o.withDefaults(), wake: make(chan struct{}, 1)}
}

// Active reports whether this node follows.
func (f *Follower) Active() bool { return f.active.Load() }

// Start takes the first look at the log: what is appended after it has returned is
// followed, also where no node has followed before.
func (f *Follower) Start(ctx context.Context) error {
	state, held, err := f.lease(ctx)
	if err != nil || !held {
		return err // another node has taken it
	}
	at, err := parsePosition(state)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, f.o.Query)
	defer cancel()
	_, _, _, err = f.enter(ctx, at)
	return err
}

// positionOf reads what Enter stored; "" is a position without a log.
func parsePosition(state string) (at Position, err error) {
	if state == "" {
		return at, nil
	}
	if err := json.Unmarshal([]byte(state), &at); err != nil {
		return at, fmt.Errorf("read the follower's position: %w", err)
	}
	return at, nil
}

// enter has the store enter what follows p.
func (f *Follower) enter(ctx context.Context, p Position) (next Position, more, held bool, err error) {
	after := f.o.PushAfter
	if f.o.Pusher == nil {
		after = 0
	}
	return f.o.Store.Enter(ctx, f.o.Node, p, after, f.o.Rules, f.o.Batch)
}

// Run follows while it has the lease, and waits for it otherwise, until ctx ends.
func (f *Follower) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		begun := time.Now()
		state, held, err := f.lease(ctx)
		switch {
		case err != nil:
			f.o.Logger.Warn("late notifications wait for the database", "error", err)
		case held:
			if err := f.term(ctx, state, begun.Add(f.o.Lease)); err != nil && ctx.Err() == nil {
				f.o.Logger.Warn("following late notifications starts again", "error", err)
			}
		}
		f.sleep(ctx, f.o.Lease/4)
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), f.o.Query)
	defer cancel()
	if err := f.o.Store.ReleaseLate(last, f.o.Node); err != nil {
		return fmt.Errorf("release the follower's lease: %w", err)
	}
	return nil
}

func (f *Follower) lease(ctx context.Context) (state string, held bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, f.o.Query)
	defer cancel()
	return f.o.Store.LeaseLate(ctx, f.o.Node, f.o.Lease)
}

// sleep waits for d or for a nudge.
func (f *Follower) sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	case <-f.wake:
	}
}

// term is the time from taking the lease to losing it.
type term struct {
	f             *Follower
	at            Position
	until         time.Time // the lease is held until then, by this process's clock
	pruned        time.Time
	positionSaved time.Time // when the position was stored although nothing was new

	sends     sync.WaitGroup
	pushSlots chan struct{} // a slot for each device that is sent to
	postSlots chan struct{}

	mu        sync.Mutex
	users     map[bridge.UserID]int // devices being sent to
	totals    Totals
	done      []Done // to be recorded
	recordNow chan struct{}
}

func (f *Follower) term(ctx context.Context, state string, until time.Time) error {
	f.active.Store(true)
	defer f.active.Store(false)
	at, err := parsePosition(state)
	if err != nil {
		return err
	}
	t := &term{f: f, at: at, until: until, pushSlots: make(chan struct{}, f.o.Pushes), postSlots: make(chan struct{}, f.o.Posts),
		users: make(map[bridge.UserID]int), recordNow: make(chan struct{}, 1)}
	t.totals = t.at.Totals
	// Attempts under way are finished and recorded, also when ctx has ended.
	recording, stop := context.WithCancel(context.WithoutCancel(ctx))
	var recorder sync.WaitGroup
	recorder.Go(func() { t.record(recording) })
	defer recorder.Wait()
	defer stop()
	defer t.sends.Wait()
	for ctx.Err() == nil {
		more, err := t.step(ctx)
		if err != nil {
			return err
		}
		if !more {
			f.sleep(ctx, f.o.Poll)
		}
	}
	return nil
}

// round renews the lease, enters what is new and begins what is due; more reports that
// there is more of either.
func (t *term) step(ctx context.Context) (more bool, err error) {
	if err := t.renew(ctx); err != nil {
		return false, err
	}
	o := t.f.o
	q, cancel := context.WithTimeout(ctx, o.Query)
	defer cancel()
	t.mu.Lock()
	t.at.Totals, t.at.Unsaved = t.totals, t.at.Totals != t.totals
	t.mu.Unlock()
	if time.Since(t.positionSaved) > positionInterval {
		t.at.Unsaved, t.positionSaved = true, time.Now()
	}
	next, more, held, err := t.f.enter(q, t.at)
	if err != nil {
		return false, fmt.Errorf("follow the log: %w", err)
	}
	if !held {
		return false, errLost
	}
	t.at = next
	pushes, err := t.beginPushes(ctx)
	if err != nil {
		return false, err
	}
	posts, err := t.beginPosts(ctx)
	if err != nil {
		return false, err
	}
	return more || pushes || posts, t.prune(ctx)
}

var errLost = fmt.Errorf("another node has the lease")

// renew renews the lease after a quarter of it.
func (t *term) renew(ctx context.Context) error {
	now := time.Now()
	if left := t.until.Sub(now); left > t.f.o.Lease*3/4 {
		return nil
	}
	_, held, err := t.f.lease(ctx)
	switch {
	case err == nil && !held, err != nil && time.Now().After(t.until):
		return errLost
	case err == nil:
		t.until = now.Add(t.f.o.Lease)
	}
	return nil
}

// prune removes what is over, a limited number of rows a minute.
func (t *term) prune(ctx context.Context) error {
	if time.Since(t.pruned) < time.Minute {
		return nil
	}
	t.pruned = time.Now()
	longest := t.f.o.PushAfter
	for _, r := range t.f.o.Rules {
		longest = max(longest, r.After)
	}
	q, cancel := context.WithTimeout(ctx, t.f.o.Query)
	defer cancel()
	// Retries look at acknowledgements, too.
	if _, err := t.f.o.Store.PruneLate(q, attemptRetention, longest+Longest+time.Hour, 2000); err != nil {
		return fmt.Errorf("forget late notifications: %w", err)
	}
	return nil
}

// parcel is what one goroutine sends to one device.
type pushJob struct {
	due     []Due
	summary bool
	moreDue bool // of the device's stays due
}

// beginPushes begins the pushes that are due, of as many devices as have a slot.
func (t *term) beginPushes(ctx context.Context) (more bool, err error) {
	free := cap(t.pushSlots) - len(t.pushSlots)
	if t.f.o.Pusher == nil || free == 0 {
		return false, nil
	}
	judged := time.Now()
	q, cancel := context.WithTimeout(ctx, t.f.o.Query)
	defer cancel()
	due, err := t.f.o.Store.DuePush(q, free, t.busyUsers())
	if err != nil {
		return false, fmt.Errorf("read what is due: %w", err)
	}
	var parcels []pushJob
	var begun, cancelled []string
	blocked := false
	for len(due) > 0 {
		n := 1
		for n < len(due) && due[n].Device == due[0].Device {
			n++
		}
		var p pushJob
		for _, d := range due[:n] {
			if d.Cancelled {
				cancelled = append(cancelled, d.Ref)
			} else {
				p.due = append(p.due, d)
			}
		}
		due = due[n:]
		if len(p.due) == 0 {
			continue
		}
		if !t.acquireUser(p.due[0].Device.User) {
			blocked = true // the user has enough under way, and stays due
			continue
		}
		if p.summary = len(p.due) > summaryAbove; !p.summary {
			p.moreDue = len(p.due) > 1
			p.due = p.due[:1] // the next one is judged when this one is sent: it stays due
		}
		for _, d := range p.due {
			begun = append(begun, d.Ref)
		}
		parcels = append(parcels, p)
	}
	if err := t.begin(q, begun, cancelled); err != nil {
		for _, p := range parcels {
			t.releaseUser(p.due[0].Device.User)
		}
		return false, err
	}
	for _, p := range parcels {
		t.pushSlots <- struct{}{} // there are as many free ones
		t.sends.Go(func() {
			defer func() {
				<-t.pushSlots
				t.releaseUser(p.due[0].Device.User)
				if p.moreDue || len(parcels) == free {
					t.wakeNow()
				}
			}()
			t.push(ctx, p, judged)
		})
	}
	// The users that were blocked are left out of the next round, so that others come.
	return blocked || len(cancelled) > 0 && len(parcels) == 0, nil
}

func (t *term) begin(ctx context.Context, begun, cancelled []string) error {
	if len(begun)+len(cancelled) == 0 {
		return nil
	}
	if err := t.f.o.Store.Begin(ctx, begun, cancelled, attemptTimeout); err != nil {
		return fmt.Errorf("begin attempts: %w", err)
	}
	return nil
}

// enterUser takes one of a user's slots, and reports whether there was one: a user whose
// endpoints respond slowly does not take all of them.
func (t *term) acquireUser(u bridge.UserID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.users[u] >= t.f.o.PerUser {
		return false
	}
	t.users[u]++
	return true
}

// full returns the users that have no slot left, at most as many as there are pushes under
// way.
func (t *term) busyUsers() []bridge.UserID {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []bridge.UserID
	for u, n := range t.users {
		if n >= t.f.o.PerUser {
			out = append(out, u)
		}
	}
	return out
}

func (t *term) releaseUser(u bridge.UserID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.users[u]--; t.users[u] == 0 {
		delete(t.users, u)
	}
}

// nudge has the next round begin at once.
func (t *term) wakeNow() {
	select {
	case t.f.wake <- struct{}{}:
	default:
	}
}

// push sends a parcel.
func (t *term) push(ctx context.Context, p pushJob, judged time.Time) {
	if time.Since(judged) > maxJudgementAge || ctx.Err() != nil {
		t.finish(p.due, Outcome{Result: Limited})
		return
	}
	ns := make([]bridge.Notification, len(p.due))
	for i := range p.due {
		ns[i] = p.due[i].Notification
	}
	r := p.due[0].Registration
	o := t.f.o.Pusher.Send(context.WithoutCancel(ctx), r, ns)
	if o.Result == Gone {
		q, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.f.o.Query)
		defer cancel()
		if err := t.f.o.Store.Unregister(q, r); err != nil {
			t.f.o.Logger.Warn("a registration that is gone stays for now", "error", err)
		}
	}
	t.finish(p.due, o)
}

// beginPosts begins the webhooks that are due, as many as have a slot.
func (t *term) beginPosts(ctx context.Context) (more bool, err error) {
	free := cap(t.postSlots) - len(t.postSlots)
	if t.f.o.Poster == nil || free == 0 {
		return false, nil
	}
	judged := time.Now()
	q, cancel := context.WithTimeout(ctx, t.f.o.Query)
	defer cancel()
	// More than can begin: most of what is due was acknowledged.
	due, err := t.f.o.Store.DueWebhooks(q, max(t.f.o.Batch, free))
	if err != nil {
		return false, fmt.Errorf("read what is due: %w", err)
	}
	var post []Due
	var begun, cancelled []string
	for _, d := range due {
		switch {
		case d.Cancelled:
			cancelled = append(cancelled, d.Ref)
		case len(post) < free:
			post = append(post, d)
			begun = append(begun, d.Ref)
		}
	}
	if err := t.begin(q, begun, cancelled); err != nil {
		return false, err
	}
	for _, d := range post {
		t.postSlots <- struct{}{}
		t.sends.Go(func() {
			defer func() {
				<-t.postSlots
				if len(post) == free {
					t.wakeNow()
				}
			}()
			if time.Since(judged) > maxJudgementAge || ctx.Err() != nil {
				t.finish([]Due{d}, Outcome{Result: Limited})
				return
			}
			t.finish([]Due{d}, t.f.o.Poster.Send(context.WithoutCancel(ctx), WebhookPrefix+d.Ref, parseRule(d.Rule), &d.Notification))
		})
	}
	return len(due) == max(t.f.o.Batch, free) && len(post) < free, nil
}

// ruleOf reads what Rule.String wrote.
func parseRule(text string) Rule {
	rules, err := ParseRules(text, time.ParseDuration)
	if err != nil || len(rules) != 1 {
		return Rule{When: Unacknowledged}
	}
	return rules[0]
}

// pause is how long to wait after that many failed tries: 2 s, twice as long each time, at
// most an hour.
func backoff(tries int) time.Duration {
	return min(2*time.Second<<min(max(tries-1, 0), 11), time.Hour)
}

// finish counts what came of an attempt and leaves it to be recorded.
func (t *term) finish(due []Due, o Outcome) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, d := range due {
		done := Done{Ref: d.Ref, Result: o.Result, Status: o.Status, After: o.After}
		if o.Result == Failed {
			done.After = max(o.After, backoff(d.Tries+1))
			if time.Since(d.Since)+done.After > Longest {
				done.Result = Rejected
			}
		}
		if o.Result == Gone {
			done.Result = Rejected
		}
		t.count(d.Rule == string(Push), done.Result, o.Reason())
		t.done = append(t.done, done)
	}
	if o.Err != nil {
		t.f.o.Logger.Debug("an attempt failed", "user", due[0].Device.User, "rule", due[0].Rule, "status", o.Status, "error", o.Err)
	}
	t.signalRecorder()
}

// count counts one notification's attempt: here for the metrics, and in the position for
// all nodes; t.mu is held.
func (t *term) count(push bool, r Result, reason string) {
	of, sent, failed := &t.f.counts[0], &t.totals.PushSent, &t.totals.PushFailed
	if !push {
		of, sent, failed = &t.f.counts[1], &t.totals.WebhooksSent, &t.totals.WebhooksFailed
	}
	if i := slices.Index(Reasons[:], reason); i >= 0 {
		of.failed[i].Add(1)
	}
	switch r {
	case Sent:
		of.sent.Add(1)
		*sent++
	case Rejected:
		of.givenUp.Add(1)
		*failed++
	}
}

func (t *term) signalRecorder() {
	select {
	case t.recordNow <- struct{}{}:
	default:
	}
}

// record stores what came of attempts, as many as come while the former ones are stored
// at once. It ends with ctx, after the last ones.
func (t *term) record(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
		case <-t.recordNow:
		}
		t.mu.Lock()
		done := t.done
		t.done = nil
		t.mu.Unlock()
		if len(done) > 0 {
			q, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.f.o.Query)
			err := t.f.o.Store.RecordLate(q, done)
			cancel()
			if err != nil && ctx.Err() == nil {
				t.f.o.Logger.Warn("what came of late notifications waits for the database", "error", err)
				t.mu.Lock()
				t.done = append(done, t.done...)
				t.mu.Unlock()
				t.f.waitToRetry(ctx)
				t.signalRecorder()
				continue
			}
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// pauseFor waits a moment before the database is asked again.
func (f *Follower) waitToRetry(ctx context.Context) {
	t := time.NewTimer(f.o.Poll)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
