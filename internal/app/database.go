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

// OpenDatabase opens the configured database and waits until it responds, at most
// --start-timeout: it may start at the same time as this program.
// t records the statements of traced calls; nil: nothing does.
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
		log.Warn("the database does not answer, asking again", "error", err, "in", wait)
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%s: %w; start the database, or wait longer with --start-timeout", setting, err)
		case <-time.After(wait):
		}
	}
}

// MakeDataDir creates the data directory with access for this user only. An existing one
// keeps its mode, since it may also be used by others; the database in it is private.
func MakeDataDir(dir string, log *slog.Logger) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("--data-dir (FALCON_DATA_DIR): make the directory: %w; name one that this user can write", err)
	}
	if info, err := os.Stat(dir); err == nil && info.Mode().Perm()&0o077 != 0 {
		log.Warn("the data dir is open to other users; close it with chmod 700", "data-dir", dir)
	}
	for _, suffix := range []string{"", "-wal", "-shm"} {
		name := filepath.Join(dir, config.DatabaseFile+suffix)
		info, err := os.Stat(name)
		if err != nil || info.Mode().Perm()&0o077 == 0 {
			continue // not there yet: it is made private
		}
		if err := os.Chmod(name, 0o600); err != nil {
			return fmt.Errorf("--data-dir (FALCON_DATA_DIR): close the database to other users: %w", err)
		}
	}
	return nil
}

// Migrate applies pending migrations, or refuses to start over them.
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
		return fmt.Errorf("--auto-migrate (FALCON_AUTO_MIGRATE): is off and %d migrations are pending; run: falconbridge migrate up", pending)
	}
	return d.Complete(ctx)
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

// LockDatabase keeps a second server off the SQLite file: the two would not wake each
// other, and each would take the other's commits for a restore. The lock is the
// kernel's, on an empty file next to the database, so it ends with the process however
// that ends; the file stays. Where another server has the lock it fails, and advises
// remedy.
//
// Short commands (migrate, import) use SQLite's own locks and not this one.
func LockDatabase(c *config.Config, remedy string) (*os.File, error) {
	name, setting := c.SQLiteFile(), c.Database()
	if c.DatabaseURL == "" {
		if err := os.MkdirAll(c.DataDir, 0o700); err != nil {
			return nil, fmt.Errorf("%s: make the directory: %w; name one that this user can write", setting, err)
		}
	}
	f, err := os.OpenFile(name+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("%s: lock the database: %w; its directory must be there, and this user must be able to write it", setting, err)
	}
	if err := lockFile(f); err != nil {
		_ = f.Close()
		if errors.Is(err, errLocked) {
			return nil, fmt.Errorf("%s: another server runs on %s; %s", setting, name, remedy)
		}
		return nil, fmt.Errorf("%s: lock the database: %w", setting, err)
	}
	return f, nil
}
