package db

import (
	"cmp"
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/falconalert/falconbridge/internal/pgconnect"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
	"github.com/uptrace/bun/migrate"
)

//go:embed migrations
var migrationFiles embed.FS

// migrationTable records which migrations were applied. migrationLock is the advisory lock
// on Postgres that the migrating process holds.
const (
	migrationTable = "falcon_migrations"
	migrationLock  = 0x66616c636f6e // "falcon"
)

// On Postgres, a migration that alters a table waits for transactions that use the table,
// and every later statement that needs the table waits for the migration. An application
// with an idle transaction would therefore stop the appends of all nodes. So a migration
// waits at most migrationLockWait for each lock, and then tries again after a pause of
// migrationPause, in which other statements can run.
const (
	migrationLockWait = "1s"
	migrationPause    = 2 * time.Second
)

// Migration is one step of the schema.
type Migration struct {
	Name      string
	AppliedAt time.Time // zero: pending
}

// Up applies the pending migrations and returns their names. Several nodes may call it at
// once, and a node that is killed leaves no lock behind.
func (d *DB) Up(ctx context.Context) ([]string, error) {
	var names []string
	pending, err := d.pending(ctx)
	if err == nil && pending {
		names, err = d.migrate(ctx, true)
	}
	if err == nil {
		err = d.CheckTables(ctx)
	}
	if err == nil {
		err = d.loadEpoch(ctx)
	}
	return names, migrationError("up", err)
}

// Down reverts the last group of migrations, the newest first, which drops the data in their
// tables, and returns their names in that order.
func (d *DB) Down(ctx context.Context) ([]string, error) {
	names, err := d.migrate(ctx, false)
	return names, migrationError("down", err)
}

// migrationError wraps err. If retrying does not help, the error says what would.
func migrationError(way string, err error) error {
	if why := permanent(err); why != nil {
		err = why
	}
	if err != nil {
		err = fmt.Errorf("migrate %s: %w", way, err)
	}
	return err
}

// Status lists all migrations, oldest first. It changes nothing.
func (d *DB) Status(ctx context.Context) ([]Migration, error) {
	list, err := d.migrations(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]Migration, len(list))
	for i, m := range list {
		out[i] = Migration{Name: m.String(), AppliedAt: m.MigratedAt}
	}
	return out, nil
}

// migrations returns all migrations, oldest first, with the times when they were applied.
func (d *DB) migrations(ctx context.Context) (migrate.MigrationSlice, error) {
	ms, err := discover(d.dialect)
	if err != nil {
		return nil, err
	}
	exists := "SELECT count(*) FROM sqlite_master WHERE name = ?"
	if d.dialect == Postgres {
		exists = "SELECT count(*) FROM pg_class WHERE oid = to_regclass(?)"
	}
	var n int
	if err := d.read.QueryRowContext(ctx, exists, migrationTable).Scan(&n); err != nil {
		return nil, fail("migration status", err)
	}
	list := ms.Sorted()
	if n > 0 {
		if list, err = migrate.NewMigrator(d.read, ms, migrate.WithTableName(migrationTable)).MigrationsWithStatus(ctx); err != nil {
			return nil, fail("migration status", err)
		}
	}
	return list, nil
}

func discover(dialect Dialect) (*migrate.Migrations, error) {
	folder, err := fs.Sub(migrationFiles, "migrations/"+string(dialect))
	if err != nil {
		return nil, err
	}
	ms := migrate.NewMigrations()
	return ms, ms.Discover(folder)
}

// errRaced reports that another process applied the migration between this process's check
// that it was pending and its acquisition of the lock.
var errRaced = errors.New("another process was faster")

func (d *DB) migrate(ctx context.Context, up bool) ([]string, error) {
	ms, err := discover(d.dialect)
	if err != nil {
		return nil, err
	}
	pool, unlock, err := d.migrationPool(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	record := recorder{up: up}
	watch := watchMigration(d.o.Logger, migrationNews)
	defer watch.stop()
	before := watch.before(recheck(up))
	if d.dialect == Postgres {
		before = boundLockWaits(before)
	}
	m := migrate.NewMigrator(pool, ms, migrate.WithTableName(migrationTable), migrate.WithLocksTableName(migrationTable+"_locks"),
		// Bun records a migration before or after it, in a separate transaction: a process
		// that is killed in between leaves a schema that has to be repaired by hand. So
		// the recorder does it in the migration's own transaction, and Bun's record, which
		// follows, changes nothing.
		migrate.WithMarkAppliedOnSuccess(true), migrate.WithUpsert(true),
		migrate.BeforeMigration(before), migrate.AfterMigration(record.record))
	for warned := false; ; {
		if err := m.Init(ctx); err != nil {
			return nil, err
		}
		run := m.Migrate
		if !up {
			run = m.Rollback
		}
		_, err := run(ctx)
		if errors.Is(err, errRaced) && ctx.Err() == nil {
			record.group = 0 // the other process has begun a later one
			continue
		}
		if locked(err) {
			if !warned {
				warned = true
				d.o.Logger.Warn("a migration waits for transactions that use its tables; pg_stat_activity lists them", "component", "db")
			}
			select {
			case <-ctx.Done():
				return nil, err
			case <-time.After(migrationPause):
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		return record.names, nil
	}
}

func applied(ctx context.Context, tx bun.IConn, name string) (bool, error) {
	var n int
	err := tx.QueryRowContext(ctx, "SELECT count(*) FROM "+migrationTable+" WHERE name = ?", name).Scan(&n)
	return n > 0, err
}

// recheck returns a hook that fails with errRaced if, now that the migration has its lock,
// another process turns out to have applied or reverted it.
func recheck(up bool) migrate.MigrationHook {
	return func(ctx context.Context, tx bun.IConn, m *migrate.Migration) error {
		if done, err := applied(ctx, tx, m.Name); err != nil || done != up {
			return err
		}
		return errRaced
	}
}

// boundLockWaits makes a migration wait no longer than migrationLockWait for each lock.
// A migration that is not a transaction builds indexes without blocking anyone, and SET
// LOCAL has no effect in it.
func boundLockWaits(hook migrate.MigrationHook) migrate.MigrationHook {
	return func(ctx context.Context, tx bun.IConn, m *migrate.Migration) error {
		if _, err := tx.ExecContext(ctx, "SET LOCAL lock_timeout = '"+migrationLockWait+"'"); err != nil {
			return err
		}
		return hook(ctx, tx, m)
	}
}

// recorder records in migrationTable, in the migration's own transaction, that a migration was
// applied, or removes the record.
type recorder struct {
	up    bool
	names []string // of the migrations applied or reverted, in that order

	// group is the number of the first attempt. Bun begins a new group for each call. The
	// recorder puts everything that one upgrade applied in several attempts into one group,
	// so that Down reverts all of it.
	group int64
}

func (r *recorder) record(ctx context.Context, tx bun.IConn, m *migrate.Migration) (err error) {
	if r.up {
		r.group = cmp.Or(r.group, m.GroupID)
		m.GroupID = r.group // Bun's own record takes it from here
		_, err = tx.ExecContext(ctx, "INSERT INTO "+migrationTable+" (name, group_id, migrated_at) VALUES (?, ?, current_timestamp)", m.Name, m.GroupID)
	} else {
		_, err = tx.ExecContext(ctx, "DELETE FROM "+migrationTable+" WHERE name = ?", m.Name)
	}
	if name := m.String(); err == nil && !slices.Contains(r.names, name) { // it is, if an earlier attempt did not commit
		r.names = append(r.names, name)
	}
	return err
}

// migrationPool returns connections for migrations and a function to release them. The
// connections have no time limits, as migrating a large table may take long. On Postgres
// one of them holds the advisory lock, which ends with the connection, so that a killed
// process leaves no lock behind. SQLite needs no such lock: each migration begins IMMEDIATE
// and then rechecks whether it is still pending.
func (d *DB) migrationPool(ctx context.Context) (*bun.DB, func(), error) {
	if d.dialect == SQLite {
		return d.write, func() {}, nil
	}
	db := d.withHooks(bun.NewDB(sql.OpenDB(d.server.Connector(pgconnect.Options{ReadTimeout: time.Hour, WriteTimeout: time.Hour})), pgdialect.New()))
	db.SetMaxOpenConns(2) // the lock's and the migration's
	lock, err := db.Conn(ctx)
	if err != nil {
		_ = db.Close()
		return nil, nil, fmt.Errorf("connect: %w", err)
	}
	unlock := func() {
		_ = lock.Close()
		_ = db.Close()
	}
	if err := d.lockMigrations(ctx, lock); err != nil {
		unlock()
		return nil, nil, err
	}
	return db, unlock, nil
}

// lockMigrations acquires the lock for as long as the connection lives. It waits at most
// MigrateWait for another process that holds it.
func (d *DB) lockMigrations(ctx context.Context, conn bun.Conn) error {
	// Queries do not use this context: its deadline would break the connection in the middle
	// of one, and the error would be that of the connection.
	waiting, cancel := context.WithTimeout(ctx, d.o.MigrateWait)
	defer cancel()
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	news := time.NewTicker(migrationNews)
	defer news.Stop()
	var holder int64
	for logged := false; ; {
		var mine bool
		err := conn.QueryRowContext(ctx, "SELECT pg_try_advisory_lock(?0), coalesce((SELECT min(l.pid) FROM pg_locks l WHERE l.locktype = 'advisory' "+
			"AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) "+
			"AND l.classid::bigint = ?0 >> 32 AND l.objid::bigint = ?0 & 4294967295 AND l.granted), 0)", int64(migrationLock)).Scan(&mine, &holder)
		if err != nil {
			return fmt.Errorf("lock the migrations: %w", err)
		}
		if mine {
			return nil
		}
		if !logged {
			logged = true
			d.o.Logger.Info("waiting for another process that is migrating", "component", "db", "backend", holder)
		}
		select {
		case <-waiting.Done():
			return fmt.Errorf("another process (backend %d of the server) has been migrating for longer than --start-timeout; wait for it, or terminate it", holder)
		case <-news.C:
			logged = false
		case <-poll.C:
		}
	}
}

// pending reports whether any migration has to be applied. It takes no lock, so a start
// with nothing to migrate does not wait for other nodes.
func (d *DB) pending(ctx context.Context) (bool, error) {
	all, err := d.Status(ctx)
	return slices.ContainsFunc(all, func(m Migration) bool { return m.AppliedAt.IsZero() }), err
}
