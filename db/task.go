package db

import (
	"context"
	"database/sql"
	"errors"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/uptrace/bun"
)

// Marking all notifications of a user as read, or erasing a user, takes time in proportion
// to the user's rows. A single transaction would delay the user's appends, exceed the time
// limit and be rolled back. So such work is done in steps of at most stepRows rows, and each
// step is a transaction. The first transaction stores a task and the last one deletes it. If
// a step fails, the caller gives up or the node dies, the upkeep of any node continues the
// task, see [DB.Continue].
//
// Locks are taken in this order: the task, reports, the inbox row. Two callers that work on
// the same task wait for each other's steps and do none of them twice.

// The kinds of tasks.
const (
	readTask  = "read"  // mark notifications as read
	eraseTask = "erase" // erase a user

	deleteTask = "delete" // delete the notifications that are read
	hideTask   = "hide"   // hide or show notifications according to the settings of their kinds
)

// tableOf returns the table for tasks of a kind, with the alias of the model. The newer
// kinds have a separate table, because nodes of an earlier release would treat a task of a
// kind that they do not know as an erasure.
func tableOf(kind string) string {
	if kind == readTask || kind == eraseTask {
		return "falcon_tasks AS t"
	}
	return "falcon_steps AS t"
}

// stepRows is how many rows a step changes at most. A step of 500 rows holds the only
// write lock of SQLite for 3 ms, and the lock of the user's inbox row on Postgres for
// 10 ms. With steps of 2,000 rows, concurrent appends took three times as long on SQLite,
// see docs/scaling.md.
const stepRows = 500

// progress is the state of a task after a step.
type progress struct {
	claimed bool  // the task existed, and no other call was working on it
	done    bool  // nothing is left to do
	unread  int64 // with readTask: how many notifications are unread
}

// beginTask stores a task. Once tx has committed, the task is certain to be finished. If
// the user already has a task of that kind, it starts over and ends at the greater of the
// two ends. The task is locked until tx ends.
func (d *DB) beginTask(ctx context.Context, tx bun.IDB, kind string, u bridge.UserID, upTo int64) error {
	row := task{Kind: kind, UserID: u, UpTo: upTo, BegunAt: nowMillis()}
	_, err := tx.NewInsert().Model(&row).ModelTableExpr(tableOf(kind)).On("CONFLICT (kind, user_id) DO UPDATE").
		Set("up_to = CASE WHEN excluded.up_to > t.up_to THEN excluded.up_to ELSE t.up_to END").
		Set("at_seq = 0").Set("begun_at = excluded.begun_at").Returning("NULL").Exec(ctx)
	return err
}

// runTask takes steps of a task until the task is done, a step fails or ctx ends, and
// returns the progress. p is the progress before the first step. runTask returns no error,
// because [DB.Continue] does later what it leaves undone.
func (d *DB) runTask(ctx context.Context, kind string, u bridge.UserID, p progress) progress {
	for !p.done && ctx.Err() == nil {
		next, err := d.stepTask(ctx, kind, u, d.stepRows, false)
		if err != nil {
			break
		}
		p = next
	}
	return p
}

// stepTask takes one step of a task, of at most limit rows. If another call is working on
// the task, stepTask waits, or with skip does nothing.
func (d *DB) stepTask(ctx context.Context, kind string, u bridge.UserID, limit int, skip bool) (p progress, err error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	lock := "UPDATE"
	if skip {
		lock = "UPDATE SKIP LOCKED"
	}
	var t task
	err = d.inTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		t = task{Kind: kind, UserID: u}
		err := d.lockRows(tx.NewSelect().Model(&t).ModelTableExpr(tableOf(kind)).WherePK(), lock).Scan(ctx)
		if errors.Is(err, sql.ErrNoRows) {
			p = progress{done: true} // another node has finished it, or with skip is working on it
			return nil
		}
		p = progress{claimed: true}
		switch {
		case err != nil || t.UpTo == endsLeft:
			return err
		case kind == eraseTask:
			return d.eraseStep(ctx, tx, &t, limit)
		}
		return d.inboxStep(ctx, tx, &t, limit, &p)
	})
	if err == nil && p.claimed && t.UpTo == endsLeft {
		p.done, err = true, d.endErased(ctx, u)
	}
	return p, d.fail("continue a task", err)
}

// window returns the seq at which a step of limit rows ends. This is the seq of the
// limit-th notification after t.AtSeq that satisfies the condition find, or to if there are
// fewer. window reads a range of an index.
func (t *task) window(ctx context.Context, tx bun.Tx, find string, to bridge.Seq, limit int) (bridge.Seq, error) {
	var end bridge.Seq
	err := tx.NewSelect().Model((*notification)(nil)).Column("seq").Where("n.user_id = ?", t.UserID).Where("n.seq > ?", t.AtSeq).
		Where("n.seq <= ?", to).Where(find).Order("n.seq").Offset(int64(limit-1)).Limit(1).Scan(ctx, &end)
	if errors.Is(err, sql.ErrNoRows) {
		return to, nil
	}
	return end, err
}

// moved stores how far t has got.
func (t *task) moved(ctx context.Context, tx bun.Tx) error {
	_, err := tx.NewUpdate().Model(t).ModelTableExpr(tableOf(t.Kind)).Column("up_to", "at_seq").WherePK().Exec(ctx)
	return err
}

// inboxStep takes a step of a task of any kind but eraseTask. These steps hold the lock of
// the inbox row.
func (d *DB) inboxStep(ctx context.Context, tx bun.Tx, t *task, limit int, p *progress) error {
	box := inbox{UserID: t.UserID}
	err := d.lockRows(tx.NewSelect().Model(&box).WherePK(), "NO KEY UPDATE").Scan(ctx)
	if err != nil && !errors.Is(err, sql.ErrNoRows) { // without a row, the user was erased just before the task began
		return err
	}
	t.AtSeq = max(t.AtSeq, box.ErasedSeq)
	find := "TRUE"
	if t.Kind == readTask {
		find = "n.read_at = 0" // the condition of falcon_notifications_unread
	}
	upTo := min(bridge.Seq(t.UpTo), box.LastSeq)
	end, err := t.window(ctx, tx, find, upTo, limit)
	if err == nil && end > t.AtSeq {
		switch t.Kind {
		case readTask:
			err = d.readStep(ctx, tx, &box, t.AtSeq, end, limit)
		case deleteTask:
			err = d.deleteRead(ctx, tx, &box, t.AtSeq, end, limit, t.BegunAt)
		case hideTask:
			err = d.hide(ctx, tx, &box, t.AtSeq, end, limit)
		}
	}
	if err != nil {
		return err
	}
	if p.unread, err = d.unread(ctx, tx, &box); err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if t.AtSeq = end; end >= upTo {
		p.done = true
		_, err = tx.NewDelete().Model(t).ModelTableExpr(tableOf(t.Kind)).WherePK().Exec(ctx)
		return err
	}
	return t.moved(ctx, tx)
}

// readStep marks the notifications with after < seq <= end as read, and records the change
// as "all up to end are read". That record is wrong for earlier notifications, with seq <=
// after, that the user has marked unread since the task passed them. So each step records
// these again.
func (d *DB) readStep(ctx context.Context, tx bun.Tx, box *inbox, after, end bridge.Seq, limit int) error {
	c, err := markRead(ctx, tx, box, after, end, limit)
	if err != nil || c.unread == 0 {
		return err
	}
	err = within(tx, box.UserID, box.ErasedSeq, after, bridge.MaxChanged+1).Column("id").Where("n.read_at = 0").Scan(ctx, &c.ids)
	if err != nil {
		return err
	}
	return d.change(ctx, tx, box, c)
}

// deleteRead deletes the visible notifications with after < seq <= end that were read by
// the time readBy, in Unix ms.
func (d *DB) deleteRead(ctx context.Context, tx bun.Tx, box *inbox, after, end bridge.Seq, limit int, readBy int64) error {
	_, err := d.removeNotifications(ctx, tx, deleted, func(q bun.QueryBuilder) bun.QueryBuilder {
		return q.Where("id IN (?)", within(tx, box.UserID, after, end, limit).Column("id")).
			Where("read_at > 0").Where("read_at <= ?", readBy).Where("NOT hidden").Where(d.live(""))
	})
	return err
}

// hide hides or shows the notifications with after < seq <= end according to the settings
// of their kinds.
func (d *DB) hide(ctx context.Context, tx bun.Tx, box *inbox, after, end bridge.Seq, limit int) error {
	var kinds []bridge.Kind
	for k, on := range box.Kinds {
		if !on {
			kinds = append(kinds, k)
		}
	}
	wanted := bun.SafeQuery("kind IN (?)", bun.List(kinds))
	if len(kinds) == 0 {
		wanted = bun.SafeQuery("?", false)
	}
	var rows []notification
	err := tx.NewUpdate().Model((*notification)(nil)).Set("hidden = NOT hidden").Where("id IN (?)", within(tx, box.UserID, after, end, limit).Column("id")).
		Where("hidden <> (?)", wanted).Returning("read_at, hidden").Scan(ctx, &rows)
	if err != nil || len(rows) == 0 {
		return err
	}
	c := stateChange{refetch: true}
	for i := range rows {
		delta := int64(1)
		if !rows[i].Hidden {
			delta = -1
		}
		c.hiddenTotal += delta
		if rows[i].ReadAt == 0 {
			c.hiddenUnread += delta
		}
	}
	return d.change(ctx, tx, box, c)
}

// continued is how many tasks from each table one call of Continue works on at most.
const continued = 20

// Continue takes one step, of at most limit rows, of each of the oldest tasks that no other
// call is working on, and returns how many steps it took. It fails only if it took none.
func (d *DB) Continue(ctx context.Context, limit int) (n int, err error) {
	find, cancel := bound(ctx)
	defer cancel()
	var ts, more []task
	if err := d.read.NewSelect().Model(&ts).Order("t.begun_at").Limit(continued).Scan(find); err != nil {
		return 0, d.fail("find tasks", err)
	}
	if err := d.read.NewSelect().Model(&more).ModelTableExpr(tableOf(hideTask)).Order("t.begun_at").Limit(continued).Scan(find); err != nil {
		return 0, d.fail("find tasks", err)
	}
	ts = append(ts, more...)
	for _, t := range ts {
		p, e := d.stepTask(ctx, t.Kind, t.UserID, limit, true)
		if err = errors.Join(err, e); p.claimed && e == nil {
			n++
		}
	}
	if n > 0 {
		err = nil // it is logged already, and the caller should go on with the other tasks
	}
	return n, err
}
