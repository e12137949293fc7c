package db

import (
	"database/sql"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/internal/testserver"
	"github.com/uptrace/bun/driver/pgdriver"
	"github.com/uptrace/bun/migrate"
)

func TestMigrationsGoUpDownAndUpAgain(t *testing.T) {
	each(t, func(t *testing.T, d *DB) {
		ctx := testContext(t)
		status, err := d.Status(ctx)
		if err != nil || len(status) == 0 || status[0].AppliedAt.IsZero() {
			t.Fatalf("status after up: %v, %v", status, err)
		}
		if again, err := d.Up(ctx); err != nil || len(again) != 0 {
			t.Fatalf("a second up applied %v, %v", again, err)
		}
		if down, err := d.Down(ctx); err != nil || len(down) != len(status) {
			t.Fatalf("down reverted %v, %v", down, err)
		}
		left := "SELECT count(*) FROM sqlite_master WHERE name LIKE 'falcon_%' AND name NOT LIKE 'falcon_migration%'"
		if d.dialect == Postgres {
			left = "SELECT (SELECT count(*) FROM pg_class WHERE relname LIKE 'falcon_%' AND relname NOT LIKE 'falcon_migration%') + (SELECT count(*) FROM pg_proc WHERE proname LIKE 'falcon_%')"
		}
		if n := number(t, d, left); n != 0 {
			t.Errorf("down left %d objects", n)
		}
		if status, err = d.Status(ctx); err != nil || !status[0].AppliedAt.IsZero() {
			t.Errorf("status after down: %v, %v", status, err)
		}
		if up, err := d.Up(ctx); err != nil || len(up) != len(status) {
			t.Errorf("up after down applied %v, %v", up, err)
		}
	})
}

func TestNodesThatMigrateConcurrentlyApplyTheMigrationsOnce(t *testing.T) {
	for name, url := range map[string]string{
		"SQLite":   filepath.Join(t.TempDir(), "falcon.db"),
		"Postgres": testserver.Postgres(t),
	} {
		t.Run(name, func(t *testing.T) {
			ctx := testContext(t)
			var wg sync.WaitGroup
			errs := make([]error, 4)
			applied := make([][]string, 4)
			for i := range errs {
				wg.Go(func() {
					d, err := Open(ctx, Options{URL: url, Logger: quiet})
					if err != nil {
						errs[i] = err
						return
					}
					applied[i], err = d.Up(ctx)
					errs[i] = errors.Join(err, d.Close())
				})
			}
			wg.Wait()
			if err := errors.Join(errs...); err != nil {
				t.Fatal(err)
			}
			all, err := discover(Dialect(strings.ToLower(name)))
			must(t, err)
			var want []string
			for _, m := range all.Sorted() {
				want = append(want, m.String())
			}
			if got := slices.Sorted(slices.Values(slices.Concat(applied...))); !slices.Equal(got, want) {
				t.Errorf("the nodes applied %v, want each migration once: %v", applied, want)
			}
		})
	}
}

// An upgrade starts with the schema of any former version, which Open must be able to read
// before the migrations run.
func TestEveryFormerSchemaCanBeUpgraded(t *testing.T) {
	for dialect, url := range map[Dialect]func() string{
		SQLite:   func() string { return filepath.Join(t.TempDir(), "falcon.db") },
		Postgres: func() string { return testserver.Postgres(t) },
	} {
		all, err := discover(dialect)
		must(t, err)
		for n, last := range all.Sorted() {
			t.Run(string(dialect)+" from "+last.String(), func(t *testing.T) {
				ctx, url := testContext(t), url()
				makeFormerSchema(t, url, all.Sorted()[:n+1])
				d := openTest(t, Options{URL: url})
				if d.Epoch() == "" {
					t.Error("the database has no epoch")
				}
				mustAppend(t, d, one("u", "t"))
				if n+1 == len(all.Sorted()) {
					return
				}
				if down, err := d.Down(ctx); err != nil || len(down) != len(all.Sorted())-n-1 {
					t.Fatalf("down reverted %v, %v, want the migrations of the upgrade", down, err)
				}
				if _, err := d.Up(ctx); err != nil {
					t.Fatalf("the upgrade after down: %v", err)
				}
				mustAppend(t, d, one("u", "t"))
				if got := seqs(t, d, "u"); len(got) != 2 && n > 0 {
					t.Errorf("the log has %v, want both notifications", got)
				}
			})
		}
	}
}

// makeFormerSchema applies only the first migrations, as a former release would have.
func makeFormerSchema(t *testing.T, url string, first migrate.MigrationSlice) {
	t.Helper()
	ctx := testContext(t)
	former := migrate.NewMigrations()
	for _, m := range first {
		former.Add(m)
	}
	d, err := Open(ctx, Options{URL: url, Logger: quiet})
	must(t, err)
	m := migrate.NewMigrator(d.write, former, migrate.WithTableName(migrationTable), migrate.WithMarkAppliedOnSuccess(true))
	must(t, m.Init(ctx))
	_, err = m.Migrate(ctx)
	must(t, err)
	closeNow(t, d)
}

// An application keeps a transaction open that has read notifications, while the first node
// of an upgrade alters their table. The migration has to wait for the application, but must
// not make everybody else who needs the table wait for the migration.
func TestAMigrationThatWaitsForATransactionBlocksNobodyElse(t *testing.T) {
	ctx, url := testContext(t), testserver.Postgres(t)
	all, err := discover(Postgres)
	must(t, err)
	alters := slices.IndexFunc(all.Sorted(), func(m migrate.Migration) bool { return m.Comment == "tombstones" })
	former := alters - 1 // one migration is applied before the one that waits
	makeFormerSchema(t, url, all.Sorted()[:former])

	var log logged
	d, err := Open(ctx, Options{URL: url, Logger: log.logger()})
	must(t, err)
	defer closeNow(t, d)
	other := sql.OpenDB(pgdriver.NewConnector(pgdriver.WithDSN(url)))
	defer func() { _ = other.Close() }()
	app, err := other.BeginTx(ctx, nil)
	must(t, err)
	defer func() { _ = app.Rollback() }()
	const read = "SELECT count(*) FROM falcon_notifications"
	var n int
	must(t, app.QueryRowContext(ctx, read).Scan(&n))

	done := make(chan error, 1)
	var up []string
	go func() { up, err = d.Up(ctx); done <- err }()
	testserver.Eventually(t, 30*time.Second, func() error {
		if log.count("a migration waits") == 0 {
			return errors.New("the wait is not logged")
		}
		return nil
	})
	must(t, d.read.QueryRowContext(ctx, read).Scan(&n))
	select {
	case err := <-done:
		t.Fatalf("the migration did not wait for the transaction: %v", err)
	default:
	}
	must(t, app.Commit())
	must(t, <-done)
	mustAppend(t, d, one("u", "t"))

	// Several attempts were one upgrade, which is reported and reverted whole.
	down, err := d.Down(ctx)
	must(t, err)
	slices.Reverse(down)
	if want := len(all.Sorted()) - former; len(up) != want || !slices.Equal(up, down) {
		t.Errorf("up applied %v, then down reverted %v, want the same %d", up, down, want)
	}
}
