package db

import (
	"context"
	"database/sql"
	"errors"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/uptrace/bun"
)

// Erasing a user begins with one transaction, after which nothing of the user is shown,
// counted, replayed or delivered any more. It sets the inbox's erased_seq, up to which all
// readers ignore the log, sets the counts to 0, deletes the sessions and the settings, and
// stores a task, which also hides the user's reports. The rows are then deleted in steps,
// reports first. The steps need no lock of the inbox row, so new appends do not wait.
//
// Once everything is deleted, the user's seqs begin again at 1. If something was appended
// meanwhile, they continue after it instead, since no seq may be used twice while its row
// exists.
//
// Four things are kept on purpose:
//   - the audit log, see bridge.Audit;
//   - revocations of the user's tokens, which would become valid again without them;
//   - for at most bridge.KeyTTL, idempotency keys of other callers, whose stored responses
//     contain the user's id;
//   - the ids of imported entries.
//
// Without the last two, a repeated request or import would bring back what was erased.

// endsLeft is the up_to of an erasure that has deleted everything. It only has to end the
// connections that opened meanwhile, whose cursors may refer to the former log.
const endsLeft = -1

// Erase implements bridge.History.
func (d *DB) Erase(ctx context.Context, u bridge.UserID) (done bool, err error) {
	if err := d.beginErase(ctx, u); err != nil {
		return false, d.fail("erase a user", err)
	}
	// The connections end now, and those that open meanwhile end when the erasure is done.
	if err := d.End(ctx, bridge.Order{User: u, Reason: bridge.EndErased}); err != nil {
		return false, err
	}
	return d.runTask(ctx, eraseTask, u, progress{}).done, nil
}

// beginErase hides everything of u and stores the task. Before it locks the inbox, it also
// deletes a first step of reports. In the order of locks reports precede inboxes, because
// changing a report appends to the inbox.
func (d *DB) beginErase(ctx context.Context, u bridge.UserID) error {
	ctx, cancel := bound(ctx)
	defer cancel()
	return d.inTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		var last int64
		if err := tx.NewSelect().Model((*report)(nil)).ColumnExpr("coalesce(max(id), 0)").Where("user_id = ?", u).Scan(ctx, &last); err != nil {
			return err
		}
		if err := d.beginTask(ctx, tx, eraseTask, u, last); err != nil {
			return err
		}
		for _, kind := range []string{readTask, deleteTask, hideTask} {
			if _, err := tx.NewDelete().Model(&task{Kind: kind, UserID: u}).ModelTableExpr(tableOf(kind)).WherePK().Exec(ctx); err != nil {
				return err
			}
		}
		if _, err := d.eraseReports(ctx, tx, u, last, d.stepRows); err != nil {
			return err
		}
		box := inbox{UserID: u}
		err := d.lockRows(tx.NewSelect().Model(&box).WherePK(), "UPDATE").Scan(ctx)
		if err == nil {
			box.ReviewEnabled, box.Kinds, box.ErasedSeq = true, nil, box.LastSeq
			if _, err = tx.NewUpdate().Model(&box).Column("review_enabled", "kinds", "erased_seq").WherePK().Exec(ctx); err == nil {
				err = d.change(ctx, tx, &box, stateChange{refetch: true, total: -box.Total, unread: -box.Unread,
					hiddenTotal: -box.HiddenTotal, hiddenUnread: -box.HiddenUnread})
			}
			if err == nil {
				err = d.touch(ctx, tx, []bridge.UserID{u})
			}
		}
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		return d.eraseSessions(ctx, tx, u)
	})
}

// eraseSessions deletes u's sessions and registrations, which [bridge.MaxSessions] and
// [bridge.MaxRegistrations] keep few enough for one statement each. No session of u can be
// made until tx ends, so none survives with a cursor past the end of the new log.
//
// Triggers take care of past sessions, so that nodes of an earlier release do so as well:
// while the task of an erasure is stored, no session becomes a past session, and storing or
// changing the task deletes the existing past sessions.
func (d *DB) eraseSessions(ctx context.Context, tx bun.Tx, u bridge.UserID) error {
	if err := d.lockUser(ctx, tx, u, sessionLock); err != nil {
		return err
	}
	lock := d.lockRows(tx.NewSelect().Model((*session)(nil)).Column("client_id").Where("user_id = ?", u).Order("client_id"), "UPDATE")
	if _, err := lock.Exec(ctx); err != nil {
		return err
	}
	if _, err := tx.NewDelete().Model((*session)(nil)).Where("user_id = ?", u).Exec(ctx); err != nil {
		return err
	}
	_, err := tx.NewDelete().Model((*registration)(nil)).Where("user_id = ?", u).Exec(ctx)
	return err
}

// eraseReports deletes at most limit of u's reports whose id is at most last, and returns
// how many.
func (d *DB) eraseReports(ctx context.Context, tx bun.Tx, u bridge.UserID, last int64, limit int) (int, error) {
	find := tx.NewSelect().Model((*report)(nil)).Column("id").Where("r.user_id = ?", u).Where("r.id <= ?", last).Order("r.id").Limit(int64(limit))
	n, err := affected(tx.NewDelete().WithQuery(bun.NewWithQuery("x", d.lockRows(find, "UPDATE")).Materialized()).
		Model((*report)(nil)).Where("id IN (SELECT id FROM x)").Exec(ctx))
	return int(n), err
}

// eraseStep deletes at most limit rows, in this order: reports, the idempotency keys that u
// used before the task began, attempts to reach u late and acknowledgements, tombstones,
// notifications. If there are none left, it ends the erasure.
func (d *DB) eraseStep(ctx context.Context, tx bun.Tx, t *task, limit int) error {
	n, err := d.eraseReports(ctx, tx, t.UserID, t.UpTo, limit)
	if err != nil || n == limit {
		return err
	}
	find := tx.NewSelect().Model((*key)(nil)).Column("key").Where("k.caller = ?", t.UserID).Where("k.created_at <= ?", t.BegunAt).Limit(int64(limit - n))
	keys, err := affected(tx.NewDelete().WithQuery(bun.NewWithQuery("x", find).Materialized()).Model((*key)(nil)).
		Where("caller = ?", t.UserID).Where("key IN (SELECT key FROM x)").Exec(ctx))
	if n += int(keys); err != nil || n == limit {
		return err
	}
	gone, err := d.eraseLate(ctx, tx, t.UserID, limit-n)
	if n += gone; err != nil || n == limit {
		return err
	}
	box := inbox{UserID: t.UserID}
	if err := tx.NewSelect().Model(&box).WherePK().Scan(ctx); err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	find = tx.NewSelect().Model((*tombstone)(nil)).Column("id").Where("g.user_id = ?", t.UserID).Where("g.seq <= ?", box.ErasedSeq).
		Order("g.seq").Limit(int64(limit - n))
	stones, err := affected(tx.NewDelete().WithQuery(bun.NewWithQuery("x", find).Materialized()).Model((*tombstone)(nil)).
		Where("id IN (SELECT id FROM x)").Exec(ctx))
	if n += int(stones); err != nil || n == limit {
		return err
	}
	end, err := t.window(ctx, tx, "TRUE", box.ErasedSeq, limit-n)
	if err != nil {
		return err
	}
	find = tx.NewSelect().Model((*notification)(nil)).Column("id").Where("n.user_id = ?", t.UserID).Where("n.seq > ?", t.AtSeq).
		Where("n.seq <= ?", end).Order("n.seq").Limit(int64(limit - n)) // first, as in markRead
	rows, err := affected(tx.NewDelete().WithQuery(bun.NewWithQuery("x", find).Materialized()).Model((*notification)(nil)).
		Where("id IN (SELECT id FROM x)").Exec(ctx))
	if err != nil {
		return err
	}
	if n += int(rows); n == 0 { // nothing was deleted, so only the task is locked: the order of locks is kept
		if err := d.endErase(ctx, tx, t.UserID); err != nil {
			return err
		}
		t.UpTo = endsLeft
	}
	t.AtSeq = max(t.AtSeq, end)
	return t.moved(ctx, tx)
}

// eraseLate deletes at most limit rows of falcon_late and falcon_acks that belong to u.
func (d *DB) eraseLate(ctx context.Context, tx bun.Tx, u bridge.UserID, limit int) (n int, err error) {
	for _, table := range []struct {
		model any
		key   string
	}{{(*lateRow)(nil), "ref"}, {(*ack)(nil), "client_id, generation"}} {
		find := tx.NewSelect().Model(table.model).ColumnExpr(table.key).Where("user_id = ?", u).Limit(int64(limit - n))
		gone, err := affected(tx.NewDelete().WithQuery(bun.NewWithQuery("x", find).Materialized()).Model(table.model).
			Where("user_id = ?", u).Where("(?) IN (SELECT * FROM x)", bun.Safe(table.key)).Exec(ctx))
		if n += int(gone); err != nil || n == limit {
			return n, err
		}
	}
	return n, nil
}

// endErase lets u's seqs begin again at 1, or, if something was appended since the erasure
// began, only clears erased_seq.
func (d *DB) endErase(ctx context.Context, tx bun.Tx, u bridge.UserID) error {
	box := inbox{UserID: u}
	err := d.lockRows(tx.NewSelect().Model(&box).WherePK(), "UPDATE").Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	if box.LastSeq > box.ErasedSeq {
		_, err = tx.NewUpdate().Model(&box).Set("erased_seq = 0").WherePK().Exec(ctx)
		return err
	}
	if box.ReviewEnabled && len(box.Kinds) == 0 {
		if _, err = tx.NewDelete().Model((*changed)(nil)).Where("user_id = ?", u).Exec(ctx); err != nil {
			return err
		}
		_, err = tx.NewDelete().Model(&box).WherePK().Exec(ctx)
	} else { // the user changed settings meanwhile, which stay
		_, err = tx.NewUpdate().Model(&box).Set("erased_seq = 0").Set("last_seq = 0").WherePK().Exec(ctx)
	}
	if err != nil {
		return err
	}
	return d.eraseSessions(ctx, tx, u)
}

// endErased orders the end of u's connections and then deletes the task.
func (d *DB) endErased(ctx context.Context, u bridge.UserID) error {
	if err := d.End(ctx, bridge.Order{User: u, Reason: bridge.EndErased}); err != nil {
		return err
	}
	_, err := d.write.NewDelete().Model(&task{Kind: eraseTask, UserID: u}).WherePK().Where("up_to = ?", endsLeft).Exec(ctx)
	return err
}
