package db

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/uptrace/bun"
)

// bodyHash returns the body's SHA-256 as falcon_keys stores it.
func bodyHash(k *bridge.IdempotencyKey) string { return hex.EncodeToString(k.Body[:]) }

// sqlite runs a batch in one transaction. SQLite has one writer, so no command is ever
// busy or in flight; if another process has the lock, BEGIN waits for it (busy_timeout).
//
// Only BEGIN has a deadline. The statements run under a context that is never done: an
// interrupt could end the transaction between two of them, and each takes microseconds.
func (a *appender) sqlite(batch []*call, outs []outcome) (_ []outcome, err error) {
	if err := a.d.checkFile(); err != nil {
		return outs, err
	}
	begin, cancel := context.WithTimeout(context.Background(), callLimit)
	defer cancel()
	conn, err := a.d.write.Conn(begin)
	if err != nil {
		return outs, err
	}
	defer func() { _ = conn.Close() }()
	ctx := traceOf(batch)
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return outs, err
	}
	defer func() {
		if err != nil {
			// This fails if SQLite has rolled back by itself, as it does when the disk is full.
			_ = tx.Rollback()
		}
	}()
	t := liteTx{d: a.d, ctx: ctx, tx: tx, now: nowMillis(), of: growth{}}
	first := len(outs)
	for _, w := range batch {
		o, err := t.prepare(&w.cmd)
		if err != nil {
			return outs[:first], err
		}
		outs = append(outs, o)
		if o.what == appended {
			for i := range w.cmd.Drafts {
				t.of.add(w.cmd.Drafts[i].User, true)
			}
		}
	}
	if err := t.store(batch, outs[first:]); err != nil {
		return outs[:first], err
	}
	begun := time.Now()
	err = tx.Commit()
	a.commits += time.Since(begun)
	return outs, err
}

// rowOf returns the row for a draft, without its times and without its mute.
func rowOf(n *bridge.Draft, seq bridge.Seq) notification {
	return notification{UserID: n.User, Seq: seq, Kind: kindOf(n), Title: n.Title, Message: n.Message,
		ReportID: n.ReportID, StatusID: n.StatusID, Data: string(n.Data),
		URL: n.URL, Replaces: n.Replaces, By: n.By}
}

// liteTx is one append transaction on SQLite.
type liteTx struct {
	d   *DB
	ctx context.Context
	tx  bun.Tx
	now int64
	of  growth
}

// prepare checks the command's report and idempotency key. An outcome of appended means
// that the command is to be stored; any other is final.
func (t *liteTx) prepare(cmd *bridge.Command) (o outcome, err error) {
	o.what = appended
	if c := cmd.Change; c != nil {
		if err := t.change(c, &o); err != nil || o.what != appended {
			return o, err
		}
	}
	if cmd.Key == nil {
		return o, nil
	}
	k := keyOf(cmd.Key)
	err = t.tx.NewSelect().Model(&k).WherePK().Where("created_at > ?", t.now-bridge.KeyTTL.Milliseconds()).Scan(t.ctx)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return o, nil
	case err != nil:
		return o, err
	case k.Body == bodyHash(cmd.Key):
		o.what, o.answer = replayed, k.Answer
	default:
		o.what = reused
	}
	return o, nil
}

// change checks the report that c changes. The change itself is made together with the
// rows, once it is known that the whole command will be stored.
func (t *liteTx) change(c *bridge.StatusChange, o *outcome) error {
	r := report{ID: c.Report}
	err := unerased(t.tx.NewSelect().Model(&r)).WherePK().Scan(t.ctx)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		o.what = noReport
		return nil
	case err != nil:
		return err
	case r.Title != c.Title || r.UserID != c.User:
		o.what = noReport
		return nil
	case r.StatusID == c.Status:
		o.what = unchanged
	default:
		r.StatusID, r.UpdatedAt = c.Status, t.now
	}
	current := r.domain()
	o.report = &current
	return nil
}

// store writes the rows of the commands whose outcome is appended: one statement for all
// inboxes and one for all notifications.
func (t *liteTx) store(batch []*call, outs []outcome) error {
	if len(t.of) == 0 {
		return nil
	}
	if err := t.of.grow(t.ctx, t.tx); err != nil {
		return err
	}
	var rows []notification
	for i, w := range batch {
		if outs[i].what != appended {
			continue
		}
		for j := range w.cmd.Drafts {
			n := &w.cmd.Drafts[j]
			row := rowOf(n, t.of.next(n.User))
			row.CreatedAt = t.now
			if n.ExpiresIn > 0 {
				row.ExpiresAt = t.now + n.ExpiresIn.Milliseconds()
			}
			t.of.mute(&row)
			rows = append(rows, row)
		}
	}
	if err := t.of.countHidden(t.ctx, t.tx); err != nil {
		return err
	}
	res, err := t.tx.NewInsert().Model(&rows).Returning("NULL").Exec(t.ctx)
	if err != nil {
		return err
	}
	last, err := res.LastInsertId()
	if err != nil {
		return err
	}
	if err := t.d.supersede(t.ctx, t.tx, rows); err != nil {
		return err
	}
	for i, w := range batch {
		o := &outs[i]
		if o.what != appended {
			continue
		}
		o.appended = make([]bridge.Notification, len(w.cmd.Drafts))
		for j := range w.cmd.Drafts {
			// AUTOINCREMENT gives each row the greatest id so far plus one, and nothing else
			// writes meanwhile, so the ids of one statement are consecutive.
			id := last - int64(len(rows)-1)
			o.appended[j] = notificationOf(&w.cmd.Drafts[j], id, rows[0].Seq, rows[0].Muted, t.now, rows[0].ExpiresAt)
			rows = rows[1:]
		}
		if err := t.conclude(&w.cmd, o); err != nil {
			return err
		}
	}
	return nil
}

// conclude changes the command's report and stores the result under its key.
func (t *liteTx) conclude(cmd *bridge.Command, o *outcome) error {
	if c := cmd.Change; c != nil {
		r := report{ID: c.Report, StatusID: c.Status, UpdatedAt: t.now}
		if _, err := t.tx.NewUpdate().Model(&r).Column("status_id", "updated_at").WherePK().Exec(t.ctx); err != nil {
			return err
		}
	}
	if cmd.Key == nil {
		return nil
	}
	k := keyOf(cmd.Key)
	k.Body, k.Answer, k.CreatedAt = bodyHash(cmd.Key), encodeAnswer(o.appended), t.now
	_, err := t.tx.NewInsert().Model(&k).On("CONFLICT (caller, key) DO UPDATE").Exec(t.ctx)
	return err
}
