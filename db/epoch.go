package db

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/uptrace/bun"
)

// epoch is what this process knows of the life of the log, see
// docs/decisions/0002-epoch.md.
//
// falcon_meta keeps the epoch, a tick that every look raises in a committed
// transaction, and the mark: what identifies the database's own life. The log
// went back to an earlier point where a tick comes that is no higher than one
// this process saw committed in the same epoch (or on SQLite the file beside the
// database remembers), and where the mark is another one.
type epoch struct {
	mu   sync.RWMutex
	name string // "" until the schema is there
	tick int64
	wake chan struct{} // look at once
	once sync.Once
}

func (e *epoch) awake() chan struct{} {
	e.once.Do(func() { e.wake = make(chan struct{}, 1) })
	return e.wake
}

// look has Run look at once: a connection broke, and what answers next may be
// another server.
func (e *epoch) look() {
	select {
	case e.awake() <- struct{}{}:
	default:
	}
}

// Epoch names the life of the log: it changes when the database was restored to
// an earlier point. It answers from memory; "" before the schema was migrated.
func (d *DB) Epoch() string {
	d.epoch.mu.RLock()
	defer d.epoch.mu.RUnlock()
	return d.epoch.name
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

// loadEpoch reads the epoch at the start; without a schema there is none yet.
func (d *DB) loadEpoch(ctx context.Context) error {
	exists := "SELECT count(*) FROM sqlite_master WHERE name = 'falcon_meta'"
	if d.dialect == Postgres {
		exists = "SELECT count(*) FROM pg_class WHERE oid = to_regclass('falcon_meta')"
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

// leaveEpoch leaves the last state beside a SQLite file.
func (d *DB) leaveEpoch() {
	if d.dialect != SQLite || d.Epoch() == "" {
		return
	}
	if err := d.checkEpoch(context.Background(), false); err != nil {
		d.o.Logger.Warn("the epoch file was not brought up to date", "component", "db", "error", err)
	}
}

// life is what falcon_meta says of the epoch, after the tick was raised.
type life struct {
	epoch, mark string
	tick        int64
}

// checkEpoch raises the tick and begins a new epoch where the log went back.
func (d *DB) checkEpoch(ctx context.Context, start bool) error {
	ctx, cancel := bound(ctx)
	defer cancel()
	mark, err := d.mark(ctx)
	if err != nil {
		return d.fail("look at the epoch", err)
	}
	var beside *sidecar
	if d.dialect == SQLite {
		if beside, err = readSidecar(d.path); err != nil {
			return fmt.Errorf("read the epoch file: %w", err)
		}
	}
	var m life
	var last int64
	var reason string
	err = d.inTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		var err error
		if m, err = readMeta(ctx, tx); err != nil {
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
		case d.dialect == SQLite && start && beside.ahead(m, last):
			reason = "earlier than its epoch file"
		default:
			return nil
		}
		m.epoch, m.mark = newEpoch(), mark
		return d.beginEpoch(ctx, tx, m)
	})
	if err != nil {
		return d.fail("look at the epoch", err)
	}
	if reason != "" && reason != "new" {
		d.o.Logger.Warn("the database was restored to an earlier point: a new epoch begins", "component", "db", "reason", reason, "epoch", m.epoch)
	}
	d.epoch.mu.Lock()
	if m.epoch != d.epoch.name || m.tick > d.epoch.tick {
		d.epoch.name, d.epoch.tick = m.epoch, m.tick
	}
	d.epoch.mu.Unlock()
	if d.dialect == SQLite {
		if err := writeSidecar(d.path, sidecar{Epoch: m.epoch, Tick: m.tick, Last: last}); err != nil {
			return fmt.Errorf("write the epoch file: %w", err)
		}
	}
	return nil
}

// wentBack tells whether this process saw a later tick of the same epoch.
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

func newEpoch() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails, see crypto/rand
	return hex.EncodeToString(b[:])
}

// generationLeap is more generations than a life of the log uses: after a
// restore every new connection must come after all that live.
const generationLeap = 1 << 32

// beginEpoch stores m and makes what the log's former life left behind safe: no
// cursor stands in the future, no live connection moves one (generation 0
// matches none), and no feed position hides a row.
func (d *DB) beginEpoch(ctx context.Context, tx bun.Tx, m life) error {
	leap := "UPDATE falcon_meta SET value = CAST(CAST(value AS bigint) + ?0 AS text) WHERE key = 'generation'"
	least := "min"
	if d.dialect == Postgres {
		leap = "SELECT setval('falcon_generation', nextval('falcon_generation') + ?0)"
		least = "least"
	}
	last := "coalesce((SELECT i.last_seq FROM falcon_inboxes i WHERE i.user_id = falcon_sessions.user_id), 0)"
	steps := []struct {
		query string
		args  []any
	}{
		{"INSERT INTO falcon_meta (key, value) VALUES ('epoch', ?), ('mark', ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
			[]any{m.epoch, m.mark}},
		{"UPDATE falcon_sessions SET generation = 0, node = '', sent_seq = -1, " +
			"expires_at = CASE WHEN expires_at > 0 THEN expires_at ELSE ?0 + expiry_ms END, " +
			"acked_seq = " + least + "(acked_seq, " + last + "), from_seq = " + least + "(from_seq, " + last + ")", []any{nowMillis()}},
		{leap, []any{generationLeap}},
	}
	if d.dialect == Postgres {
		// A dump restored into another cluster brings transaction ids that this
		// one has not reached: the feed would not show those rows for long.
		next := "pg_snapshot_xmax(pg_current_snapshot())"
		steps = append([]struct {
			query string
			args  []any
		}{{"SET LOCAL statement_timeout = 0", nil},
			{"UPDATE falcon_notifications SET xid = '3' WHERE xid >= " + next, nil},
			{"UPDATE falcon_inboxes SET last_xid = '3' WHERE last_xid >= " + next, nil}}, steps...)
	}
	for _, s := range steps {
		if _, err := tx.ExecContext(ctx, s.query, s.args...); err != nil {
			return err
		}
	}
	return nil
}

// mark identifies the database's own life. On Postgres: the cluster, its
// timeline (a recovery to a point in time or a promoted standby begins another),
// the database and the table (a dump read back makes them anew). What the role
// may not ask is left out.
func (d *DB) mark(ctx context.Context) (string, error) {
	if d.dialect != Postgres {
		return "sqlite", nil
	}
	var mark string
	const table = "(SELECT oid::text FROM pg_database WHERE datname = current_database()) || '/' || 'falcon_notifications'::regclass::oid"
	const line = "substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)"
	var err error
	for _, q := range []string{
		"SELECT (SELECT system_identifier FROM pg_control_system()) || '/' || " + line + " || '/' || " + table,
		"SELECT " + line + " || '/' || " + table,
		"SELECT " + table,
	} {
		err = d.read.QueryRowContext(ctx, q).Scan(&mark)
		if err == nil || classify(err) != fault || !forbidden(err) {
			return mark, err
		}
	}
	return mark, err
}

// forbidden tells whether the role may not call a function, or the server has
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
