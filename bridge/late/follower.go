package late

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
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
	// Send sends ns, which belong to one user and are ordered by seq, in one message: a
	// single notification as it is, several as a summary.
	Send(ctx context.Context, r bridge.Registration, ns []bridge.Notification) Outcome
}

// Poster posts webhooks; package webhook implements it.
type Poster interface {
	// Send posts one webhook. id is the same for each attempt.
	Send(ctx context.Context, id string, rule Rule, n *bridge.Notification) Outcome
}

// WebhookPrefix is the beginning of a webhook's id, before its Due.Ref.
const WebhookPrefix = "msg_"

// Options sets up a Follower. Store and Node are required, and at least one of Pusher and
// Poster.
type Options struct {
	Store  Store
	Node   string
	Logger *slog.Logger // nil means slog.Default

	Pusher    Pusher        // nil: no Web Push
	PushAfter time.Duration // 0 means 15s

	Poster Poster // nil: no webhooks
	Rules  []Rule

	Lease   time.Duration // validity of the lease; 0 means 6s
	Poll    time.Duration // interval at which the log is read; 0 means 250ms
	Batch   int           // notifications entered in one call; 0 means 500
	Pushes  int           // devices that are sent to concurrently; 0 means 64
	Posts   int           // webhooks that are posted concurrently; 0 means 32
	PerUser int           // devices of one user that are sent to concurrently; 0 means 4
	Query   time.Duration // deadline of a call to the database; 0 means 2s
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
	// maxJudgementAge is how old the decision to send may be when the attempt begins. An
	// acknowledgement that was on disk a second before must prevent the attempt. That leaves
	// 400 ms for the database to respond.
	maxJudgementAge = 600 * time.Millisecond
	// attemptTimeout is the time after which an attempt without a result is repeated. It is
	// longer than senders take, which is at most 10 s.
	attemptTimeout = 15 * time.Second
	// unknownRulePause is how long an attempt of an unknown rule is left to a node that knows
	// the rule, before the attempt is due again.
	unknownRulePause = time.Minute
	// positionInterval is how often the position is stored while nothing is new: well within
	// Longest, but not on every read.
	positionInterval = time.Hour
	// attemptRetention is how long pushes and webhooks are kept after they are done, for
	// explain and so that they can be repeated.
	attemptRetention = 30 * 24 * time.Hour
	// summaryAbove is how many pushes may be due for one device before they are sent as a
	// summary.
	summaryAbove = 5
)

// Follower follows the log when this node has the lease.
type Follower struct {
	o      Options
	wake   chan struct{}
	active atomic.Bool
	counts [2]counts // of pushes and of webhooks
}

// counts are this process's counters of pushes, or of webhooks.
type counts struct {
	sent, givenUp atomic.Int64
	failed        [len(Reasons)]atomic.Int64 // by the index in Reasons
}

// Counts are this process's counters of pushes, or of webhooks.
type Counts struct {
	Sent    int64
	GivenUp int64            // will not be attempted again
	Failed  map[string]int64 // failed attempts by Outcome.Reason; has every reason
}

// Counts returns the counters of Web Push and of webhooks.
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

// New returns a follower.
func New(o Options) *Follower {
	return &Follower{o: o.withDefaults(), wake: make(chan struct{}, 1)}
}

// Active reports whether this node has the lease and follows the log.
func (f *Follower) Active() bool { return f.active.Load() }

// Start reads the log once, unless another node has the lease. After Start has returned,
// everything that is appended is followed, even if no node has followed the log before.
func (f *Follower) Start(ctx context.Context) error {
	state, held, err := f.lease(ctx)
	if err != nil || !held {
		return err // if nil, another node follows the log
	}
	p, err := parsePosition(state)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, f.o.Query)
	defer cancel()
	_, _, _, err = f.enter(ctx, p)
	return err
}

// parsePosition reads the position that Enter stored. "" is a position without a log.
func parsePosition(state string) (p Position, err error) {
	if state == "" {
		return p, nil
	}
	if err := json.Unmarshal([]byte(state), &p); err != nil {
		return p, fmt.Errorf("read the follower's position: %w", err)
	}
	return p, nil
}

// enter stores attempts for the notifications after p, see Store.Enter.
func (f *Follower) enter(ctx context.Context, p Position) (next Position, more, held bool, err error) {
	after := f.o.PushAfter
	if f.o.Pusher == nil {
		after = 0
	}
	return f.o.Store.Enter(ctx, f.o.Node, p, after, f.o.Rules, f.o.Batch)
}

// Run follows the log while it has the lease, and tries to acquire it otherwise, until ctx
// ends. It finishes the attempts that it has begun, and releases the lease.
func (f *Follower) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		begun := time.Now()
		state, held, err := f.lease(ctx)
		switch {
		case err != nil:
			f.o.Logger.Warn("following late notifications is waiting for the database", "error", err)
		case held:
			if err := f.term(ctx, state, begun.Add(f.o.Lease)); err != nil && ctx.Err() == nil {
				f.o.Logger.Warn("following late notifications was interrupted, will be resumed", "error", err)
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

// sleep waits for d, or until wakeNow is called or ctx ends.
func (f *Follower) sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	case <-f.wake:
	}
}

// term is the time from acquiring the lease to losing it.
type term struct {
	f             *Follower
	position      Position
	leaseEnd      time.Time // by this process's clock
	pruned        time.Time // when old rows were last removed
	positionSaved time.Time // when the position was last stored although nothing was new

	sends     sync.WaitGroup // attempts in progress
	pushSlots chan struct{}  // semaphore of Options.Pushes slots
	postSlots chan struct{}  // semaphore of Options.Posts slots

	unknownLogged bool // an unknown rule was logged

	mu        sync.Mutex
	users     map[bridge.UserID]int // for each user, how many devices are being sent to
	totals    Totals
	done      []Done        // results to be stored
	recordNow chan struct{} // wakes record
}

// term follows the log, from the stored position state on, until ctx ends, the database fails
// or the lease is lost. leaseEnd is when the lease expires unless it is renewed.
func (f *Follower) term(ctx context.Context, state string, leaseEnd time.Time) error {
	f.active.Store(true)
	defer f.active.Store(false)
	p, err := parsePosition(state)
	if err != nil {
		return err
	}
	t := &term{f: f, position: p, leaseEnd: leaseEnd, pushSlots: make(chan struct{}, f.o.Pushes), postSlots: make(chan struct{}, f.o.Posts),
		users: make(map[bridge.UserID]int), recordNow: make(chan struct{}, 1)}
	t.totals = p.Totals
	// Attempts in progress are finished and their results stored, even when ctx has ended.
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

// step renews the lease if necessary, stores attempts for new notifications and begins
// attempts that are due. more reports that more notifications are new or more attempts due.
func (t *term) step(ctx context.Context) (more bool, err error) {
	if err := t.renew(ctx); err != nil {
		return false, err
	}
	o := t.f.o
	q, cancel := context.WithTimeout(ctx, o.Query)
	defer cancel()
	t.mu.Lock()
	t.position.Totals, t.position.Unsaved = t.totals, t.position.Totals != t.totals
	t.mu.Unlock()
	if time.Since(t.positionSaved) > positionInterval {
		t.position.Unsaved, t.positionSaved = true, time.Now()
	}
	next, more, held, err := t.f.enter(q, t.position)
	if err != nil {
		return false, fmt.Errorf("follow the log: %w", err)
	}
	if !held {
		return false, errLost
	}
	t.position = next
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

var errLost = errors.New("another node has the lease")

// renew renews the lease once a quarter of its time has passed. It fails if another node has
// the lease, or if the lease has expired while the database was unavailable.
func (t *term) renew(ctx context.Context) error {
	now := time.Now()
	if left := t.leaseEnd.Sub(now); left > t.f.o.Lease*3/4 {
		return nil
	}
	_, held, err := t.f.lease(ctx)
	switch {
	case err == nil && !held, err != nil && time.Now().After(t.leaseEnd):
		return errLost
	case err == nil:
		t.leaseEnd = now.Add(t.f.o.Lease)
	}
	return nil
}

// prune removes old rows, a limited number every minute.
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
	// Attempts are repeated for up to Longest, and each one checks the acknowledgements.
	if _, err := t.f.o.Store.PruneLate(q, attemptRetention, longest+Longest+time.Hour, 2000); err != nil {
		return fmt.Errorf("remove old pushes and webhooks: %w", err)
	}
	return nil
}

// pushJob is one message to one device.
type pushJob struct {
	due     []Due // one, or several with summary
	summary bool
	moreDue bool // more pushes are due for the device
}

// beginPushes begins the pushes that are due, for as many devices as there are free slots.
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
	var jobs []pushJob
	var unknown []Due
	var begun, cancelled []string
	blocked, summarised := false, false
	for len(due) > 0 {
		n := 1
		for n < len(due) && due[n].Device == due[0].Device {
			n++
		}
		var p pushJob
		for _, d := range due[:n] {
			switch {
			case d.Rule != string(Push):
				unknown = append(unknown, d)
				begun = append(begun, d.Ref)
			case d.Cancelled:
				cancelled = append(cancelled, d.Ref)
			default:
				p.due = append(p.due, d)
			}
		}
		due = due[n:]
		if len(p.due) == 0 {
			continue
		}
		if !t.acquireUser(p.due[0].Device.User) {
			blocked = true // the user has no free slot; these pushes stay due
			continue
		}
		if p.summary = len(p.due) > summaryAbove; !p.summary {
			p.moreDue = len(p.due) > 1
			p.due = p.due[:1] // the second one stays due until the first is sent
		}
		summarised = summarised || p.summary
		for _, d := range p.due {
			begun = append(begun, d.Ref)
		}
		jobs = append(jobs, p)
	}
	if err := t.begin(q, begun, cancelled); err != nil {
		for _, p := range jobs {
			t.releaseUser(p.due[0].Device.User)
		}
		return false, err
	}
	t.postpone(unknown)
	for _, p := range jobs {
		t.pushSlots <- struct{}{} // does not block: at most free jobs
		t.sends.Go(func() {
			defer func() {
				<-t.pushSlots
				t.releaseUser(p.due[0].Device.User)
				if p.moreDue || len(jobs) == free {
					t.wakeNow()
				}
			}()
			t.push(ctx, p, judged)
		})
	}
	// The next step leaves out users without a free slot, so that others get their turn. A
	// device with many due pushes may have filled the page that was read, without room for
	// other devices.
	return blocked || summarised || len(cancelled)+len(unknown) > 0 && len(jobs) == 0, nil
}

// begin records that the attempts begun are made, and removes cancelled.
func (t *term) begin(ctx context.Context, begun, cancelled []string) error {
	if len(begun)+len(cancelled) == 0 {
		return nil
	}
	if err := t.f.o.Store.Begin(ctx, begun, cancelled, attemptTimeout); err != nil {
		return fmt.Errorf("begin attempts: %w", err)
	}
	return nil
}

// acquireUser takes one of a user's slots and reports whether there was one. The slots of a
// user are limited, so that a user whose endpoints respond slowly does not use all of
// pushSlots.
func (t *term) acquireUser(u bridge.UserID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.users[u] >= t.f.o.PerUser {
		return false
	}
	t.users[u]++
	return true
}

// busyUsers returns the users that have no free slot.
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

// wakeNow makes the next step begin at once.
func (t *term) wakeNow() {
	select {
	case t.f.wake <- struct{}{}:
	default:
	}
}

// push sends p, unless the decision to send it, made at judged, is too old.
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
			t.f.o.Logger.Warn("removing a registration that is gone failed", "error", err)
		}
	}
	t.finish(p.due, o)
}

// postJob is one webhook.
type postJob struct {
	due  Due
	rule Rule
}

// beginPosts begins the webhooks that are due, as many as there are free slots.
func (t *term) beginPosts(ctx context.Context) (more bool, err error) {
	free := cap(t.postSlots) - len(t.postSlots)
	if t.f.o.Poster == nil || free == 0 {
		return false, nil
	}
	judged := time.Now()
	q, cancel := context.WithTimeout(ctx, t.f.o.Query)
	defer cancel()
	// The call reads more than there are slots, because most of what is due was acknowledged.
	limit := max(t.f.o.Batch, free)
	due, err := t.f.o.Store.DueWebhooks(q, limit)
	if err != nil {
		return false, fmt.Errorf("read what is due: %w", err)
	}
	var jobs []postJob
	var unknown []Due
	var begun, cancelled []string
	for _, d := range due {
		rule, err := parseRule(d.Rule)
		switch {
		case err != nil:
			unknown = append(unknown, d)
			begun = append(begun, d.Ref)
		case d.Cancelled:
			cancelled = append(cancelled, d.Ref)
		case len(jobs) < free:
			jobs = append(jobs, postJob{d, rule})
			begun = append(begun, d.Ref)
		}
	}
	if err := t.begin(q, begun, cancelled); err != nil {
		return false, err
	}
	t.postpone(unknown)
	for _, p := range jobs {
		t.postSlots <- struct{}{}
		t.sends.Go(func() {
			defer func() {
				<-t.postSlots
				if len(jobs) == free {
					t.wakeNow()
				}
			}()
			if time.Since(judged) > maxJudgementAge || ctx.Err() != nil {
				t.finish([]Due{p.due}, Outcome{Result: Limited})
				return
			}
			t.finish([]Due{p.due}, t.f.o.Poster.Send(context.WithoutCancel(ctx), WebhookPrefix+p.due.Ref, p.rule, &p.due.Notification))
		})
	}
	return len(due) == limit && len(jobs) < free, nil
}

// postpone leaves attempts with an unknown rule to a node that knows the rule. A newer node may
// have stored them during a rolling upgrade. This node cannot know what to send for such a
// rule, nor what cancels it, so it does neither. The attempts must have been recorded as begun.
// They become due again after unknownRulePause, and are given up after Longest.
func (t *term) postpone(unknown []Due) {
	for _, d := range unknown {
		if !t.unknownLogged {
			t.unknownLogged = true
			t.f.o.Logger.Warn("a late notification has a rule that this version does not know, and is left to a newer node", "rule", d.Rule)
		}
		result := Limited
		if time.Since(d.Since) > Longest {
			result = Rejected
		}
		t.finish([]Due{d}, Outcome{Result: result, After: unknownRulePause})
	}
}

// backoff returns how long to wait after tries failed attempts: 2 s after the first, then
// twice as long each time, up to an hour.
func backoff(tries int) time.Duration {
	return min(2*time.Second<<min(max(tries-1, 0), 11), time.Hour)
}

// finish counts the outcome of an attempt and makes record store it.
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

// count counts one notification's attempt, in this process's metrics and in the totals of all
// nodes, which are stored with the position. t.mu is held.
func (t *term) count(push bool, r Result, reason string) {
	c, sent, failed := &t.f.counts[0], &t.totals.PushSent, &t.totals.PushFailed
	if !push {
		c, sent, failed = &t.f.counts[1], &t.totals.WebhooksSent, &t.totals.WebhooksFailed
	}
	if i := slices.Index(Reasons[:], reason); i >= 0 {
		c.failed[i].Add(1)
	}
	switch r {
	case Sent:
		c.sent.Add(1)
		*sent++
	case Rejected:
		c.givenUp.Add(1)
		*failed++
	}
}

// signalRecorder wakes record.
func (t *term) signalRecorder() {
	select {
	case t.recordNow <- struct{}{}:
	default:
	}
}

// record stores the results of attempts. Results that arrive while it stores the previous
// ones are stored together. It returns when ctx has ended and the last results are stored.
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
				t.f.o.Logger.Warn("storing results of late notifications failed, will be retried", "error", err)
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

// waitToRetry waits for Options.Poll before the database is asked again, or until ctx ends.
func (f *Follower) waitToRetry(ctx context.Context) {
	t := time.NewTimer(f.o.Poll)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
