package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/db"
	"github.com/falconalert/falconbridge/internal/config"
	"github.com/falconalert/falconbridge/internal/tracing"
)

// OpenDatabase opens the configured database. The database may be starting at the same time
// as this program, so OpenDatabase waits up to --start-timeout until it responds. bus says
// that the connection limit must leave room for a bus on Postgres. t records the statements
// of traced calls; it may be nil.
func OpenDatabase(ctx context.Context, c *config.Config, bus bool, t *tracing.Tracing, log *slog.Logger) (*db.DB, error) {
	o := db.Options{URL: c.DatabaseURL, Bus: bus, Logger: log, MaxConns: c.DBMaxConnections, MigrateWait: c.StartTimeout}
	if t != nil {
		o.Hooks = append(o.Hooks, db.Traced(t.Provider()))
	}
	if o.URL == "" {
		o.URL = c.SQLiteFile()
		if err := MakeDataDir(c.DataDir, log); err != nil {
			return nil, err
		}
	}
	setting := c.Database()
	ctx, cancel := context.WithTimeout(ctx, max(c.StartTimeout, time.Second))
	defer cancel()
	for wait := 250 * time.Millisecond; ; wait = min(2*wait, 4*time.Second) {
		d, err := db.Open(ctx, o)
		if err == nil {
			return d, nil
		}
		if !errors.Is(err, bridge.ErrUnavailable) {
			return nil, fmt.Errorf("%s: %w", setting, err)
		}
		log.Warn("the database does not respond, trying again", "error", err, "in", wait)
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%s: %w; start the database, or wait longer with --start-timeout", setting, err)
		case <-time.After(wait):
		}
	}
}

// MakeDataDir creates the data directory with mode 0700. An existing directory keeps its
// mode, since other programs may use it too; instead, a database in it is made private.
func MakeDataDir(dir string, log *slog.Logger) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("--data-dir (FALCON_DATA_DIR): create the directory: %w; name one that this user can write to", err)
	}
	if info, err := os.Stat(dir); err == nil && info.Mode().Perm()&0o077 != 0 {
		log.Warn("the data dir is open to other users; close it with chmod 700", "data-dir", dir)
	}
	for _, suffix := range []string{"", "-wal", "-shm"} {
		name := filepath.Join(dir, config.DatabaseFile+suffix)
		info, err := os.Stat(name)
		if err != nil || info.Mode().Perm()&0o077 == 0 {
			continue // a missing file will be created with mode 0600
		}
		if err := os.Chmod(name, 0o600); err != nil {
			return fmt.Errorf("--data-dir (FALCON_DATA_DIR): close the database to other users: %w", err)
		}
	}
	return nil
}

// Migrate applies pending migrations. With auto off it fails if there are any.
func Migrate(ctx context.Context, d *db.DB, auto bool, log *slog.Logger) error {
	if auto {
		names, err := d.Up(ctx)
		if err == nil && len(names) > 0 {
			log.Info("migrated the schema", "applied", len(names))
		}
		return err
	}
	pending, err := pendingMigrations(ctx, d)
	if err != nil {
		return err
	}
	if pending > 0 {
		return fmt.Errorf("--auto-migrate (FALCON_AUTO_MIGRATE): is off, and %d migrations are pending; run: falconbridge migrate up", pending)
	}
	return d.CheckTables(ctx)
}

func pendingMigrations(ctx context.Context, d *db.DB) (int, error) {
	all, err := d.Status(ctx)
	n := 0
	for _, m := range all {
		if m.AppliedAt.IsZero() {
			n++
		}
	}
	return n, err
}

// errLocked says that another process holds the lock.
var errLocked = errors.New("it is locked")

// LockDatabase makes sure that no second server uses the same SQLite file. The two would not
// wake each other's devices, and each would take the other's commits for a restore. If
// another server has the lock, LockDatabase fails, and its error advises remedy.
//
// The lock is the kernel's, on an empty file next to the database. It ends with the process,
// even a killed one, while the file stays. Closing the returned file releases it.
//
// Short commands such as migrate and import rely on SQLite's own locks and do not take this
// one.
func LockDatabase(c *config.Config, remedy string) (*os.File, error) {
	name, setting := c.SQLiteFile(), c.Database()
	if c.DatabaseURL == "" {
		if err := os.MkdirAll(c.DataDir, 0o700); err != nil {
			return nil, fmt.Errorf("%s: create the directory: %w; name one that this user can write to", setting, err)
		}
	}
	f, err := os.OpenFile(name+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("%s: lock the database: %w; its directory must exist, and this user must be able to write to it", setting, err)
	}
	if err := lockFile(f); err != nil {
		_ = f.Close()
		if errors.Is(err, errLocked) {
			return nil, fmt.Errorf("%s: another server is using %s; %s", setting, name, remedy)
		}
		return nil, fmt.Errorf("%s: lock the database: %w", setting, err)
	}
	return f, nil
}
