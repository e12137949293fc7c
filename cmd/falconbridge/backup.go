package main

import (
	"fmt"

	"github.com/falconalert/falconbridge/db"
	"github.com/falconalert/falconbridge/internal/config"
)

type backupCmd struct {
	File string `arg:"" help:"The copy; it must not exist."`
}

func (backupCmd) Help() string {
	return `Examples:

    falconbridge backup copy.db

    falconbridge backup --data-dir /var/lib/falconbridge "/backup/$(date +%F).db"`
}

func (backupCmd) scope() []string { return config.SQLite }

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

// sqlite returns the settings of storage, and fails where they name a Postgres, which
// has tools of its own for what a command does.
func (p *program) sqlite(instead string) (*config.Config, error) {
	c, err := p.check(config.SQLite)
	if err != nil {
		return nil, err
	}
	if !c.SQLite {
		return nil, c.Problem("database-url", "is a Postgres", "use "+instead+", see docs/operations.md")
	}
	return c, nil
}
