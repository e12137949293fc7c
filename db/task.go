package db

import (
	"context"
	"database/sql"
	"errors"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/uptrace/bun"
)

// Marking a user's notifications as read and erasing a user take as long as the user
// has rows, and a transaction must not: it would hold up the user's appends, end with
// its time limit, and leave nothing behind. So they are done in steps of at most
// stepRows rows, each a transaction. The first transaction stores a task, the last one
// deletes it. Where a step fails, the caller leaves or the node dies, the upkeep of
// any node goes on, see [DB.Continue].
//
// Locks are taken in this order: the task, reports, the inbox row. Two that work on
// one task wait for each other's steps and do none twice.

// The kinds of tasks.
const (
	readTask  = "read"  // mark as read
	eraseTask = "erase" // erase a user

	deleteTask = "delete" // delete those that are read
	hideTask   = "hide"   // hide or show notifications as the settings of their kinds ask for
)

// tableOf is the table of a kind of tasks, with the alias of the model: see the migration.
func tableOf(kind string) string {
	if kind == readTask || kind == eraseTask {
		return "falcon_tasks AS t"
	}
	return "falcon_steps AS t"
}

// stepRows is how many rows a step changes at most: 3 ms of the one write lock on
// SQLite, 10 ms of the user's inbox row on Postgres. With 2,000 the appends that wait
// took three times as long on SQLite, see docs/scaling.md.
const stepRows = 500

// progress is what a step left.
type progress struct {
	took   bool  // there was such a task, and no other call was working on it
	done   bool  // nothing is left
	unread int64 // of readTask
}

// begin stores a task, which is certain to be finished from then on. Where the task exists
// already the further end counts. It locks the task until tx ends.
func (d *DB) begin(ctx context.Context, tx bun.IDB, kind string, u bridge.UserID, upTo int64) error {
	row := task{Kind: kind, UserID: u, UpTo: upTo, BegunAt: nowMillis()}
	_, err := tx.NewInsert().Model(&row).ModelTableExpr(tableOf(kind)).On("CONFLICT (kind, user_id) DO UPDATE").
		Set("up_to = CASE WHEN excluded.up_to > t.up_to THEN excluded.up_to ELSE t.up_to END").
		Set("at_seq = 0").Set("begun_at = excluded.begun_at").Returning("NULL").Exec(ctx)
	return err
}

// drive takes steps of a task until it is done, one fails or ctx ends, and returns what
// was left then; p is what is left before. It has no error: what it does not do is done
// later.
func (d *DB) drive(ctx context.Context, kind string, u bridge.UserID, p progress) progress {
	for !p.done && ctx.Err() == nil {
		next, err := d.step(ctx, kind, u, d.stepRows, false)
		if err != nil {
			break
		}
		p = next
	}
	return p
}

// step takes one step of a task, of at most limit rows. With skip it leaves a task that
// somebody else is at alone.
func (d *DB) step(ctx context.Context, kind string, u bridge.UserID, limit int, skip bool) (p progress, err error) {
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
			p = progress{done: true} // another node was faster, or is
			return nil
		}
		p = progress{took: true}
		switch {
		case err != nil || t.UpTo == endsLeft:
			return err
		case kind == eraseTask:
			return d.eraseStep(ctx, tx, &t, limit)
		}
		return d.inboxStep(ctx, tx, &t, limit, &p)
	})
	if err == nil && p.took && t.UpTo == endsLeft {
		p.done, err = true, d.endErased(ctx, u)
	}
	return p, d.fail("go on with a task", err)
}

// window returns the seq of the limit-th of t's notifications that find selects, or to
// where there are fewer. It is a range of an index.
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

// inboxStep takes a step of what is done under the lock of the inbox row.
func (d *DB) inboxStep(ctx context.Context, tx bun.Tx, t *task, limit int, p *progress) error {
	in := inbox{UserID: t.UserID}
	err := d.lockRows(tx.NewSelect().Model(&in).WherePK(), "NO KEY UPDATE").Scan(ctx)
	if err != nil && !errors.Is(err, sql.ErrNoRows) { // no row: the user was erased just before the task began
		return err
	}
	t.AtSeq = max(t.AtSeq, in.ErasedSeq)
	find := "TRUE"
	if t.Kind == readTask {
		find = "n.read_at = 0" // an index of its own
	}
	upTo := min(bridge.Seq(t.UpTo), in.LastSeq)
	end, err := t.window(ctx, tx, find, upTo, limit)
	if err == nil && end > t.AtSeq {
		switch t.Kind {
		case readTask:
			err = d.readStep(ctx, tx, &in, t.AtSeq, end, limit)
		case deleteTask:
			err = d.deleteRead(ctx, tx, &in, t.AtSeq, end, limit, t.BegunAt)
		case hideTask:
			err = d.hide(ctx, tx, &in, t.AtSeq, end, limit)
		}
	}
	if err != nil {
		return err
	}
	if p.unread, err = d.unread(ctx, tx, &in); err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if t.AtSeq = end; end >= upTo {
		p.done = true
		_, err = tx.NewDelete().Model(t).ModelTableExpr(tableOf(t.Kind)).WherePK().Exec(ctx)
		return err
	}
	return t.moved(ctx, tx)
}

// readStep marks the notifications after one seq and up to another as read. The record of
// it says that all up to the latter are read. Those that were marked unread meanwhile, behind
// the former, are not, so each step records them again.
func (d *DB) readStep(ctx context.Context, tx bun.Tx, in *inbox, after, end bridge.Seq, limit int) error {
	c, err := markRead(ctx, tx, in, after, end, limit)
	if err != nil || c.unread == 0 {
		return err
	}
	err = within(tx, in.UserID, in.ErasedSeq, after, bridge.MaxChanged+1).Column("id").Where("n.read_at = 0").Scan(ctx, &c.ids)
	if err != nil {
		return err
	}
	return d.change(ctx, tx, in, c)
}

// deleteRead deletes the notifications after one seq and up to another that were read by
// then and are not hidden.
func (d *DB) deleteRead(ctx context.Context, tx bun.Tx, in *inbox, after, end bridge.Seq, limit int, by int64) error {
	_, err := d.removeNotifications(ctx, tx, deleted, func(q bun.QueryBuilder) bun.QueryBuilder {
		return q.Where("id IN (?)", within(tx, in.UserID, after, end, limit).Column("id")).
			Where("read_at > 0").Where("read_at <= ?", by).Where("NOT hidden").Where(d.live(""))
	})
	return err
}

// hide hides or shows the notifications after one seq and up to another as the settings of
// their kinds ask for.
func (d *DB) hide(ctx context.Context, tx bun.Tx, in *inbox, after, end bridge.Seq, limit int) error {
	var kinds []bridge.Kind
	for k, on := range in.Kinds {
		if !on {
			kinds = append(kinds, k)
		}
	}
	wanted := bun.SafeQuery("kind IN (?)", bun.List(kinds))
	if len(kinds) == 0 {
		wanted = bun.SafeQuery("?", false)
	}
	var rows []notification
	err := tx.NewUpdate().Model((*notification)(nil)).Set("hidden = NOT hidden").Where("id IN (?)", within(tx, in.UserID, after, end, limit).Column("id")).
		Where("hidden <> (?)", wanted).Returning("read_at, hidden").Scan(ctx, &rows)
	if err != nil || len(rows) == 0 {
		return err
	}
	c := stateChange{refetch: true}
	for i := range rows {
		by := int64(1)
		if !rows[i].Hidden {
			by = -1
		}
		c.hiddenTotal += by
		if rows[i].ReadAt == 0 {
			c.hiddenUnread += by
		}
	}
	return d.change(ctx, tx, in, c)
}

// continued is how many tasks one call of Continue takes up.
const continued = 20

// Continue takes a step, of at most limit rows, of some of the tasks that no call is working on,
// and returns how many.
func (d *DB) Continue(ctx context.Context, limit int) (n int, err error) {
	find, cancel := bound(ctx)
	defer cancel()
	var ts, more []task
	if err := d.read.NewSelect().Model(&ts).Order("t.begun_at").Limit(continued).Scan(find); err != nil {
		return 0, d.fail("look for tasks", err)
	}
	if err := d.read.NewSelect().Model(&more).ModelTableExpr(tableOf(hideTask)).Order("t.begun_at").Limit(continued).Scan(find); err != nil {
		return 0, d.fail("look for tasks", err)
	}
	ts = append(ts, more...)
	for _, t := range ts {
		p, e := d.step(ctx, t.Kind, t.UserID, limit, true)
		if err = errors.Join(err, e); p.took && e == nil {
			n++
		}
	}
	if n > 0 {
		err = nil // it is logged; the others are not to wait for the one that fails
	}
	return n, err
}
