package main

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/falconalert/falconbridge/db"
)

type migrateCmd struct {
	Up     migrateUp     `cmd:"" help:"Apply what is pending."`
	Down   migrateDown   `cmd:"" help:"Take the last group back, WITH THE DATA IN IT."`
	Status migrateStatus `cmd:"" help:"List all migrations."`
}

func (migrateCmd) Help() string {
	return `Examples:

    falconbridge migrate status

    DATABASE_URL=postgres://falcon@db/falcon falconbridge migrate up`
}

type (
	migrateUp     struct{}
	migrateDown   struct{}
	migrateStatus struct{}
)

// Help shows how it is called.
func (migrateUp) Help() string {
	return `Example, once before many nodes start with --auto-migrate=false:

    DATABASE_URL=postgres://falcon@db/falcon falconbridge migrate up`
}

// Help shows how it is called.
func (migrateDown) Help() string {
	return `Example, on a copy of the data:

    falconbridge migrate down --data-dir ./copy`
}

// Help shows how it is called.
func (migrateStatus) Help() string {
	return `Example:

    falconbridge migrate status`
}

// Run applies pending migrations and names them.
func (migrateUp) Run(p *program) error {
	return p.withDatabase(func(ctx context.Context, d *db.DB) error {
		names, err := d.Up(ctx)
		return p.report(names, "applied", err)
	})
}

// Run takes the last group back.
func (migrateDown) Run(p *program) error {
	return p.withDatabase(func(ctx context.Context, d *db.DB) error {
		names, err := d.Down(ctx)
		return p.report(names, "taken back", err)
	})
}

// Run lists all migrations and when they were applied.
func (migrateStatus) Run(p *program) error {
	return p.withDatabase(func(ctx context.Context, d *db.DB) error {
		all, err := d.Status(ctx)
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(p.out, 0, 0, 2, ' ', 0)
		for _, m := range all {
			at := "pending"
			if !m.AppliedAt.IsZero() {
				at = m.AppliedAt.UTC().Format(time.RFC3339)
			}
			_, _ = fmt.Fprintf(w, "%s\t%s\n", m.Name, at)
		}
		return w.Flush()
	})
}

func (p *program) report(names []string, done string, err error) error {
	for _, n := range names {
		_, _ = fmt.Fprintln(p.out, n, done)
	}
	if err == nil && len(names) == 0 {
		_, err = fmt.Fprintln(p.out, "nothing to do")
	}
	return err
}

// withDatabase runs f on the configured database.
func (p *program) withDatabase(f func(ctx context.Context, d *db.DB) error) error {
	var ps problems
	var c checked
	p.settings.checkStore(&c, &ps)
	p.settings.checkTimes(&c, &ps)
	p.settings.checkWords(&c, &ps)
	if err := ps.err(); err != nil {
		return err
	}
	ctx, stop := interrupted()
	defer stop()
	d, err := openDatabase(ctx, c, "", newLogger(p.err, c))
	if err != nil {
		return err
	}
	return errors.Join(f(ctx, d), d.Close())
}
