package db

import (
	"context"
	"strconv"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// plainly tells whether falcon_append_plain is the cheaper way for a batch. A lone
// command is better off with falcon_append, which has a path for it.
func (a *appender) plainly(batch []*call, wait time.Duration) bool {
	if a.d.dialect != Postgres || wait != dontWait || len(batch) < 2 {
		return false
	}
	for _, w := range batch {
		if len(w.cmd.Drafts) != 1 || w.cmd.Change != nil || w.cmd.Key != nil {
			return false
		}
	}
	return true
}

// plain calls falcon_append_plain. Commands that it stored nothing of have an
// outcome without a verdict.
func (a *appender) plain(batch []*call, outs []outcome, _ time.Duration) ([]outcome, error) {
	ctx, cancel := context.WithTimeout(context.Background(), CallLimit)
	defer cancel()
	now := nowMillis()
	b := append(a.buf[:0], "SELECT ord, id, seq, muted FROM falcon_append_plain("...)
	b = strconv.AppendInt(appendDrafts(b, batch), now, 10)
	a.buf = append(appendNode(append(b, ','), a.d.o.Node), ')')
	rows, err := a.d.log.DB.QueryContext(ctx, string(a.buf))
	if err != nil {
		return outs, err
	}
	defer func() { _ = rows.Close() }()

	first := len(outs)
	for range batch {
		outs = append(outs, outcome{})
	}
	var ord, id, seq int64
	var muted bool
	for rows.Next() {
		if err := rows.Scan(&ord, &id, &seq, &muted); err != nil {
			return outs, err
		}
		// An array each: whoever keeps one notification keeps no other.
		n := notificationOf(&batch[ord-1].cmd.Drafts[0], id, bridge.Seq(seq), muted, now)
		outs[first+int(ord-1)] = outcome{what: appended, appended: []bridge.Notification{n}}
	}
	return outs, rows.Err()
}
