package main

import (
	"errors"
	"fmt"

	"github.com/falconalert/falconbridge/db"
)

type backupCmd struct {
	File string `arg:"" help:"The copy; it must not exist."`
}

func (backupCmd) Help() string {
	return `Examples:

    falconbridge backup copy.db

    falconbridge backup --data-dir /var/lib/falconbridge "/backup/$(date +%F).db"`
}

// Run copies the database, beside a running server or without one.
func (b backupCmd) Run(p *program) error {
	c, err := p.sqlite("pg_dump or base backups")
	if err != nil {
		return err
	}
	ctx, stop := interrupted()
	defer stop()
	if err := db.Backup(ctx, c.sqliteFile(), b.File); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	_, err = fmt.Fprintln(p.out, b.File)
	return err
}

// sqlite returns the settings of storage, and fails where they name a Postgres, which
// has tools of its own for what a command does.
func (p *program) sqlite(instead string) (checked, error) {
	var ps problems
	var c checked
	p.settings.checkStore(&c, &ps)
	p.settings.checkTimes(&c, &ps)
	p.settings.checkWords(&c, &ps)
	if err := ps.err(); err != nil {
		return c, err
	}
	if !c.sqlite {
		return c, errors.New("--database-url (FALCON_DATABASE_URL, DATABASE_URL): is a Postgres; use " + instead + ", see docs/operations.md")
	}
	return c, nil
}
