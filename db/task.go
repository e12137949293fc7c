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
)

// stepRows is how many rows a step changes at most: 3 ms of the one write lock on
// SQLite, 10 ms of the user's inbox row on Postgres. With 2,000 the appends that wait
// took three times as long on SQLite, see docs/scaling.md.
const stepRows = 500

// progress is what a step left.
type progress struct {
	took   bool  // there was such a task, and nobody else at it
	done   bool  // nothing is left
	unread int64 // of readTask
}

// begin stores a task, which is from then on done whatever happens. Of one that is
// there already the further end counts. It locks the task until tx ends.
func (d *DB) begin(ctx context.Context, tx bun.IDB, kind string, u bridge.UserID, upTo int64) error {
	row := task{Kind: kind, UserID: u, UpTo: upTo, BegunAt: nowMillis()}
	_, err := tx.NewInsert().Model(&row).On("CONFLICT (kind, user_id) DO UPDATE").
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
		err := d.lockRows(tx.NewSelect().Model(&t).WherePK(), lock).Scan(ctx)
		if errors.Is(err, sql.ErrNoRows) {
			p = progress{done: true} // another node was faster, or is
			return nil
		}
		p = progress{took: true}
		switch {
		case err != nil || t.UpTo == endsLeft:
			return err
		case kind == readTask:
			return d.readStep(ctx, tx, &t, limit, &p)
		}
		return d.eraseStep(ctx, tx, &t, limit)
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

// moved stores how far t came.
func (t *task) moved(ctx context.Context, tx bun.Tx) error {
	_, err := tx.NewUpdate().Model(t).Column("up_to", "at_seq").WherePK().Exec(ctx)
	return err
}

// readStep marks at most limit notifications as read and counts them.
func (d *DB) readStep(ctx context.Context, tx bun.Tx, t *task, limit int, p *progress) error {
	in := inbox{UserID: t.UserID}
	err := d.lockRows(tx.NewSelect().Model(&in).WherePK(), "NO KEY UPDATE").Scan(ctx)
	if err != nil && !errors.Is(err, sql.ErrNoRows) { // no row: the user was erased just before the task began
		return err
	}
	t.AtSeq = max(t.AtSeq, in.ErasedSeq)
	end, err := t.window(ctx, tx, "n.read_at = 0", bridge.Seq(t.UpTo), limit)
	if err == nil && end > t.AtSeq {
		err = in.markRead(ctx, tx, unreadWithin(tx, t.UserID, t.AtSeq, end, limit))
	}
	if err != nil {
		return err
	}
	if p.unread, err = d.unread(ctx, tx, &in); err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if t.AtSeq = end; end >= bridge.Seq(t.UpTo) {
		p.done = true
		_, err = tx.NewDelete().Model(t).WherePK().Exec(ctx)
		return err
	}
	return t.moved(ctx, tx)
}

// continued is how many tasks one call of Continue takes up.
const continued = 20

// Continue takes a step, of at most limit rows, of some of the tasks that nobody is at,
// and returns how many.
func (d *DB) Continue(ctx context.Context, limit int) (n int, err error) {
	find, cancel := bound(ctx)
	defer cancel()
	var ts []task
	if err := d.read.NewSelect().Model(&ts).Order("t.begun_at").Limit(continued).Scan(find); err != nil {
		return 0, d.fail("look for tasks", err)
	}
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
