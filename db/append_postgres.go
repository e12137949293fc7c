package db

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// appender runs batches in transactions of their own. It is one goroutine's.
type appender struct {
	d    *DB
	buf  []byte  // the statement's text
	left []int   // what the plain way left over: its places in the batch,
	rest []*call // and the commands
}

func newAppender(d *DB) *appender { return &appender{d: d} }

// run appends a batch in one transaction and adds one outcome a command to outs.
// wait is how long each lock is waited for; dontWait: not at all. What the plain
// way leaves over goes the other way, in a transaction of its own.
func (a *appender) run(batch []*call, outs []outcome, wait time.Duration) []outcome {
	if !a.plainly(batch, wait) {
		return a.apart(batch, outs, wait, a.once)
	}
	outs = a.apart(batch, outs, wait, a.plain)
	a.left, a.rest = a.left[:0], a.rest[:0]
	for i := range outs {
		if outs[i].what == "" {
			a.left, a.rest = append(a.left, i), append(a.rest, batch[i])
		}
	}
	if len(a.rest) > 0 {
		for i, o := range a.apart(a.rest, nil, wait, a.once) {
			outs[a.left[i]] = o
		}
		clear(a.rest)
	}
	return outs
}

// attempt appends a batch in one transaction and adds its outcomes to outs.
type attempt func(batch []*call, outs []outcome, wait time.Duration) ([]outcome, error)

// apart tries the batch. One that failed and surely left nothing behind is
// repeated one command at a time, so that the command at fault fails alone.
func (a *appender) apart(batch []*call, outs []outcome, wait time.Duration, try attempt) []outcome {
	outs, err := try(batch, outs, wait)
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
		if w.left.Load() {
			outs = append(outs, outcome{what: abandoned})
			continue
		}
		if outs, err = a.once(batch[i:i+1], outs, wait); err != nil {
			outs = append(outs[:i], a.failure(err, wait))
		}
	}
	return outs
}

// failure is what err means for a command. A lock that did not come within wait
// leaves it busy. A doubled value is nothing a caller could have sent: seqs and
// keys are the log's own.
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

func (a *appender) once(batch []*call, outs []outcome, wait time.Duration) ([]outcome, error) {
	if a.d.dialect == SQLite {
		return a.sqlite(batch, outs)
	}
	return a.postgres(batch, outs, wait)
}

// postgres calls falcon_append: one round trip, one transaction. When its answer
// does not come, nobody knows whether it committed, so nothing here tries again
// (database/sql does so only where not a byte of it was sent).
func (a *appender) postgres(batch []*call, outs []outcome, wait time.Duration) ([]outcome, error) {
	ctx, cancel := context.WithTimeout(context.Background(), CallLimit)
	defer cancel()
	now := nowMillis()
	a.write(batch, now, wait)
	rows, err := a.d.log.DB.QueryContext(ctx, string(a.buf))
	if err != nil {
		return outs, err
	}
	defer func() { _ = rows.Close() }()

	var drafts []*bridge.Draft
	first := len(outs)
	for _, w := range batch {
		outs = append(outs, outcome{})
		for i := range w.cmd.Drafts {
			drafts = append(drafts, &w.cmd.Drafts[i])
		}
	}
	for rows.Next() {
		var cmd int
		var what verdict
		var ord, id, seq sql.NullInt64
		var muted sql.NullBool
		var answer sql.NullString
		if err := rows.Scan(&cmd, &ord, &what, &id, &seq, &muted, &answer); err != nil {
			return outs, err
		}
		o, w := &outs[first+cmd], batch[cmd]
		switch what {
		case "report":
			c := w.cmd.Change
			o.report = &bridge.Report{ID: c.Report, Title: c.Title, User: c.User, Status: c.Status,
				CreatedAt: moment(id.Int64), UpdatedAt: moment(seq.Int64)}
		case appended:
			if o.appended == nil {
				o.appended = make([]bridge.Notification, 0, len(w.cmd.Drafts))
			}
			o.what = what
			o.appended = append(o.appended, notificationOf(drafts[ord.Int64-1], id.Int64, bridge.Seq(seq.Int64), muted.Bool, now))
		default:
			o.what, o.answer = what, answer.String
		}
	}
	return outs, rows.Err()
}

// write writes the call into a.buf. The arguments stand in the text: with
// prepared statements pgdriver leaves a connection out of step after a timeout.
// Planning the outer SELECT is cheap; the plans inside the function are kept.
func (a *appender) write(batch []*call, now int64, wait time.Duration) {
	b := append(a.buf[:0], "SELECT cmd, ord, outcome, id, seq, muted, answer FROM falcon_append("...)
	b = appendNumbers(b, batch, func(cmd int, _ *bridge.Draft) int64 { return int64(cmd) })
	b = appendDrafts(b, batch)

	changes := func(of func([]byte, int, *bridge.StatusChange) []byte) {
		b = append(b, '\'', '{')
		for i, w := range batch {
			if w.cmd.Change != nil {
				b = append(of(b, i, w.cmd.Change), ',')
			}
		}
		b = endArray(b)
	}
	changes(func(b []byte, cmd int, _ *bridge.StatusChange) []byte { return strconv.AppendInt(b, int64(cmd), 10) })
	changes(func(b []byte, _ int, s *bridge.StatusChange) []byte { return strconv.AppendInt(b, s.Report, 10) })
	changes(func(b []byte, _ int, s *bridge.StatusChange) []byte { return strconv.AppendInt(b, int64(s.Status), 10) })
	changes(func(b []byte, _ int, s *bridge.StatusChange) []byte { return appendElement(b, s.Title) })
	changes(func(b []byte, _ int, s *bridge.StatusChange) []byte { return appendElement(b, string(s.User)) })

	keys := func(of func([]byte, int, *bridge.IdempotencyKey) []byte) {
		b = append(b, '\'', '{')
		for i, w := range batch {
			if w.cmd.Key != nil {
				b = append(of(b, i, w.cmd.Key), ',')
			}
		}
		b = endArray(b)
	}
	keys(func(b []byte, cmd int, _ *bridge.IdempotencyKey) []byte { return strconv.AppendInt(b, int64(cmd), 10) })
	keys(func(b []byte, _ int, k *bridge.IdempotencyKey) []byte { return appendElement(b, string(k.Caller)) })
	keys(func(b []byte, _ int, k *bridge.IdempotencyKey) []byte { return appendElement(b, k.Key) })
	keys(func(b []byte, _ int, k *bridge.IdempotencyKey) []byte { return appendElement(b, bodyHash(k)) })

	b = strconv.AppendInt(b, now, 10)
	b = append(appendNode(append(b, ','), a.d.o.Node), ',')
	if wait < 0 {
		b = append(b, "NULL)"...)
	} else {
		b = append(strconv.AppendInt(b, max(1, wait.Milliseconds()), 10), ')')
	}
	a.buf = b
}
