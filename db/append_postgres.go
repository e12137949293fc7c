package db

import (
	"context"
	"slices"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/uptrace/bun/dialect/pgdialect"
)

// appendAll calls falcon_append, whose current text is in the migration
// 20261129000270_append. It is a function so that all queued commands take one round
// trip and one transaction, and so that the connection keeps the plans of its
// statements (docs/decisions/0001-one-function-appends.md).
// TestThePlansOfAppendSurviveGrowth, TestFunctionsReadIndexRanges and
// TestAppendComparesNoRowWithEachOther check those plans.
//
// A change of falcon_append usually concerns more than one migration:
//
//   - append_sqlite.go does the same for SQLite, and append_test.go tests both.
//   - falcon_append calls falcon_own_xid, whose current text is in the migration
//     20261129000001_append, and falcon_hint, whose current text is in the migration
//     20261129000001_append.
//   - It records what is superseded with falcon_change, whose current text is in the
//     migration 20261129000120_state.
//   - Applications that share the database append with falcon_notify, whose current text is
//     in the migration 20261129000210_hint.
//   - import.go assigns seqs and positions in the feed in the same way.
//
// spent is how long the statement ran on the server before its commit, in seconds. It is
// NULL except in the first row, because reading a clock and formatting the difference for
// each row cost about a microsecond a notification.
const appendAll = "SELECT a.cmd, a.ord, a.outcome, a.id, a.seq, a.muted, a.answer, a.expires, " +
	"CASE WHEN a.line = 1 THEN extract(epoch FROM clock_timestamp() - statement_timestamp())::float8 END AS spent " +
	"FROM falcon_append(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) " +
	"WITH ORDINALITY AS a(cmd, ord, outcome, id, seq, muted, answer, expires, line)"

// appendedRow is a row of falcon_append's result. Columns that its outcome does not use
// are NULL, which scans as zero.
type appendedRow struct {
	Cmd     int
	Ord     int // the number of the draft, from 1, counting through all commands
	Outcome verdict
	ID      int64
	Seq     int64
	Muted   bool
	Answer  string
	Expires int64
	Spent   float64
}

// postgres runs a batch by a call of falcon_append. If the response is lost, it is
// unknown whether the transaction committed, so nothing here retries. (database/sql
// does, but only if not a byte was sent.)
func (a *appender) postgres(batch []*call, outs []outcome, wait time.Duration) ([]outcome, error) {
	ctx, cancel := context.WithTimeout(traceOf(batch), callLimit)
	defer cancel()
	now := nowMillis()
	a.collect(batch)
	a.rows = a.rows[:0]
	begun := time.Now()
	if err := a.d.log.NewRaw(appendAll, a.args(now, wait)...).Scan(ctx, &a.rows); err != nil {
		return outs, err
	}
	took, spent := time.Since(begun), 0.0
	if len(a.rows) > 0 {
		spent = a.rows[0].Spent
	}
	a.commits += max(0, took-time.Duration(spent*float64(time.Second)))
	first := len(outs)
	for range batch {
		outs = append(outs, outcome{})
	}
	for i := range a.rows {
		r := &a.rows[i]
		o, w := &outs[first+r.Cmd], batch[r.Cmd]
		switch r.Outcome {
		case "report":
			c := w.cmd.Change
			o.report = &bridge.Report{ID: c.Report, Title: c.Title, User: c.User, Status: c.Status,
				CreatedAt: moment(r.ID), UpdatedAt: moment(r.Seq)}
		case appended:
			if o.appended == nil {
				o.appended = make([]bridge.Notification, 0, len(w.cmd.Drafts))
			}
			o.what = appended
			o.appended = append(o.appended, notificationOf(a.drafts[r.Ord-1], r.ID, bridge.Seq(r.Seq), r.Muted, now, r.Expires))
		default:
			o.what, o.answer = r.Outcome, r.Answer
		}
	}
	return outs, nil
}

// collect lists the drafts, changes and keys of the batch, each with the index of its
// command.
func (a *appender) collect(batch []*call) {
	a.cmds, a.drafts = a.cmds[:0], a.drafts[:0]
	a.changers, a.changes, a.keyed, a.keys = a.changers[:0], a.changes[:0], a.keyed[:0], a.keys[:0]
	for i, w := range batch {
		for j := range w.cmd.Drafts {
			a.cmds, a.drafts = append(a.cmds, i), append(a.drafts, &w.cmd.Drafts[j])
		}
		if c := w.cmd.Change; c != nil {
			a.changers, a.changes = append(a.changers, i), append(a.changes, c)
		}
		if k := w.cmd.Key; k != nil {
			a.keyed, a.keys = append(a.keyed, i), append(a.keys, k)
		}
	}
}

// args returns the arguments of falcon_append for what collect listed.
func (a *appender) args(now int64, wait time.Duration) []any {
	// node stays NULL, so that the function does not notify: a NOTIFY in this transaction
	// would make the commits of all nodes wait for each other
	// (docs/decisions/0018-hints-after-the-commit.md). lockWait NULL means no waiting.
	var node, lockWait any
	if wait >= 0 {
		lockWait = max(1, wait.Milliseconds())
	}
	var urls, replaces, lives any // NULL if no draft has any, as is nearly always the case
	if slices.ContainsFunc(a.drafts, func(n *bridge.Draft) bool { return n.URL != "" || n.Replaces != "" || n.ExpiresIn != 0 }) {
		urls = array(a.drafts, func(n *bridge.Draft) string { return n.URL })
		replaces = array(a.drafts, func(n *bridge.Draft) string { return n.Replaces })
		lives = array(a.drafts, func(n *bridge.Draft) int64 { return n.ExpiresIn.Milliseconds() })
	}
	return []any{
		pgdialect.Array(a.cmds),
		array(a.drafts, func(n *bridge.Draft) string { return string(n.User) }),
		array(a.drafts, func(n *bridge.Draft) string { return string(kindOf(n)) }),
		array(a.drafts, func(n *bridge.Draft) string { return n.Title }),
		array(a.drafts, func(n *bridge.Draft) string { return n.Message }),
		array(a.drafts, func(n *bridge.Draft) int64 { return n.ReportID }),
		array(a.drafts, func(n *bridge.Draft) int64 { return int64(n.StatusID) }),
		array(a.drafts, func(n *bridge.Draft) string { return string(n.Data) }),
		array(a.drafts, func(n *bridge.Draft) string { return n.By }),
		urls, replaces, lives,
		pgdialect.Array(a.changers),
		array(a.changes, func(c *bridge.StatusChange) int64 { return c.Report }),
		array(a.changes, func(c *bridge.StatusChange) int64 { return int64(c.Status) }),
		array(a.changes, func(c *bridge.StatusChange) string { return c.Title }),
		array(a.changes, func(c *bridge.StatusChange) string { return string(c.User) }),
		pgdialect.Array(a.keyed),
		array(a.keys, func(k *bridge.IdempotencyKey) string { return string(k.Caller) }),
		array(a.keys, func(k *bridge.IdempotencyKey) string { return k.Key }),
		array(a.keys, bodyHash),
		now, node, lockWait,
	}
}

// array returns one column of rows as an argument for unnest.
func array[R any, V string | int64 | bool](rows []R, column func(R) V) *pgdialect.ArrayValue {
	out := make([]V, len(rows))
	for i, r := range rows {
		out[i] = column(r)
	}
	return pgdialect.Array(out)
}
