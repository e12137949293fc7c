package db

import (
	"context"
	"database/sql"
	"io"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/internal/pgconnect"
	"github.com/falconalert/falconbridge/internal/testserver"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
)

// The tests check that a call ends by itself, not how soon, since the machine may be busy
// with the tests of other packages. They get a longer limit than callers do.
func init() { callLimit = 6 * time.Second }

func TestTheCallLimitLeavesTimeToAnswerWithin2s(t *testing.T) {
	if CallLimit > 1900*time.Millisecond {
		t.Errorf("a call may take %v", CallLimit)
	}
}

// each runs f as a subtest on SQLite and on Postgres, which must behave alike.
func each(t *testing.T, f func(t *testing.T, d *DB)) {
	t.Helper()
	t.Run("SQLite", func(t *testing.T) { f(t, openTest(t, Options{URL: filepath.Join(t.TempDir(), "falcon.db")})) })
	t.Run("Postgres", func(t *testing.T) { f(t, openTest(t, Options{URL: testserver.Postgres(t)})) })
}

// quiet discards the log lines that tests provoke on purpose.
var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// openTest opens and migrates a database and closes it when the test ends.
func openTest(t testing.TB, o Options) *DB {
	t.Helper()
	o.Logger = quiet
	ctx := testContext(t)
	d, err := Open(ctx, o)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	if _, err := d.Up(ctx); err != nil {
		t.Fatalf("migrate: %v", err)
	}
	return d
}

// testContext returns a context that ends after a minute, by when every test should be
// done.
func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// number runs a query that returns one integer.
func number(t testing.TB, d *DB, query string, args ...any) int64 {
	t.Helper()
	var n int64
	if err := d.write.QueryRowContext(testContext(t), query, args...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

// exec runs one statement without a time limit. On Postgres it uses a separate connection,
// since those of d do not wait for a response for longer than a call may take.
func exec(t testing.TB, d *DB, query string, args ...any) {
	t.Helper()
	db := d.write
	if d.dialect == Postgres {
		db = bun.NewDB(sql.OpenDB(d.server.Connector(pgconnect.Options{ReadTimeout: time.Minute, WriteTimeout: time.Minute})), pgdialect.New())
		defer func() { _ = db.Close() }()
	}
	err := db.RunInTx(testContext(t), nil, func(ctx context.Context, tx bun.Tx) error {
		if d.dialect == Postgres {
			if _, err := tx.ExecContext(ctx, "SET LOCAL statement_timeout = 0"); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, query, args...)
		return err
	})
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}
