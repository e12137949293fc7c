package db

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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

// PastSettings are what a user chose in another application.
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
}

// An import stores what another application kept before. Each call is one
// transaction, and takes every entry once: what was imported is remembered by its
// id there, and skipped from then on, whatever became of it (read, changed,
// deleted, its user erased). So a call whose answer did not come can be repeated.
// Imports go one at a time (importLock); the other locks are those of an append,
// in its order.

// importLock is the advisory lock of Postgres that an importing transaction
// holds. It is taken before every other, and by nobody else.
const importLock = 1705

// ImportReports stores reports, at most MaxImport, under their ids, and returns
// how many were new. One that is there already with the same title and owner is
// left as it is. Where an id belongs to another report nothing is stored, and a
// *bridge.InvalidError names the entries.
func (d *DB) ImportReports(ctx context.Context, rs []PastReport) (added int, err error) {
	entries := make([]entry, len(rs))
	var last int64
	for i, r := range rs {
		entries[i] = entry{Order: i, ID: strconv.FormatInt(r.ID, 10), Report: r.ID, User: string(r.User), Title: r.Title,
			Status: r.Status, Created: millis(r.CreatedAt), Updated: millis(r.UpdatedAt)}
		last = max(last, r.ID)
	}
	if err := d.followImported(ctx, last); err != nil {
		return 0, err
	}
	err = d.importing(ctx, "import reports", "report", entries, func(ctx context.Context, tx bun.Tx, fresh []entry) error {
		added = len(fresh)
		rows, err := encodeEntries(fresh)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "INSERT INTO falcon_reports (id, user_id, title, status_id, created_at, updated_at) "+
			"SELECT e.report_id, e.user_id, e.title, e.status_id, e.created_at, e.updated_at FROM "+d.entries()+
			" WHERE true ORDER BY e.o ON CONFLICT (id) DO NOTHING", rows); err != nil {
			return err
		}
		return d.foreign(ctx, tx, rs, rows)
	})
	return added, err
}

// followImported has the ids that reports are given from now on be greater than last.
func (d *DB) followImported(ctx context.Context, last int64) error {
	ctx, cancel := bound(ctx)
	defer cancel()
	return d.fail("import reports", d.followReports(ctx, max(last, 1)))
}

// foreign fails where an id of rs belongs to a report that is not that of rs.
func (d *DB) foreign(ctx context.Context, tx bun.Tx, rs []PastReport, entries string) error {
	rows, err := tx.QueryContext(ctx, "SELECT e.o FROM "+d.entries()+" JOIN falcon_reports r ON r.id = e.report_id "+
		"WHERE r.title <> e.title OR r.user_id <> e.user_id ORDER BY e.o", entries)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	var bad bridge.InvalidError
	for rows.Next() {
		var i int
		if err := rows.Scan(&i); err != nil {
			return err
		}
		bad.Add(rs[i].At+".id", "belongs to a report with another title or owner already")
	}
	return errors.Join(rows.Err(), bad.Err())
}

// ImportSettings stores settings, at most MaxImport, one entry a user, and
// returns how many were new.
func (d *DB) ImportSettings(ctx context.Context, ss []PastSettings) (added int, err error) {
	entries := make([]entry, len(ss))
	for i, s := range ss {
		entries[i] = entry{Order: i, ID: string(s.User), User: string(s.User), Enabled: s.Settings.ReviewEnabled}
	}
	err = d.importing(ctx, "import settings", "settings", entries, func(ctx context.Context, tx bun.Tx, fresh []entry) error {
		added = len(fresh)
		var need []entry // the others have the default without an inbox
		for _, e := range fresh {
			if !e.Enabled {
				need = append(need, e)
			}
		}
		rows, err := d.lockInboxes(ctx, tx, fresh, need)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "UPDATE falcon_inboxes AS i SET review_enabled = e.enabled FROM "+d.entries()+
			" WHERE i.user_id = e.user_id AND i.review_enabled <> e.enabled", rows)
		return err
	})
	return added, err
}

// ImportNotifications appends notifications, at most MaxImport, in their order,
// with the times they bear, and returns how many were new. They are the past:
// stored as muted ones are, so they are listed and counted, but no device gets
// them as news. The latest is its user's retained message, as always.
func (d *DB) ImportNotifications(ctx context.Context, ns []PastNotification) (added int, err error) {
	entries := make([]entry, len(ns))
	for i, n := range ns {
		entries[i] = entry{Order: i, ID: strconv.FormatInt(n.ID, 10), Report: n.ReportID, User: string(n.User), Kind: kindOf(&n.Draft),
			Title: n.Title, Message: n.Message, Status: n.StatusID, Created: millis(n.CreatedAt), Data: string(n.Data)}
		if !n.ReadAt.IsZero() {
			entries[i].Read = millis(n.ReadAt)
		}
	}
	err = d.importing(ctx, "import notifications", "notification", entries, func(ctx context.Context, tx bun.Tx, fresh []entry) error {
		added = len(fresh)
		rows, err := d.lockInboxes(ctx, tx, fresh, fresh)
		if err != nil {
			return err
		}
		return d.appendPast(ctx, tx, rows)
	})
	return added, err
}

// appendPast appends entries whose inboxes tx holds. Seqs, ids and the feed's
// order are given as falcon_append gives them.
func (d *DB) appendPast(ctx context.Context, tx bun.Tx, entries string) error {
	column, xid, grow := "", "", ""
	if d.dialect == Postgres {
		column, xid = ", xid", ", greatest(i.last_xid, pg_current_xact_id())"
		grow = ", last_xid = greatest(i.last_xid, pg_current_xact_id())"
	}
	for _, query := range []string{
		"INSERT INTO falcon_notifications (user_id, seq, kind, title, message, created_at, read_at, report_id, status_id, data, muted" + column + ") " +
			"SELECT e.user_id, i.last_seq + row_number() OVER (PARTITION BY e.user_id ORDER BY e.o), e.kind, e.title, e.message, " +
			"e.created_at, e.read_at, e.report_id, e.status_id, e.data, true" + xid + " FROM " + d.entries() +
			" JOIN falcon_inboxes i ON i.user_id = e.user_id ORDER BY e.o",
		"UPDATE falcon_inboxes AS i SET last_seq = i.last_seq + s.n, total = i.total + s.n, unread = i.unread + s.unread" + grow +
			" FROM (SELECT e.user_id, count(*) AS n, count(*) FILTER (WHERE e.read_at = 0) AS unread FROM " + d.entries() +
			" GROUP BY e.user_id) s WHERE i.user_id = s.user_id",
		// What the feed does not show may still be a new retained message for the relay.
		"INSERT INTO falcon_touched (user_id) SELECT DISTINCT e.user_id FROM " + d.entries() + " WHERE EXISTS " +
			"(SELECT 1 FROM falcon_relay r WHERE r.held_until > " + d.clock() + " - " + strconv.FormatInt(relayLife.Milliseconds(), 10) + ")",
	} {
		if _, err := tx.ExecContext(ctx, query, entries); err != nil {
			return err
		}
	}
	return nil
}

// entry is what an import hands to the database, as a row of a JSON array.
type entry struct {
	Order   int           `json:"o"`
	ID      string        `json:"id"` // in the other application
	User    string        `json:"user_id"`
	Kind    bridge.Kind   `json:"kind"`
	Title   string        `json:"title"`
	Message string        `json:"message"`
	Created int64         `json:"created_at"`
	Updated int64         `json:"updated_at"`
	Read    int64         `json:"read_at"`
	Report  int64         `json:"report_id"`
	Status  bridge.Status `json:"status_id"`
	Data    string        `json:"data"`
	Enabled bool          `json:"enabled"`
}

func encodeEntries(es []entry) (string, error) {
	b, err := json.Marshal(es)
	return string(b), err
}

// entries is a table e of the rows in a JSON array, which is its one argument.
func (d *DB) entries() string {
	if d.dialect == Postgres {
		return "json_to_recordset(?::json) AS e(o int, id text, user_id text, kind text, title text, message text, created_at bigint, " +
			"updated_at bigint, read_at bigint, report_id bigint, status_id smallint, data text, enabled boolean)"
	}
	columns := ""
	for _, c := range []string{"o", "id", "user_id", "kind", "title", "message", "created_at", "updated_at", "read_at", "report_id", "status_id", "data", "enabled"} {
		columns += ", value->>'" + c + "' AS " + c
	}
	return "(SELECT " + columns[2:] + " FROM json_each(?)) AS e"
}

// importing runs f in a transaction on those entries that were not imported
// before, and not at all where there is none.
func (d *DB) importing(ctx context.Context, op, kind string, es []entry, f func(ctx context.Context, tx bun.Tx, fresh []entry) error) error {
	if len(es) > MaxImport {
		return fmt.Errorf("%s: at most %d at once, not %d", op, MaxImport, len(es))
	}
	ctx, cancel := bound(ctx)
	defer cancel()
	return d.fail(op, d.inTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		if d.dialect == Postgres {
			if _, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock(?)", importLock); err != nil {
				return err
			}
		}
		fresh, err := d.markImported(ctx, tx, kind, es)
		if err != nil || len(fresh) == 0 {
			return err
		}
		return f(ctx, tx, fresh)
	}))
}

// markImported remembers es, and returns those it did not know.
func (d *DB) markImported(ctx context.Context, tx bun.Tx, kind string, es []entry) (fresh []entry, err error) {
	entries, err := encodeEntries(es)
	if err != nil {
		return nil, err
	}
	rows, err := tx.QueryContext(ctx, "INSERT INTO falcon_imports (kind, id, at) SELECT ?, e.id, ? FROM "+d.entries()+
		" WHERE true ON CONFLICT DO NOTHING RETURNING id", kind, nowMillis(), entries)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	marked := make(map[string]bool, len(es))
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		marked[id] = true
	}
	for _, e := range es {
		if marked[e.ID] {
			marked[e.ID] = false // an id that comes twice counts once
			fresh = append(fresh, e)
		}
	}
	return fresh, rows.Err()
}

// lockInboxes takes the locks of all inbox rows of es, after making those that
// need lacks, and returns es for use in a statement. SQLite has one lock, which tx
// holds.
func (d *DB) lockInboxes(ctx context.Context, tx bun.Tx, es, need []entry) (rows string, err error) {
	lack, err := encodeEntries(need)
	if err != nil {
		return "", err
	}
	if rows, err = encodeEntries(es); err != nil {
		return "", err
	}
	lock := "SELECT i.user_id FROM falcon_inboxes i WHERE i.user_id IN (SELECT e.user_id FROM " + d.entries() + ") ORDER BY i.user_id" + d.forUpdate()
	missing := "(SELECT DISTINCT e.user_id FROM " + d.entries() +
		" WHERE NOT EXISTS (SELECT 1 FROM falcon_inboxes i WHERE i.user_id = e.user_id) ORDER BY e.user_id) AS m"
	if d.dialect == Postgres {
		if _, err := tx.ExecContext(ctx, lock, rows); err != nil {
			return "", err
		}
		if _, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock(hashtextextended(m.user_id, ?)) FROM "+missing, inboxLock, lack); err != nil {
			return "", err
		}
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO falcon_inboxes (user_id) SELECT m.user_id FROM "+missing+
		" WHERE true ON CONFLICT DO NOTHING", lack)
	if err == nil && d.dialect == Postgres {
		_, err = tx.ExecContext(ctx, lock, rows) // with those that another transaction made meanwhile
	}
	return rows, err
}
