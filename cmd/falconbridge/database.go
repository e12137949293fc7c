package main

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
)

// openDatabase opens the configured database and waits until it answers, at most
// --start-timeout: it may start at the same time as this program.
func openDatabase(ctx context.Context, c *config.Config, node string, log *slog.Logger) (*db.DB, error) {
	o := db.Options{URL: c.DatabaseURL, Node: node, Logger: log, MaxConns: c.DBMaxConnections, MigrateWait: c.StartTimeout}
	if o.URL == "" {
		o.URL = c.SQLiteFile()
		if err := makeDataDir(c.DataDir, log); err != nil {
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

// makeDataDir makes the data dir for this user alone. One that exists keeps its
// mode, which may be meant for more than this program; the database in it does not.
func makeDataDir(dir string, log *slog.Logger) error {
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

// migrate applies pending migrations, or refuses to start over them.
func migrate(ctx context.Context, d *db.DB, auto bool, log *slog.Logger) error {
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
