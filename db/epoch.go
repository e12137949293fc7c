package db

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/uptrace/bun"
)

// epoch is what this process knows of the current epoch. When a database is restored
// from a backup, its log goes back to an earlier point, and seqs that devices have
// already seen are used again for other notifications. A new epoch tells them apart; see
// docs/decisions/0002-epoch.md.
//
// falcon_meta stores the name of the epoch, a tick that every check raises in a
// committed transaction, and a mark that identifies this very database. A check concludes
// that the log went back
//
//   - if the tick is not higher than a tick of the same epoch that this process has seen
//     committed,
//   - if it is not higher than the tick in the epoch file next to a SQLite database, or
//   - if the mark has changed.
type epoch struct {
	mu   sync.RWMutex
	name string // "" until the schema exists
	tick int64
	edge position      // where the epoch began: rows below it were appended earlier
	last guard         // recognizes the database of the last check
	wake chan struct{} // asks for a check, see checkSoon
	once sync.Once
}

// wakeC returns the channel that asks for a check. Its buffer has room for one request,
// which is enough, because one check serves all of them.
func (e *epoch) wakeC() chan struct{} {
	e.once.Do(func() { e.wake = make(chan struct{}, 1) })
	return e.wake
}

// checkSoon makes Run check the epoch without waiting for the next interval. It is called
// when a connection broke, because the next one may reach another server.
func (e *epoch) checkSoon() {
	select {
	case e.wakeC() <- struct{}{}:
	default:
	}
}

// Epoch returns the name of the current epoch, which changes when the database is
// restored to an earlier point. It is read from memory, and "" before the first
// migration.
func (d *DB) Epoch() string {
	d.epoch.mu.RLock()
	defer d.epoch.mu.RUnlock()
	return d.epoch.name
}

// began returns the epoch's name, and the position where it began.
func (e *epoch) began() (name string, edge position) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.name, e.edge
}

// watchEpoch checks the epoch every EpochEvery, and at once after a connection broke.
// After a failed check it retries more often.
func (d *DB) watchEpoch(ctx context.Context) error {
	t := time.NewTicker(d.o.EpochEvery)
	defer t.Stop()
	retry := time.NewTicker(min(d.o.EpochEvery, 500*time.Millisecond))
	defer retry.Stop()
	failing := false
	for {
		if err := d.checkEpoch(ctx, false); err == nil {
			failing = false
		} else if ctx.Err() == nil {
			if !failing {
				d.o.Logger.Warn("the epoch cannot be checked", "component", "db", "error", err)
			}
			failing = true
		}
		for wait := true; wait; {
			select {
			case <-ctx.Done():
				return nil
			case <-t.C:
				wait = false
			case <-retry.C:
				wait = !failing
			case <-d.epoch.wakeC():
				wait = false
			}
		}
	}
}

// loadEpoch reads the epoch at the start. There is none yet if the schema is missing or is
// that of an earlier version, which loadEpoch recognizes by the newest of the tables that a
// check reads. Up calls loadEpoch again after the migrations.
func (d *DB) loadEpoch(ctx context.Context) error {
	exists := "SELECT count(*) FROM sqlite_master WHERE name = 'falcon_epochs'"
	if d.dialect == Postgres {
		exists = "SELECT count(*) FROM pg_class WHERE oid = to_regclass('falcon_epochs')"
	}
	var n int
	if err := d.read.QueryRowContext(ctx, exists).Scan(&n); err != nil {
		return d.fail("read the epoch", err)
	}
	if n == 0 {
		return nil
	}
	return d.checkEpoch(ctx, d.Epoch() == "")
}

// closeEpoch brings the epoch file next to a SQLite database up to date.
func (d *DB) closeEpoch() {
	if d.dialect != SQLite || d.Epoch() == "" {
		return
	}
	if err := d.checkEpoch(context.Background(), false); err != nil {
		d.o.Logger.Warn("the epoch file was not brought up to date", "component", "db", "error", err)
	}
}

// epochState is what falcon_meta says about the epoch, after the tick was raised.
type epochState struct {
	epoch, mark string
	tick        int64
	edge        position
}

// checkEpoch raises the tick, and begins a new epoch if the log went back to an earlier
// point. With start, a SQLite database is also compared with its epoch file.
func (d *DB) checkEpoch(ctx context.Context, start bool) error {
	ctx, cancel := bound(ctx)
	defer cancel()
	mark, current, last, err := d.mark(ctx)
	if err != nil {
		return d.fail("check the epoch", err)
	}
	var file *sidecar
	if d.dialect == SQLite {
		if file, err = readSidecar(d.path); err != nil {
			return fmt.Errorf("read the epoch file: %w", err)
		}
	}
	var m epochState
	var reason string
	err = d.inTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		var err error
		if m, err = readMeta(ctx, tx); err != nil {
			return err
		}
		if m.edge, err = d.readEdge(ctx, tx); err != nil {
			return err
		}
		if d.dialect == SQLite {
			if last, err = lastID(ctx, tx); err != nil {
				return err
			}
		}
		switch {
		case m.epoch == "":
			reason = "new"
		case m.mark != mark:
			reason = "another database or timeline"
		case d.wentBack(m):
			reason = "earlier than seen"
		case d.dialect == SQLite && start && file.ahead(m, last):
			reason = "earlier than its epoch file"
		default:
			return nil
		}
		m.epoch, m.mark = newEpoch(), mark
		if err := d.beginEpoch(ctx, tx, m, last); err != nil {
			return err
		}
		m.edge, err = d.readEdge(ctx, tx)
		return err
	})
	if err != nil {
		return d.fail("check the epoch", err)
	}
	if reason != "" && reason != "new" {
		d.o.Logger.Warn("the database was restored to an earlier point: a new epoch begins", "component", "db", "reason", reason, "epoch", m.epoch)
	}
	d.epoch.mu.Lock()
	d.epoch.last = current
	if m.epoch != d.epoch.name || m.tick > d.epoch.tick {
		d.epoch.name, d.epoch.tick, d.epoch.edge = m.epoch, m.tick, m.edge
	}
	d.epoch.mu.Unlock()
	if d.dialect == SQLite {
		if err := writeSidecar(d.path, sidecar{Epoch: m.epoch, Tick: m.tick, Last: last}); err != nil {
			return fmt.Errorf("write the epoch file: %w", err)
		}
	}
	return nil
}

// wentBack reports whether this process has seen a later tick of the same epoch.
func (d *DB) wentBack(m epochState) bool {
	d.epoch.mu.RLock()
	defer d.epoch.mu.RUnlock()
	return m.epoch == d.epoch.name && m.tick <= d.epoch.tick
}

// readMeta raises the tick and then reads the rest. Raising it locks the row, so
// processes check one after the other.
func readMeta(ctx context.Context, tx bun.Tx) (m epochState, err error) {
	if err := tx.NewInsert().Model(&meta{Key: "tick", Value: "1"}).On("CONFLICT (key) DO UPDATE").
		Set("value = CAST(CAST(m.value AS bigint) + 1 AS text)").Returning("value").Scan(ctx, &m.tick); err != nil {
		return m, err
	}
	var rows []meta
	err = tx.NewSelect().Model(&rows).Where("key IN ('epoch', 'mark')").Scan(ctx)
	for _, row := range rows {
		if row.Key == "epoch" {
			m.epoch = row.Value
		} else {
			m.mark = row.Value
		}
	}
	return m, err
}

// readEdge reads where the current epoch began in the feed's order. In a log that was never
// restored, it is the zero position.
func (d *DB) readEdge(ctx context.Context, tx bun.Tx) (p position, err error) {
	q := tx.NewSelect().TableExpr("falcon_epochs AS e").Order("e.number DESC").Limit(1)
	if d.dialect == Postgres {
		err = q.ColumnExpr("e.next_xid").Scan(ctx, &p.xid)
	} else {
		err = q.ColumnExpr("e.last_id").Scan(ctx, &p.id)
	}
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return p, err
}

// generationFloor returns the highest generation of the former epochs, or 0 if there are
// none, as generations begin at 1.
func (d *DB) generationFloor(ctx context.Context, tx bun.Tx) (floor int64, err error) {
	err = tx.NewSelect().TableExpr("falcon_epochs AS e").Column("generation").Order("number DESC").Limit(1).Scan(ctx, &floor)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return floor, err
}

func newEpoch() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never returns an error, see crypto/rand
	return hex.EncodeToString(b[:])
}

// generationLeap is more generations than one epoch uses. The restored database does not
// know the generations that were assigned since its backup, yet every new connection must
// have a higher generation than all connections that are still open.
const generationLeap = 1 << 32

// beginEpoch stores m and where the former epochs end. Sessions, notifications and
// positions are not rewritten. Their readers compare them with that end, so the work of
// beginEpoch does not grow with the data. Only the beat of each node is set to now, so that
// sessions which were open in the former epoch expire as if their connections had ended
// now. last is the highest notification id of the former epochs, read before tx got its
// xid.
func (d *DB) beginEpoch(ctx context.Context, tx bun.Tx, m epochState, last int64) error {
	for _, s := range []struct {
		query string
		args  []any
	}{
		{"INSERT INTO falcon_meta (key, value) VALUES ('epoch', ?), ('mark', ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
			[]any{m.epoch, m.mark}},
		{"UPDATE falcon_nodes SET beat_at = ?", []any{nowMillis()}},
	} {
		if _, err := tx.ExecContext(ctx, s.query, s.args...); err != nil {
			return err
		}
	}
	leap := "UPDATE falcon_meta SET value = CAST(CAST(value AS bigint) + ? AS text) WHERE key = 'generation' RETURNING CAST(value AS bigint)"
	insert := "INSERT INTO falcon_epochs (name, generation, last_id, begun_at) VALUES (?, ?, ?, ?)"
	if d.dialect == Postgres {
		leap = "SELECT setval('falcon_generation', nextval('falcon_generation') + ?)"
		insert = insertEpochPostgres
	}
	var generation int64
	if err := tx.QueryRowContext(ctx, leap, generationLeap).Scan(&generation); err != nil {
		return err
	}
	d.generations.discard(generation)
	_, err := tx.ExecContext(ctx, insert, m.epoch, generation, last, nowMillis())
	return err
}

// insertEpochPostgres stores the xid of its own transaction as next_xid. Every row of the
// former epochs has a lower xid, because a transaction that drew an id up to last_id had
// its xid by then, and this transaction got its own later. The xmax of a snapshot would be
// wrong: it lies just above the last transaction that has ended, and a transaction that is
// still running may have a higher xid.
const insertEpochPostgres = "INSERT INTO falcon_epochs (name, generation, last_id, begun_at, next_xid) " +
	"VALUES (?, ?, ?, ?, pg_current_xact_id())"

// SQL for the highest id ever given to a notification, whether or not the row still
// exists. On Postgres a restore may leave the sequence behind the ids in its table, so the
// greater of the two is used.
const (
	lastIDSQLite   = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'falcon_notifications'"
	lastIDPostgres = "greatest(coalesce(pg_sequence_last_value(pg_get_serial_sequence('falcon_notifications', 'id')::regclass), 0), " +
		"(SELECT coalesce(max(id), 0) FROM falcon_notifications))"
)

// mark returns what identifies this very database. On Postgres these are the cluster,
// its timeline (a recovery to a point in time and the promotion of a standby begin a new
// one), and the oids of the database and the table (restoring a dump creates new ones).
// What the role has no privilege to read is left out.
//
// last is the highest id ever given to a notification. On SQLite mark returns 0 for it:
// with one writer, it can be read in the transaction that follows.
func (d *DB) mark(ctx context.Context) (mark string, current guard, last int64, err error) {
	if d.dialect != Postgres {
		return "sqlite", guard{}, 0, nil
	}
	const table = "(SELECT oid::text FROM pg_database WHERE datname = current_database()) || '/' || 'falcon_notifications'::regclass::oid"
	const line = "substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) || '/' || " + table
	for _, q := range []struct{ cluster, rest string }{
		{"(SELECT system_identifier FROM pg_control_system()) || '/'", line},
		{"''", line},
		{"''", table},
	} {
		err = d.read.QueryRowContext(ctx, "SELECT "+q.cluster+", "+q.rest+", "+lastIDPostgres).Scan(&mark, &current.is, &last)
		if err == nil {
			current.query = q.rest
			mark += current.is
			break
		}
		if classify(err) != fault || !forbidden(err) {
			break
		}
	}
	return mark, current, last, err
}

// guard recognizes, within a statement, the database of the last check. If the database
// was restored since, query no longer returns is. query is that of the mark, but without
// the cluster's identifier, because the function that returns it reads a file at each call.
type guard struct{ query, is string }

// errRestored refuses a write that was meant for the log before a restore.
var errRestored = fmt.Errorf("the database was restored, and its epoch is checked first: %w", bridge.ErrUnavailable)

// notRestored returns a condition, with its arguments, for statements that must not run if the
// database was restored since the last check.
func (e *epoch) notRestored() (condition string, args []any) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.last.query == "" {
		return "TRUE", nil
	}
	return e.last.query + " = ?", []any{e.last.is}
}

// forbidden reports whether err says that the role may not call a function, or that the
// server has no such function.
func forbidden(err error) bool {
	var e interface{ Field(byte) string }
	if !errors.As(err, &e) {
		return false
	}
	switch e.Field('C') {
	case "42501", "42883", "0A000":
		return true
	}
	return false
}
