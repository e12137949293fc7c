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
		for _, from := range []string{
			"DELETE FROM falcon_reports WHERE user_id = ?",
			"DELETE FROM falcon_keys WHERE caller = ?",
			"DELETE FROM falcon_sessions WHERE user_id = ?",
			"DELETE FROM falcon_notifications WHERE user_id = ?",
			"DELETE FROM falcon_inboxes WHERE user_id = ?",
		} {
			if _, err := tx.ExecContext(ctx, from, u); err != nil {
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
	if _, err := tx.ExecContext(ctx, "SELECT id FROM falcon_reports WHERE user_id = ? ORDER BY id FOR UPDATE", u); err != nil {
		return err
	}
	const lockInbox = "SELECT user_id FROM falcon_inboxes WHERE user_id = ? FOR UPDATE"
	n, err := affected(tx.ExecContext(ctx, lockInbox, u))
	if err == nil && n == 0 {
		if err = d.lockUser(ctx, tx, u, inboxLock); err == nil {
			_, err = tx.ExecContext(ctx, lockInbox, u)
		}
	}
	if err != nil {
		return err
	}
	if err := d.lockUser(ctx, tx, u, sessionLock); err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "SELECT client_id FROM falcon_sessions WHERE user_id = ? ORDER BY client_id FOR UPDATE", u)
	return err
}
