package db

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/falconalert/falconbridge/bridge"
)

// call is one command on its way through the committer.
type call struct {
	cmd bridge.Command
	// done receives the result. It is buffered, so that the committer never blocks on a
	// caller that has given up.
	done chan callResult
	// gaveUp is set once the caller has stopped waiting: a command that has not begun by
	// then is dropped.
	gaveUp atomic.Bool
	// keyInFlight is set while the command waits for another one with the same
	// idempotency key.
	keyInFlight atomic.Bool
	timer       *time.Timer
}

// callResult is what a caller of Append gets.
type callResult struct {
	res bridge.Result
	err error
}

var calls = sync.Pool{New: func() any {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return &call{done: make(chan callResult, 1), timer: t}
}}

// Append implements bridge.Log. It waits at most [CallLimit].
func (d *DB) Append(ctx context.Context, cmd bridge.Command) (bridge.Result, error) {
	if err := storable(cmd); err != nil {
		return bridge.Result{}, fmt.Errorf("append: %w", err)
	}
	c := calls.Get().(*call)
	c.cmd = cmd
	c.keyInFlight.Store(false)
	c.timer.Reset(callLimit)
	if !d.committer.enqueue(c) {
		c.timer.Stop()
		return bridge.Result{}, fmt.Errorf("append: %w: closed", bridge.ErrUnavailable)
	}
	var why error
	select {
	case a := <-c.done:
		c.timer.Stop()
		c.cmd = bridge.Command{}
		calls.Put(c)
		return a.res, a.err
	case <-ctx.Done():
		why = ctx.Err()
	case <-c.timer.C:
		why = context.DeadlineExceeded
	}
	c.gaveUp.Store(true) // the committer may still refer to c, so it does not go back to the pool
	if c.keyInFlight.Load() {
		return bridge.Result{}, fmt.Errorf("append: %w", bridge.ErrKeyInFlight)
	}
	return bridge.Result{}, d.fail("append", why)
}

// finish sends c its result.
func (c *call) finish(res bridge.Result, err error) { c.done <- callResult{res, err} }

// storable refuses commands without drafts or with too many, and text that only one of
// the databases would accept: NUL characters and invalid UTF-8.
func storable(cmd bridge.Command) error {
	if len(cmd.Drafts) == 0 || len(cmd.Drafts) > bridge.MaxBatch {
		return fmt.Errorf("a command has 1 to %d drafts", bridge.MaxBatch)
	}
	var bad bridge.InvalidError
	check := func(location, s string) {
		if strings.IndexByte(s, 0) >= 0 {
			bad.Add(location, "must not contain a NUL character")
		} else if !utf8.ValidString(s) {
			bad.Add(location, "must be valid UTF-8")
		}
	}
	for i := range cmd.Drafts {
		n := &cmd.Drafts[i]
		check("body.created_by", string(n.User))
		check("body.kind", string(n.Kind))
		check("body.title", n.Title)
		check("body.message", n.Message)
		if len(n.Data) > 0 {
			check("body.data", string(n.Data))
		}
		check("body.url", n.URL)
		check("body.replaces", n.Replaces)
	}
	if c := cmd.Change; c != nil {
		check("body.title", c.Title)
		check("body.created_by", string(c.User))
	}
	if k := cmd.Key; k != nil {
		check("header.Idempotency-Key", k.Key)
		check("header.Idempotency-Key", string(k.Caller))
	}
	return bad.Err()
}

// outcome is the database's result for one command.
type outcome struct {
	what     verdict
	err      error // with failed
	appended []bridge.Notification
	report   *bridge.Report
	answer   string // of a replay
}

// verdict is how a command ended, by the name that falcon_append has for it.
type verdict string

const (
	appended  verdict = "appended"
	unchanged verdict = "same"     // the report already has that status
	noReport  verdict = "missing"  // no such report, or its title or owner changed since the texts were made
	busy      verdict = "busy"     // another transaction has locked one of its rows
	inflight  verdict = "inflight" // another transaction is using its idempotency key
	replayed  verdict = "replayed" // the key was used, with the same body
	reused    verdict = "reused"   // the key was used, with another body

	failed    verdict = "failed"    // see err
	abandoned verdict = "abandoned" // its caller gave up before it began
)

// result converts an outcome to what the caller gets. busy is not final and never gets
// here: the command is tried again.
func (o *outcome) result() (bridge.Result, error) {
	switch o.what {
	case appended, unchanged:
		return bridge.Result{Appended: o.appended, Report: o.report}, nil
	case failed:
		return bridge.Result{}, o.err
	case noReport:
		return bridge.Result{}, fmt.Errorf("append: report: %w", bridge.ErrNotFound)
	case reused:
		return bridge.Result{}, fmt.Errorf("append: %w", bridge.ErrKeyReused)
	case inflight:
		return bridge.Result{}, fmt.Errorf("append: %w", bridge.ErrKeyInFlight)
	case replayed:
		items, err := decodeAnswer(o.answer)
		return bridge.Result{Appended: items, Replayed: true}, err
	}
	return bridge.Result{}, fmt.Errorf("append: %w: outcome %q", bridge.ErrUnavailable, o.what)
}

// appender runs batches of commands, each in one transaction. It belongs to one
// goroutine and reuses its slices from batch to batch.
type appender struct {
	d *DB

	cmds     []int // for each draft, the index of its command in the batch
	drafts   []*bridge.Draft
	changers []int // for each change, the index of its command
	changes  []*bridge.StatusChange
	keyed    []int // for each key, the index of its command
	keys     []*bridge.IdempotencyKey
	rows     []appendedRow

	commits time.Duration // spent on commits since the owner last set it to 0
}

func newAppender(d *DB) *appender {
	// Empty, not nil: a nil slice would become NULL instead of an empty array.
	return &appender{d: d, changers: []int{}, keyed: []int{}}
}

// run appends a batch in one transaction and adds one outcome per command to outs.
// wait is how long to wait for each lock; dontWait means not at all.
//
// One bad command, such as one with a value that the database refuses, fails the whole
// batch. If the batch certainly left nothing behind, its commands are repeated one at a
// time, so that only the caller at fault gets the error.
func (a *appender) run(batch []*call, outs []outcome, wait time.Duration) []outcome {
	outs, err := a.once(batch, outs, wait)
	if err == nil {
		return outs
	}
	outs = outs[:0]
	if len(batch) == 1 || locked(err) || !retryable(err) {
		o := a.failure(err, wait)
		for range batch {
			outs = append(outs, o)
		}
		return outs
	}
	for i, w := range batch {
		if w.gaveUp.Load() {
			outs = append(outs, outcome{what: abandoned})
			continue
		}
		if outs, err = a.once(batch[i:i+1], outs, wait); err != nil {
			outs = append(outs[:i], a.failure(err, wait))
		}
	}
	return outs
}

// failure returns the outcome of a command that failed with err. A lock timeout makes it
// busy. A duplicate value counts as unavailable rather than as a conflict, because it is
// never the caller's fault: the log itself chooses seqs and keys.
func (a *appender) failure(err error, wait time.Duration) outcome {
	switch {
	case locked(err) && wait >= 0:
		return outcome{what: busy}
	case classify(err) == conflict:
		a.d.outages.report("append", err)
		return outcome{what: failed, err: fmt.Errorf("append: %w: %s", bridge.ErrUnavailable, cause(err))}
	}
	return outcome{what: failed, err: a.d.fail("append", err)}
}

// traceOf returns a context with the first traceparent of a batch, for [Traced]. Calls
// of several traces may share a transaction; it is recorded in one of them.
func traceOf(batch []*call) context.Context {
	for _, w := range batch {
		if w.cmd.Traceparent != "" {
			return bridge.WithTraceparent(context.Background(), w.cmd.Traceparent)
		}
	}
	return context.Background()
}

// once runs a batch in one transaction. If it fails, no outcome is added.
func (a *appender) once(batch []*call, outs []outcome, wait time.Duration) ([]outcome, error) {
	if a.d.dialect == SQLite {
		return a.sqlite(batch, outs)
	}
	return a.postgres(batch, outs, wait)
}

// encodeAnswer returns the result as falcon_keys stores it: [[id,seq,"user"],…].
func encodeAnswer(ns []bridge.Notification) string {
	var b strings.Builder
	for i := range ns {
		sep := byte(',')
		if i == 0 {
			sep = '['
		}
		b.WriteByte(sep)
		fmt.Fprintf(&b, "[%d,%d,%q]", ns[i].ID, ns[i].Seq, string(ns[i].User)) // a user id needs no escape
	}
	b.WriteByte(']')
	return b.String()
}

func decodeAnswer(s string) ([]bridge.Notification, error) {
	var rows [][]any
	dec := json.NewDecoder(strings.NewReader(s))
	dec.UseNumber()
	if err := dec.Decode(&rows); err != nil {
		return nil, fmt.Errorf("append: the stored answer of an idempotency key: %w", err)
	}
	out := make([]bridge.Notification, len(rows))
	for i, r := range rows {
		if len(r) != 3 {
			return nil, errors.New("append: the stored answer of an idempotency key has another shape")
		}
		id, _ := r[0].(json.Number)
		seq, _ := r[1].(json.Number)
		user, _ := r[2].(string)
		n, err := id.Int64()
		if err != nil {
			return nil, fmt.Errorf("append: the stored answer of an idempotency key: %w", err)
		}
		m, err := seq.Int64()
		if err != nil {
			return nil, fmt.Errorf("append: the stored answer of an idempotency key: %w", err)
		}
		out[i] = bridge.Notification{ID: n, Seq: bridge.Seq(m), User: bridge.UserID(user)}
	}
	return out, nil
}

// notificationOf returns the notification that was stored for a draft.
func notificationOf(n *bridge.Draft, id int64, seq bridge.Seq, muted bool, now, expires int64) bridge.Notification {
	return bridge.Notification{ID: id, Seq: seq, User: n.User, Kind: kindOf(n), Title: n.Title, Message: n.Message,
		CreatedAt: moment(now), ReportID: n.ReportID, StatusID: n.StatusID, Data: n.Data, Muted: muted,
		URL: n.URL, Replaces: n.Replaces, ExpiresAt: moment(expires), By: n.By}
}

func kindOf(n *bridge.Draft) bridge.Kind {
	if n.Kind == "" {
		return bridge.KindMessage
	}
	return n.Kind
}
