package db

import (
	"context"
	"database/sql"
	"errors"
	"maps"
	"math"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/uptrace/bun"
)

// Settings returns u's settings, or the defaults if u has none.
func (d *DB) Settings(ctx context.Context, u bridge.UserID) (bridge.Settings, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	box := inbox{UserID: u, ReviewEnabled: true}
	err := d.read.NewSelect().Model(&box).WherePK().Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return box.settings(), d.fail("read settings", err)
}

func (i *inbox) settings() bridge.Settings {
	return bridge.Settings{ReviewEnabled: i.ReviewEnabled, Kinds: i.Kinds}
}

// ChangeSettings implements bridge.History. The settings are columns of the inbox row, so
// changing them needs the lock of that row. Every append therefore happens either before or
// after the change, and is muted accordingly. Existing rows are hidden or shown by a task,
// or in the same transaction if one step is enough.
func (d *DB) ChangeSettings(ctx context.Context, u bridge.UserID, c bridge.SettingsChange) (s bridge.Settings, done bool, err error) {
	done = true
	err = d.changeSettings(ctx, u, c, &s, &done)
	if err != nil || done {
		return s, done, d.fail("store settings", err)
	}
	return s, d.runTask(ctx, hideTask, u, progress{}).done, nil
}

func (d *DB) changeSettings(ctx context.Context, u bridge.UserID, c bridge.SettingsChange, s *bridge.Settings, done *bool) error {
	ctx, cancel := bound(ctx)
	defer cancel()
	return d.inTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		if len(c.Kinds) > 0 { // begun here, because the lock of a task comes before that of the inbox
			if err := d.beginTask(ctx, tx, hideTask, u, math.MaxInt64); err != nil {
				return err
			}
		}
		box := inbox{UserID: u, ReviewEnabled: true}
		err := d.lockRows(tx.NewSelect().Model(&box).WherePK(), "NO KEY UPDATE").Scan(ctx)
		if errors.Is(err, sql.ErrNoRows) {
			err = d.makeInbox(ctx, tx, &box, c)
		}
		if err != nil {
			return err
		}
		former := box.settings()
		if *s, err = c.Apply(former); err != nil {
			return err
		}
		kinds := !maps.Equal(former.Kinds, s.Kinds)
		if kinds || former.ReviewEnabled != s.ReviewEnabled {
			box.ReviewEnabled, box.Kinds = s.ReviewEnabled, s.Kinds
			if _, err := tx.NewUpdate().Model(&box).Column("review_enabled", "kinds").WherePK().Exec(ctx); err != nil {
				return err
			}
			if err := d.change(ctx, tx, &box, stateChange{refetch: true}); err != nil {
				return err
			}
		}
		if *done = !kinds || box.Total <= int64(d.stepRows); !*done || len(c.Kinds) == 0 {
			return nil
		}
		if err := d.hide(ctx, tx, &box, box.ErasedSeq, box.LastSeq, d.stepRows); err != nil {
			return err
		}
		_, err = tx.NewDelete().Model(&task{Kind: hideTask, UserID: u}).ModelTableExpr(tableOf(hideTask)).WherePK().Exec(ctx)
		return err
	})
}

// makeInbox makes and locks the inbox of a user who has none, unless c leaves the settings at
// their defaults.
func (d *DB) makeInbox(ctx context.Context, tx bun.Tx, box *inbox, c bridge.SettingsChange) error {
	s, err := c.Apply(box.settings())
	if err != nil || s.ReviewEnabled && len(s.Kinds) == 0 {
		return err
	}
	u := []bridge.UserID{box.UserID}
	if err := d.lockInboxes(ctx, tx, u, u); err != nil {
		return err
	}
	return tx.NewSelect().Model(box).WherePK().Scan(ctx) // another transaction may have made it meanwhile
}
