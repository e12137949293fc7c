package db

import (
	"context"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/uptrace/bun"
)

// Erase removes everything of u in one transaction: reports, notifications,
// sessions, the idempotency keys u called with, and the inbox row with the
// settings. What is appended to u afterwards begins again at seq 1.
//
// Three things stay on purpose. Revocations of u's tokens, which would be good
// again otherwise. For at most bridge.KeyTTL, other callers' idempotency keys,
// whose answers name u's id, and the ids that an import brought: without them a
// repeated request or import would bring back what was erased.
//
// Locks are taken in the order of the log: reports by id, the inbox row, then
// keys; the lock of new sessions comes last, so that no session outlives u with a
// cursor that would stand in the future of the seqs that begin again.
func (d *DB) Erase(ctx context.Context, u bridge.UserID) error {
	ctx, cancel := bound(ctx)
	defer cancel()
	return d.fail("erase a user", d.inTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		if err := d.lockAll(ctx, tx, u); err != nil {
			return err
		}
		for _, q := range []*bun.DeleteQuery{
			tx.NewDelete().Model((*report)(nil)).Where("user_id = ?", u),
			tx.NewDelete().Model((*key)(nil)).Where("caller = ?", u),
			tx.NewDelete().Model((*session)(nil)).Where("user_id = ?", u),
			tx.NewDelete().Model((*notification)(nil)).Where("user_id = ?", u),
			tx.NewDelete().Model((*inbox)(nil)).Where("user_id = ?", u),
		} {
			if _, err := q.Exec(ctx); err != nil {
				return err
			}
		}
		return nil
	}))
}

// lockAll takes the locks of Erase, in the order it states; SQLite has one for
// all. A user without an inbox row is locked against one being made meanwhile,
// whose rows would otherwise stay behind without it.
func (d *DB) lockAll(ctx context.Context, tx bun.Tx, u bridge.UserID) error {
	if d.dialect != Postgres {
		return nil
	}
	lock := func(model any, column string) (int64, error) {
		return affected(tx.NewSelect().Model(model).Column(column).Where("user_id = ?", u).Order(column).For("UPDATE").Exec(ctx))
	}
	if _, err := lock((*report)(nil), "id"); err != nil {
		return err
	}
	n, err := lock((*inbox)(nil), "user_id")
	if err == nil && n == 0 {
		if err = d.lockUser(ctx, tx, u, inboxLock); err == nil {
			_, err = lock((*inbox)(nil), "user_id")
		}
	}
	if err != nil {
		return err
	}
	if err := d.lockUser(ctx, tx, u, sessionLock); err != nil {
		return err
	}
	_, err = lock((*session)(nil), "client_id")
	return err
}
