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

// PastReport is a report of another application. Its id is kept.
type PastReport struct {
	At string // its location in the source, for errors
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
	ID int64 // in the other application; here it gets a new one
	bridge.Draft
	CreatedAt time.Time
	ReadAt    time.Time // zero: unread
	ExpiresAt time.Time // zero: never
}

// An import stores what another application kept before. Each call is one transaction and
// stores every entry once. The id that an imported entry had in the other application is
// remembered, and the entry is skipped from then on, whatever became of it: read, changed,
// deleted, its user erased. So a call whose response was lost can be repeated. Imports run
// one at a time, see importLock; their other locks are those of an append, in its order.

// importLock is the advisory lock on Postgres that an importing transaction holds. It is
// acquired before every other lock, and only by imports. It cannot meet registerLock, which
// has the same number: that one is the seed of a hash, this one is the key itself.
const importLock = 1705

// ImportReports stores at most MaxImport reports under their own ids, and returns how many
// were new. A report that exists already with the same title and owner is left as it is. If
// an id belongs to another report nothing is stored, and a *bridge.InvalidError names the
// entries.
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
		return checkOwners(fresh, there)
	})
}

// followImported makes the ids that new reports are given greater than last.
func (d *DB) followImported(ctx context.Context, last int64) error {
	ctx, cancel := bound(ctx)
	defer cancel()
	return d.fail("import reports", d.followReports(ctx, last))
}

// checkOwners fails if an id of rs belongs to a stored report with another title or owner.
func checkOwners(rs []PastReport, there []report) error {
	by := make(map[int64]report, len(there))
	for _, r := range there {
		by[r.ID] = r
	}
	var bad bridge.InvalidError
	for _, r := range rs {
		if is := by[r.ID]; is.Title != r.Title || is.UserID != r.User {
			bad.Add(r.At+".id", "already belongs to a report with another title or owner")
		}
	}
	return bad.Err()
}

// ImportSettings stores at most MaxImport settings, one entry per user, and returns how many
// were new.
func (d *DB) ImportSettings(ctx context.Context, ss []PastSettings) (added int, err error) {
	id := func(s PastSettings) string { return string(s.User) }
	return importing(ctx, d, "import settings", "settings", ss, id, func(ctx context.Context, tx bun.Tx, fresh []PastSettings) error {
		var all []bridge.UserID
		by := make(map[bool][]bridge.UserID) // their users, by the setting
		for _, s := range fresh {
			all = append(all, s.User)
			by[s.Settings.ReviewEnabled] = append(by[s.Settings.ReviewEnabled], s.User)
		}
		// Only users who turned reviews off need an inbox. Without one, the default applies.
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

// ImportNotifications appends at most MaxImport notifications in their order, with their own
// times, and returns how many were new. They are stored like muted notifications: listed and
// counted, but not delivered to any device. The user's latest one is the retained message, as
// always.
func (d *DB) ImportNotifications(ctx context.Context, ns []PastNotification) (added int, err error) {
	id := func(n PastNotification) string { return strconv.FormatInt(n.ID, 10) }
	return importing(ctx, d, "import notifications", "notification", ns, id, d.appendImported)
}

// appendImported appends notifications. It assigns seqs, ids and the position in the feed in
// the same way as falcon_append.
func (d *DB) appendImported(ctx context.Context, tx bun.Tx, ns []PastNotification) error {
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
		// All rows get one xid, which must not be lower than that of this transaction or of any
		// earlier row of these users, see feed.go.
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

// touch makes the relay look at users again, because their retained message may have changed
// in a way that the feed does not show. It does nothing if no relay has run lately.
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

// importing runs f, in a transaction, on those of rows that were not imported before, and
// returns how many these are. If there are none, f is not called.
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
