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

// MaxImport is how many entries one call of an import takes: one transaction,
// well within CallLimit.
const MaxImport = 500

// PastReport is a report of another application. Its id is kept.
type PastReport struct {
	At string // where it stands in its source, for errors
	bridge.NewReport
	CreatedAt, UpdatedAt time.Time
}

// PastSettings are a user's settings in another application.
type PastSettings struct {
	User     bridge.UserID
	Settings bridge.Settings
}

// PastNotification is a notification that another application showed its user.
type PastNotification struct {
	ID int64 // there; here it gets another one
	bridge.Draft
	CreatedAt time.Time
	ReadAt    time.Time // zero: unread
	ExpiresAt time.Time // zero: never
}

// An import stores what another application kept before. Each call is one
// transaction, and takes every entry once: what was imported is remembered by its
// id there, and skipped from then on, whatever became of it (read, changed,
// deleted, its user erased). So a call whose answer did not come can be repeated.
// Imports go one at a time (importLock); the other locks are those of an append,
// in its order.

// importLock is the advisory lock of Postgres that an importing transaction
// holds. It is taken before every other lock, and only by imports.
const importLock = 1705

// ImportReports stores reports, at most MaxImport, under their ids, and returns
// how many were new. One that is there already with the same title and owner is
// left as it is. Where an id belongs to another report nothing is stored, and a
// *bridge.InvalidError names the entries.
func (d *DB) ImportReports(ctx context.Context, rs []PastReport) (added int, err error) {
	last := int64(1)
	for _, r := range rs {
		last = max(last, r.ID)
	}
	if err := d.followImported(ctx, last); err != nil {
		return 0, err
	}
	id := func(r PastReport) string { return strconv.FormatInt(r.ID, 10) }
	return importing(ctx, d, "import reports", "report", rs, id, func(ctx context.Context, tx bun.Tx, fresh []PastReport) error {
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
		var there []report
		if err := tx.NewSelect().Model(&there).Where("id IN (?)", bun.List(ids)).Scan(ctx); err != nil {
			return err
		}
		return belonging(fresh, there)
	})
}

// followImported has the ids that reports are given from now on be greater than last.
func (d *DB) followImported(ctx context.Context, last int64) error {
	ctx, cancel := bound(ctx)
	defer cancel()
	return d.fail("import reports", d.followReports(ctx, last))
}

// belonging fails where an id of rs belongs to a report that is not that of rs.
func belonging(rs []PastReport, there []report) error {
	by := make(map[int64]report, len(there))
	for _, r := range there {
		by[r.ID] = r
	}
	var bad bridge.InvalidError
	for _, r := range rs {
		if is := by[r.ID]; is.Title != r.Title || is.UserID != r.User {
			bad.Add(r.At+".id", "belongs to a report with another title or owner already")
		}
	}
	return bad.Err()
}

// ImportSettings stores settings, at most MaxImport, one entry a user, and
// returns how many were new.
func (d *DB) ImportSettings(ctx context.Context, ss []PastSettings) (added int, err error) {
	id := func(s PastSettings) string { return string(s.User) }
	return importing(ctx, d, "import settings", "settings", ss, id, func(ctx context.Context, tx bun.Tx, fresh []PastSettings) error {
		var all []bridge.UserID
		by := make(map[bool][]bridge.UserID) // their users, by the setting
		for _, s := range fresh {
			all = append(all, s.User)
			by[s.Settings.ReviewEnabled] = append(by[s.Settings.ReviewEnabled], s.User)
		}
		// Only who turned reviews off needs an inbox: the others have the default without.
		if err := d.lockInboxes(ctx, tx, all, by[false]); err != nil {
			return err
		}
		for enabled, users := range by {
			if _, err := tx.NewUpdate().Model((*inbox)(nil)).Set("review_enabled = ?", enabled).
				Where("user_id IN (?)", bun.List(users)).Where("review_enabled <> ?", enabled).Exec(ctx); err != nil {
				return err
			}
		}
		return nil
	})
}

// ImportNotifications appends notifications, at most MaxImport, in their order,
// with their own times, and returns how many were new. They are stored like muted
// notifications: listed and counted, but not delivered to any device. The latest is its user's retained message, as always.
func (d *DB) ImportNotifications(ctx context.Context, ns []PastNotification) (added int, err error) {
	id := func(n PastNotification) string { return strconv.FormatInt(n.ID, 10) }
	return importing(ctx, d, "import notifications", "notification", ns, id, d.appendPast)
}

// appendPast appends notifications. Seqs, ids and the feed's order are given as
// falcon_append gives them.
func (d *DB) appendPast(ctx context.Context, tx bun.Tx, ns []PastNotification) error {
	of := growth{}
	for _, n := range ns {
		of.add(n.User, n.ReadAt.IsZero())
	}
	users := slices.Collect(maps.Keys(of))
	if err := d.lockInboxes(ctx, tx, users, users); err != nil {
		return err
	}
	if err := of.grow(ctx, tx); err != nil {
		return err
	}
	rows := make([]notification, len(ns))
	for i := range ns {
		rows[i] = rowOf(&ns[i].Draft, of.next(ns[i].User))
		rows[i].CreatedAt, rows[i].By = millis(ns[i].CreatedAt), bridge.ByImport
		if !ns[i].ExpiresAt.IsZero() {
			rows[i].ExpiresAt = millis(ns[i].ExpiresAt)
		}
		if !ns[i].ReadAt.IsZero() {
			rows[i].ReadAt = millis(ns[i].ReadAt)
		}
		of.mute(&rows[i])
		rows[i].Muted = true
	}
	if err := of.countHidden(ctx, tx); err != nil {
		return err
	}
	insert := tx.NewInsert().Model(&rows).Returning("NULL")
	if d.dialect == Postgres {
		// One xid for all: at least this transaction's and those of the users' rows before.
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

// touch has a relay look at users: what the feed does not show may still be a new
// retained message.
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

// importing runs f in a transaction on those of rows that were not imported
// before, and returns how many these are; not at all where there is none.
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
