package db

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/uptrace/bun"
)

// MaxImport is how many entries one call of an import accepts. They are stored in one
// transaction, well within CallLimit.
const MaxImport = 500

// ImportedReport is a report of another application. Its id is kept.
type ImportedReport struct {
	At string // its location in the source, for errors
	bridge.NewReport
	CreatedAt, UpdatedAt time.Time
}

// ImportedSettings are a user's settings in another application.
type ImportedSettings struct {
	User     bridge.UserID
	Settings bridge.Settings
}

// ImportedNotification is a notification that another application showed its user.
type ImportedNotification struct {
	ID int64 // in the other application; the imported notification gets a new id
	bridge.Draft
	CreatedAt time.Time
	ReadAt    time.Time // zero: unread
	ExpiresAt time.Time // zero: never
}

// An import stores what another application kept before. Each call is one transaction and
// stores every entry once. It records the id that an entry had in the other application,
// and later calls skip the entry even if it was changed or deleted meanwhile or its user
// was erased. A call whose response was lost can therefore be repeated. Imports run one at
// a time, see importLock. Otherwise they acquire the same locks as an append, in the same
// order.

// importLock is the advisory lock on Postgres that an importing transaction holds. It is
// acquired before every other lock, and only by imports. registerLock has the same number,
// but does not conflict: it is the seed of a hash, and importLock is itself the key.
const importLock = 1705

// ImportReports stores at most MaxImport reports under their own ids, and returns how many
// were new. A report that exists already with the same title and owner is left as it is. If
// an id belongs to another report nothing is stored, and a *bridge.InvalidError names the
// entries.
func (d *DB) ImportReports(ctx context.Context, reports []ImportedReport) (added int, err error) {
	last := int64(1)
	for _, r := range reports {
		last = max(last, r.ID)
	}
	if err := d.followImported(ctx, last); err != nil {
		return 0, err
	}
	id := func(r ImportedReport) string { return strconv.FormatInt(r.ID, 10) }
	return importing(ctx, d, "import reports", "report", reports, id, func(ctx context.Context, tx bun.Tx, fresh []ImportedReport) error {
		rows := make([]report, len(fresh))
		ids := make([]int64, len(fresh))
		for i, r := range fresh {
			ids[i] = r.ID
			rows[i] = report{ID: r.ID, UserID: r.User, Title: r.Title, StatusID: r.Status,
				CreatedAt: millis(r.CreatedAt), UpdatedAt: millis(r.UpdatedAt)}
		}
		if _, err := tx.NewInsert().Model(&rows).On("CONFLICT (id) DO NOTHING").Returning("NULL").Exec(ctx); err != nil {
			return err
		}
		var stored []report
		if err := tx.NewSelect().Model(&stored).Where("id IN (?)", bun.List(ids)).Scan(ctx); err != nil {
			return err
		}
		return checkOwners(fresh, stored)
	})
}

// followImported makes sure that new reports get ids greater than last.
func (d *DB) followImported(ctx context.Context, last int64) error {
	ctx, cancel := bound(ctx)
	defer cancel()
	return d.fail("import reports", d.followReports(ctx, last))
}

// checkOwners fails if the id of a report belongs to a stored one with another title or
// owner.
func checkOwners(reports []ImportedReport, stored []report) error {
	byID := make(map[int64]report, len(stored))
	for _, r := range stored {
		byID[r.ID] = r
	}
	var bad bridge.InvalidError
	for _, r := range reports {
		if s := byID[r.ID]; s.Title != r.Title || s.UserID != r.User {
			bad.Add(r.At+".id", "already belongs to a report with another title or owner")
		}
	}
	return bad.Err()
}

// ImportSettings stores at most MaxImport settings, one entry per user, and returns how many
// were new.
func (d *DB) ImportSettings(ctx context.Context, settings []ImportedSettings) (added int, err error) {
	id := func(s ImportedSettings) string { return string(s.User) }
	return importing(ctx, d, "import settings", "settings", settings, id, func(ctx context.Context, tx bun.Tx, fresh []ImportedSettings) error {
		var all []bridge.UserID
		byEnabled := make(map[bool][]bridge.UserID) // users by their ReviewEnabled
		for _, s := range fresh {
			all = append(all, s.User)
			byEnabled[s.Settings.ReviewEnabled] = append(byEnabled[s.Settings.ReviewEnabled], s.User)
		}
		// Only users who turned reviews off need an inbox. Without one, the default applies.
		if err := d.lockInboxes(ctx, tx, all, byEnabled[false]); err != nil {
			return err
		}
		for enabled, users := range byEnabled {
			if _, err := tx.NewUpdate().Model((*inbox)(nil)).Set("review_enabled = ?", enabled).
				Where("user_id IN (?)", bun.List(users)).Where("review_enabled <> ?", enabled).Exec(ctx); err != nil {
				return err
			}
		}
		return nil
	})
}

// ImportNotifications appends at most MaxImport notifications in their order, with their own
// times, and returns how many were new. Imported notifications are listed and counted, but
// like muted ones they are not delivered to any device. A user's latest notification is the
// retained message even if it was imported.
func (d *DB) ImportNotifications(ctx context.Context, notifications []ImportedNotification) (added int, err error) {
	id := func(n ImportedNotification) string { return strconv.FormatInt(n.ID, 10) }
	return importing(ctx, d, "import notifications", "notification", notifications, id, d.appendImported)
}

// appendImported appends notifications. It assigns seqs, ids and the position in the feed in
// the same way as falcon_append.
func (d *DB) appendImported(ctx context.Context, tx bun.Tx, notifications []ImportedNotification) error {
	grown := growth{}
	for _, n := range notifications {
		grown.add(n.User, n.ReadAt.IsZero())
	}
	users := slices.Collect(maps.Keys(grown))
	if err := d.lockInboxes(ctx, tx, users, users); err != nil {
		return err
	}
	if err := grown.grow(ctx, tx); err != nil {
		return err
	}
	rows := make([]notification, len(notifications))
	for i := range notifications {
		n := &notifications[i]
		rows[i] = rowOf(&n.Draft, grown.next(n.User))
		rows[i].CreatedAt, rows[i].By = millis(n.CreatedAt), bridge.ByImport
		if !n.ExpiresAt.IsZero() {
			rows[i].ExpiresAt = millis(n.ExpiresAt)
		}
		if !n.ReadAt.IsZero() {
			rows[i].ReadAt = millis(n.ReadAt)
		}
		grown.mute(&rows[i])
		rows[i].Muted = true
	}
	if err := grown.countHidden(ctx, tx); err != nil {
		return err
	}
	insert := tx.NewInsert().Model(&rows).Returning("NULL")
	if d.dialect == Postgres {
		// All rows get the same xid. It must not be lower than the xid of this transaction or
		// of any earlier row of these users, see feed.go.
		var xid string
		if err := tx.NewRaw("UPDATE falcon_inboxes SET last_xid = greatest(pg_current_xact_id(), (SELECT max(falcon_own_xid(i.last_xid)) FROM falcon_inboxes AS i "+
			"WHERE i.user_id IN (?0))) WHERE user_id IN (?0) RETURNING last_xid::text", bun.List(users)).Scan(ctx, &xid); err != nil {
			return err
		}
		insert.Value("xid", "?", xid)
	}
	if _, err := insert.Exec(ctx); err != nil {
		return err
	}
	if err := d.supersede(ctx, tx, rows); err != nil {
		return err
	}
	return d.touch(ctx, tx, users)
}

// touch makes the relay read the retained messages of users again, which may have changed
// in a way that the feed does not show. It does nothing if no relay has run for relayLife.
func (d *DB) touch(ctx context.Context, tx bun.Tx, users []bridge.UserID) error {
	relays, err := tx.NewSelect().Model((*relay)(nil)).Where("id = 1").Where("held_until > ? - ?", d.clock(), relayLife.Milliseconds()).Exists(ctx)
	if err != nil || !relays {
		return err
	}
	rows := make([]touched, len(users))
	for i, u := range users {
		rows[i].UserID = u
	}
	_, err = tx.NewInsert().Model(&rows).Returning("NULL").Exec(ctx)
	return err
}

// importing calls f, in a transaction, with the rows that were not imported before, and
// returns their number. If there are none, f is not called.
func importing[R any](ctx context.Context, d *DB, op, kind string, rows []R, id func(R) string,
	f func(ctx context.Context, tx bun.Tx, fresh []R) error) (added int, err error) {
	if len(rows) > MaxImport {
		return 0, fmt.Errorf("%s: at most %d at once, not %d", op, MaxImport, len(rows))
	}
	if len(rows) == 0 {
		return 0, nil
	}
	ctx, cancel := bound(ctx)
	defer cancel()
	err = d.inTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		if d.dialect == Postgres {
			if _, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock(?)", importLock); err != nil {
				return err
			}
		}
		marks := make([]imported, len(rows))
		for i, r := range rows {
			marks[i] = imported{Kind: kind, ID: id(r), At: nowMillis()}
		}
		var unknown []string
		if err := tx.NewInsert().Model(&marks).On("CONFLICT DO NOTHING").Returning("id").Scan(ctx, &unknown); err != nil {
			return err
		}
		var fresh []R
		for _, r := range rows {
			if i := slices.Index(unknown, id(r)); i >= 0 {
				unknown = slices.Delete(unknown, i, i+1) // an id that comes twice counts once
				fresh = append(fresh, r)
			}
		}
		if added = len(fresh); added == 0 {
			return nil
		}
		return f(ctx, tx, fresh)
	})
	return added, d.fail(op, err)
}
