package db

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"

	"github.com/falconalert/falconbridge/bridge"
)

func bodyHash(k *bridge.IdempotencyKey) string { return hex.EncodeToString(k.Body[:]) }

// The statements of an append, each prepared once. They run in a loop: SQLite is
// in the process, so a statement is a function call, not a round trip.
const (
	readReport = iota
	setStatus
	readKey
	setKey
	growInbox
	addRow
	liteCount
)

var liteSQL = [liteCount]string{
	readReport: `SELECT title, user_id, status_id, created_at, updated_at FROM falcon_reports WHERE id = ?`,
	setStatus:  `UPDATE falcon_reports SET status_id = ?, updated_at = ? WHERE id = ?`,
	readKey:    `SELECT body, answer FROM falcon_keys WHERE caller = ? AND key = ? AND created_at > ?`,
	setKey:     `INSERT OR REPLACE INTO falcon_keys (caller, key, body, answer, created_at) VALUES (?, ?, ?, ?, ?)`,
	growInbox: `INSERT INTO falcon_inboxes (user_id, last_seq, total, unread) VALUES (?1, ?2, ?2, ?2)
		ON CONFLICT (user_id) DO UPDATE SET last_seq = last_seq + ?2, total = total + ?2, unread = unread + ?2
		RETURNING last_seq, review_enabled`,
	addRow: `INSERT INTO falcon_notifications (user_id, seq, kind, title, message, created_at, report_id, status_id, data, muted)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
}

func (a *appender) prepare(ctx context.Context) (s [liteCount]*sql.Stmt, err error) {
	for i, text := range liteSQL {
		if s[i], err = a.d.stmts.prepare(ctx, a.d.write.DB, text); err != nil {
			return s, err
		}
	}
	return s, nil
}

// sqlite appends a batch in one transaction. SQLite has one writer, so nothing
// is ever busy or in flight; another process's lock is waited for at BEGIN
// (busy_timeout).
//
// The statements get a context that is never done: an interrupt could end the
// transaction between two of them, and each takes microseconds.
func (a *appender) sqlite(batch []*call, outs []outcome) (_ []outcome, err error) {
	begin, cancel := context.WithTimeout(context.Background(), CallLimit)
	defer cancel()
	// Before the transaction takes the one connection there is.
	prepared, err := a.prepare(begin)
	if err != nil {
		return outs, err
	}
	conn, err := a.d.write.DB.Conn(begin)
	if err != nil {
		return outs, err
	}
	defer func() { _ = conn.Close() }()
	ctx := context.Background()
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return outs, err
	}
	defer func() {
		if err != nil {
			// Fails where SQLite rolled back by itself (a full disk does).
			_ = tx.Rollback()
		}
	}()
	t := liteTx{ctx: ctx, now: nowMillis(), of: make(map[bridge.UserID]*tail)}
	for i, s := range prepared {
		t.stmt[i] = tx.StmtContext(ctx, s)
	}
	first := len(outs)
	for _, w := range batch {
		o, err := t.prepare(&w.cmd)
		if err != nil {
			return outs[:first], err
		}
		outs = append(outs, o)
		if o.what == appended {
			for i := range w.cmd.Drafts {
				t.count(w.cmd.Drafts[i].User)
			}
		}
	}
	if err := t.reserve(); err != nil {
		return outs[:first], err
	}
	for i, w := range batch {
		if o := &outs[first+i]; o.what == appended {
			if err := t.store(&w.cmd, o); err != nil {
				return outs[:first], err
			}
		}
	}
	return outs, tx.Commit()
}

// liteTx is one append transaction on SQLite.
type liteTx struct {
	ctx  context.Context
	stmt [liteCount]*sql.Stmt
	now  int64
	of   map[bridge.UserID]*tail
}

// tail is the end of a user's log within the transaction.
type tail struct {
	n     int64 // rows that come
	last  bridge.Seq
	muted bool
}

func (t *liteTx) count(u bridge.UserID) {
	if t.of[u] == nil {
		t.of[u] = &tail{}
	}
	t.of[u].n++
}

// prepare looks at the command's report and key; appended means go on.
func (t *liteTx) prepare(cmd *bridge.Command) (outcome, error) {
	o := outcome{what: appended}
	if c := cmd.Change; c != nil {
		r := report{ID: c.Report}
		err := t.stmt[readReport].QueryRowContext(t.ctx, c.Report).Scan(&r.Title, &r.UserID, &r.StatusID, &r.CreatedAt, &r.UpdatedAt)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			o.what = gone
			return o, nil
		case err != nil:
			return o, err
		case r.Title != c.Title || r.UserID != c.User:
			o.what = gone
			return o, nil
		case r.StatusID == c.Status:
			o.what = same
		default:
			r.StatusID, r.UpdatedAt = c.Status, t.now
		}
		is := r.domain()
		o.report = &is
		if o.what == same {
			return o, nil
		}
	}
	if k := cmd.Key; k != nil {
		var body string
		err := t.stmt[readKey].QueryRowContext(t.ctx, string(k.Caller), k.Key, t.now-bridge.KeyTTL.Milliseconds()).Scan(&body, &o.answer)
		switch {
		case errors.Is(err, sql.ErrNoRows):
		case err != nil:
			return o, err
		case body == bodyHash(k):
			o.what = replayed
		default:
			o.what = reused
		}
	}
	return o, nil
}

// reserve takes the seqs of every user at once.
func (t *liteTx) reserve() error {
	for u, e := range t.of {
		var enabled bool
		if err := t.stmt[growInbox].QueryRowContext(t.ctx, string(u), e.n).Scan(&e.last, &enabled); err != nil {
			return err
		}
		e.last -= bridge.Seq(e.n)
		e.muted = !enabled
	}
	return nil
}

// store writes the command's rows.
func (t *liteTx) store(cmd *bridge.Command, o *outcome) error {
	o.appended = make([]bridge.Notification, 0, len(cmd.Drafts))
	for i := range cmd.Drafts {
		n := &cmd.Drafts[i]
		e := t.of[n.User]
		e.last++
		res, err := t.stmt[addRow].ExecContext(t.ctx, string(n.User), int64(e.last), string(kindOf(n)), n.Title, n.Message, t.now,
			n.ReportID, int64(n.StatusID), string(n.Data), e.muted)
		if err != nil {
			return err
		}
		id, err := res.LastInsertId()
		if err != nil {
			return err
		}
		o.appended = append(o.appended, notificationOf(n, id, e.last, e.muted, t.now))
	}
	if c := cmd.Change; c != nil {
		if _, err := t.stmt[setStatus].ExecContext(t.ctx, int64(c.Status), t.now, c.Report); err != nil {
			return err
		}
	}
	if k := cmd.Key; k != nil {
		_, err := t.stmt[setKey].ExecContext(t.ctx, string(k.Caller), k.Key, bodyHash(k), encodeAnswer(o.appended), t.now)
		return err
	}
	return nil
}
