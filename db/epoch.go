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

// epoch is this process's view of the life of the log, see
// docs/decisions/0002-epoch.md.
//
// falcon_meta keeps the epoch, a tick that every look raises in a committed
// transaction, and the mark: what identifies the database's own life. The log
// went back to an earlier point where a tick comes that is no higher than one
// this process saw committed in the same epoch (or that the epoch file next to a SQLite
// database has), or where the mark is another one.
type epoch struct {
	mu   sync.RWMutex
	name string // "" until the schema is there
	tick int64
	edge position      // what lies below was appended before this epoch
	here guard         // recognizes the database that was looked at
	wake chan struct{} // look at once
	once sync.Once
}

func (e *epoch) awake() chan struct{} {
	e.once.Do(func() { e.wake = make(chan struct{}, 1) })
	return e.wake
}

// look makes Run check now: a connection broke, and the next one may reach another server.
func (e *epoch) look() {
	select {
	case e.awake() <- struct{}{}:
	default:
	}
}

// Epoch names the life of the log: it changes when the database was restored to
// an earlier point. It is read from memory, and "" before the schema was migrated.
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

// watchEpoch looks every EpochEvery, and at once after a broken connection.
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
				d.o.Logger.Warn("the epoch cannot be looked at", "component", "db", "error", err)
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
			case <-d.epoch.awake():
				wait = false
			}
		}
	}
}

// loadEpoch reads the epoch at the start. There is none yet without a schema, nor with
// that of an earlier version: the migrations, which come next, load it again. It asks
// for the table that came last of those that a look reads.
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

// leaveEpoch writes the last state next to a SQLite file.
func (d *DB) leaveEpoch() {
	if d.dialect != SQLite || d.Epoch() == "" {
		return
	}
	if err := d.checkEpoch(context.Background(), false); err != nil {
		d.o.Logger.Warn("the epoch file was not brought up to date", "component", "db", "error", err)
	}
}

// life is the epoch in falcon_meta, after the tick was raised.
type life struct {
	epoch, mark string
	tick        int64
	edge        position
}

// checkEpoch raises the tick and begins a new epoch where the log went back.
func (d *DB) checkEpoch(ctx context.Context, start bool) error {
	ctx, cancel := bound(ctx)
	defer cancel()
	mark, here, last, err := d.mark(ctx)
	if err != nil {
		return d.fail("look at the epoch", err)
	}
	var file *sidecar
	if d.dialect == SQLite {
		if file, err = readSidecar(d.path); err != nil {
			return fmt.Errorf("read the epoch file: %w", err)
		}
	}
	var m life
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
		return d.fail("look at the epoch", err)
	}
	if reason != "" && reason != "new" {
		d.o.Logger.Warn("the database was restored to an earlier point: a new epoch begins", "component", "db", "reason", reason, "epoch", m.epoch)
	}
	d.epoch.mu.Lock()
	d.epoch.here = here
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

// wentBack reports whether this process saw a later tick of the same epoch.
func (d *DB) wentBack(m life) bool {
	d.epoch.mu.RLock()
	defer d.epoch.mu.RUnlock()
	return m.epoch == d.epoch.name && m.tick <= d.epoch.tick
}

// readMeta raises the tick, which also makes processes look one after the other,
// and reads the rest.
func readMeta(ctx context.Context, tx bun.Tx) (m life, err error) {
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

// readEdge reads where the current epoch began in the order over all users. A log that
// was never restored has none.
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

// generationFloor is the highest generation of the former epochs; 0 where there are
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
	_, _ = rand.Read(b[:]) // never fails, see crypto/rand
	return hex.EncodeToString(b[:])
}

// generationLeap is more generations than a life of the log uses: after a
// restore every new connection must come after all that live.
const generationLeap = 1 << 32

// beginEpoch stores m and where the former epochs end: everything that sessions,
// notifications and positions say is read against that, so the work does not grow
// with the data. A row of falcon_nodes is all that is touched of a node: sessions
// that were open in the former epoch expire as if their connections ended now. last is
// the highest id of the former epochs, read before tx got its xid.
func (d *DB) beginEpoch(ctx context.Context, tx bun.Tx, m life, last int64) error {
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
	d.generations.leave(generation)
	_, err := tx.ExecContext(ctx, insert, m.epoch, generation, last, nowMillis())
	return err
}

// insertEpochPostgres has the xid of its own transaction as next_xid. Whoever drew an
// id up to last_id had an xid by then, and this transaction got its own later, so
// theirs are lower. The end of a snapshot would not do: it lies behind the last
// transaction that has ended, and one that still runs may have a higher xid.
const insertEpochPostgres = "INSERT INTO falcon_epochs (name, generation, last_id, begun_at, next_xid) " +
	"VALUES (?, ?, ?, ?, pg_current_xact_id())"

// The highest id that was given to a notification, whether or not it is still there.
// A sequence that was left behind its table by a restore does not count.
const (
	lastIDSQLite   = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'falcon_notifications'"
	lastIDPostgres = "greatest(coalesce(pg_sequence_last_value(pg_get_serial_sequence('falcon_notifications', 'id')::regclass), 0), " +
		"(SELECT coalesce(max(id), 0) FROM falcon_notifications))"
)

// mark identifies the database's own life. On Postgres: the cluster, its
// timeline (a recovery to a point in time or a promoted standby begins another),
// the database and the table (restoring a dump creates new ones). What the role may not
// read is left out. last is the highest id that was given to a notification; on
// SQLite it is read in the transaction, as there is one writer.
func (d *DB) mark(ctx context.Context) (mark string, here guard, last int64, err error) {
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
		err = d.read.QueryRowContext(ctx, "SELECT "+q.cluster+", "+q.rest+", "+lastIDPostgres).Scan(&mark, &here.is, &last)
		if err == nil {
			here.query = q.rest
			mark += here.is
			break
		}
		if classify(err) != fault || !forbidden(err) {
			break
		}
	}
	return mark, here, last, err
}

// guard recognizes the database of the last look within a statement: where the
// database was restored since, query is no longer what it was. Of the mark it leaves out
// the cluster, which takes reading a file.
type guard struct{ query, is string }

// errRestored refuses a write that was meant for a former life of the log.
var errRestored = fmt.Errorf("the database was restored, and is looked at first: %w", bridge.ErrUnavailable)

// same is the condition of a statement that must not run on another life of the log
// than the last look found, and its arguments.
func (e *epoch) same() (condition string, args []any) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.here.query == "" {
		return "TRUE", nil
	}
	return e.here.query + " = ?", []any{e.here.is}
}

// forbidden reports whether the role may not call a function, or the server has
// none of that name.
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
