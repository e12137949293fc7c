package db

import (
	"context"
	"database/sql"
	"errors"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/uptrace/bun"
)

// Settings returns u's settings, the defaults where u never chose.
func (d *DB) Settings(ctx context.Context, u bridge.UserID) (bridge.Settings, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	in := inbox{UserID: u}
	err := d.read.NewSelect().Model(&in).WherePK().Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return bridge.DefaultSettings(), nil
	}
	return bridge.Settings{ReviewEnabled: in.ReviewEnabled}, d.fail("read settings", err)
}

// SetSettings stores u's settings. The setting is a column of the inbox row, so
// changing it takes that row's lock: every append is wholly before or after, and
// its row is muted or not accordingly.
func (d *DB) SetSettings(ctx context.Context, u bridge.UserID, s bridge.Settings) error {
	ctx, cancel := bound(ctx)
	defer cancel()
	in := inbox{UserID: u, ReviewEnabled: s.ReviewEnabled}
	n, err := affected(d.write.NewUpdate().Model(&in).Column("review_enabled").WherePK().Exec(ctx))
	if err != nil || n > 0 || s == bridge.DefaultSettings() {
		return d.fail("store settings", err)
	}
	return d.fail("store settings", d.inTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		if err := d.lockUser(ctx, tx, u, inboxLock); err != nil {
			return err
		}
		_, err := tx.NewInsert().Model(&in).Column("user_id", "review_enabled").On("CONFLICT (user_id) DO UPDATE").Exec(ctx)
		return err
	}))
}
