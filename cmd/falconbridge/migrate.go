package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/mattn/go-isatty"

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
	migrateUp   struct{}
	migrateDown struct {
		Yes bool `env:"-" help:"Do not ask first, as a terminal would be."`
	}
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

// Run takes the last group back. Whoever sits at a terminal is asked first.
func (m migrateDown) Run(p *program) error {
	return p.withDatabase(func(ctx context.Context, d *db.DB) error {
		if !m.Yes && isatty.IsTerminal(os.Stdin.Fd()) {
			if err := confirm(os.Stdin, p.err); err != nil {
				return err
			}
		}
		names, err := d.Down(ctx)
		return p.report(names, "taken back", err)
	})
}

// confirm asks before data goes, and fails where the answer is not yes.
func confirm(in io.Reader, out io.Writer) error {
	_, _ = fmt.Fprint(out, "This takes the last group of migrations back, with the data in it. Type yes to go on: ")
	line, err := bufio.NewReader(in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read the answer: %w", err)
	}
	if strings.TrimSpace(line) != "yes" {
		return errors.New("nothing was changed")
	}
	return nil
}

// Run lists all migrations and when they were applied. To look makes no database: where
// there is no SQLite file yet, all are pending.
func (migrateStatus) Run(p *program) error {
	var c checked
	var ps problems
	p.settings.checkStore(&c, &ps)
	if len(ps) == 0 && c.sqlite {
		if _, err := os.Stat(c.sqliteFile()); errors.Is(err, fs.ErrNotExist) {
			_, _ = fmt.Fprintf(p.err, "falconbridge: there is no database yet at %s\n", c.sqliteFile())
			aside, err := os.MkdirTemp("", "falconbridge")
			if err != nil {
				return err
			}
			defer func() { _ = os.RemoveAll(aside) }()
			p.settings.DatabaseURL, p.settings.DatabaseURLFile = "", ""
			p.settings.DataDir = aside
		}
	}
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
