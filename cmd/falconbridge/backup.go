package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/falconalert/falconbridge/db"
	"github.com/falconalert/falconbridge/internal/app"
	"github.com/falconalert/falconbridge/internal/config"
)

type backupCmd struct {
	File string `arg:"" help:"The file to create. It must not exist."`
}

func (backupCmd) Help() string {
	return `Examples:

    falconbridge backup copy.db

    falconbridge backup --data-dir /var/lib/falconbridge "/backup/$(date +%F).db"`
}

func (backupCmd) scope() []string { return config.SQLiteScope }

// Run copies the database, with or without a running server.
func (b backupCmd) Run(p *program) error {
	c, err := p.sqlite("pg_dump or base backups")
	if err != nil {
		return err
	}
	ctx, stop := interrupted()
	defer stop()
	if err := db.Backup(ctx, c.SQLiteFile(), b.File); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	_, err = fmt.Fprintln(p.out, b.File)
	return err
}

// sqlite returns the settings of storage. For Postgres it fails and names the tools to use
// instead.
func (p *program) sqlite(instead string) (*config.Config, error) {
	c, err := p.check(config.SQLiteScope)
	if err != nil {
		return nil, err
	}
	if !c.SQLite {
		return nil, c.Problem("database-url", "is a Postgres database", "use "+instead+", see docs/operations.md")
	}
	return c, nil
}

type restoreCmd struct {
	File string `arg:"" help:"A file that backup created."`
}

func (restoreCmd) Help() string {
	return `Example, with the server stopped:

    falconbridge restore copy.db

The former database is kept next to the new one. From the next start on, devices see a new epoch.`
}

func (restoreCmd) scope() []string { return config.SQLiteScope }

// Run replaces the database with a copy. Meanwhile it holds the server's lock, so
// that no server runs or starts.
func (r restoreCmd) Run(p *program) (err error) {
	c, err := p.sqlite("pg_restore or recovery to a point in time")
	if err != nil {
		return err
	}
	if _, err := os.Stat(r.File); err != nil {
		return fmt.Errorf("restore: there is no file %s", r.File) // before anything is made
	}
	if c.DatabaseURL == "" {
		if err := app.MakeDataDir(c.DataDir, app.NewLogger(p.err, c, c.LogLevel)); err != nil {
			return err
		}
	}
	lock, err := app.LockDatabase(c, "stop it first")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	ctx, stop := interrupted()
	defer stop()
	aside, err := db.Restore(ctx, c.SQLiteFile(), r.File)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	for _, name := range []string{db.RealPath(c.SQLiteFile()), c.SQLiteFile() + ".lock"} {
		if err := app.GiveToOwner(name, filepath.Dir(name)); err != nil {
			return fmt.Errorf("restore: %w", err)
		}
	}
	if aside != "" {
		_, _ = fmt.Fprintln(p.err, "falconbridge: the former database is", aside)
	}
	_, err = fmt.Fprintln(p.out, c.SQLiteFile())
	return err
}
