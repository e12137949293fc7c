package db

import (
	"context"
	"database/sql"
	"errors"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/uptrace/bun"
)

// inboxLock is the class of advisory locks of Postgres that whoever makes a
// user's inbox row holds until the commit: an append then never waits for it, see
// falcon_append. sessionLock is that of whoever adds a session to a user.
const (
	inboxLock   = 1702
	sessionLock = 1703
)

// lockUser takes an advisory lock of u until tx ends. SQLite has one writer and
// needs none.
func (d *DB) lockUser(ctx context.Context, tx bun.Tx, u bridge.UserID, class int) error {
	if d.dialect != Postgres {
		return nil
	}
	_, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock(hashtextextended(?, ?))", u, class)
	return err
}

// Settings returns u's settings, the defaults where u never chose.
func (d *DB) Settings(ctx context.Context, u bridge.UserID) (bridge.Settings, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	var in inbox
	err := in.scan(d.row(ctx, inboxQuery, u))
	if errors.Is(err, sql.ErrNoRows) {
		return bridge.DefaultSettings(), nil
	}
	return bridge.Settings{ReviewEnabled: in.ReviewEnabled}, d.fail("read settings", err)
}

// SetSettings stores u's settings. The setting is a column of the inbox row, so
// changing it takes that row's lock: every append is wholly before or after, and
// bears the mark that its place says.
func (d *DB) SetSettings(ctx context.Context, u bridge.UserID, s bridge.Settings) error {
	ctx, cancel := bound(ctx)
	defer cancel()
	n, err := affected(d.write.ExecContext(ctx, "UPDATE falcon_inboxes SET review_enabled = ? WHERE user_id = ?", s.ReviewEnabled, u))
	if err != nil || n > 0 || s == bridge.DefaultSettings() {
		return d.fail("store settings", err)
	}
	return d.fail("store settings", d.inTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		if err := d.lockUser(ctx, tx, u, inboxLock); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "INSERT INTO falcon_inboxes (user_id, review_enabled) VALUES (?, ?) "+
			"ON CONFLICT (user_id) DO UPDATE SET review_enabled = excluded.review_enabled", u, s.ReviewEnabled)
		return err
	}))
}
