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

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/db"
	"github.com/falconalert/falconbridge/internal/app"
	"github.com/falconalert/falconbridge/internal/config"
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
		Yes   bool `env:"-" help:"Do not ask first."`
		Force bool `env:"-" help:"Do it while a server runs on the database."`
	}
	migrateStatus struct{}
)

func (migrateCmd) scope() []string { return config.Database }

// Help shows how it is called.
func (migrateUp) Help() string {
	return `Example, once before many nodes start with --auto-migrate=false:

    DATABASE_URL=postgres://falcon@db/falcon falconbridge migrate up`
}

// Help shows how it is called.
func (migrateDown) Help() string {
	return `It lists what goes, and asks; without a terminal it needs --yes.

Example, on a copy of the data:

    falconbridge migrate down --data-dir ./copy`
}

// Help shows how it is called.
func (migrateStatus) Help() string {
	return `Example:

    falconbridge migrate status`
}

// Run applies pending migrations and names them.
func (migrateUp) Run(p *program) error {
	c, err := p.check(config.Database)
	if err != nil {
		return err
	}
	return p.withDatabase(c, func(ctx context.Context, d *db.DB) error {
		names, err := d.Up(ctx)
		return p.report(names, "applied", err)
	})
}

// Run takes the last group back, after it listed what goes and somebody agreed.
func (m migrateDown) Run(p *program) error {
	c, err := p.check(config.Database)
	if err != nil {
		return err
	}
	return p.withDatabase(c, func(ctx context.Context, d *db.DB) error {
		names, tables, err := d.DownPlan(ctx)
		if err != nil || len(names) == 0 {
			return p.report(nil, "", err)
		}
		if !m.Force {
			unlock, err := p.unused(ctx, c, d)
			if err != nil {
				return err
			}
			defer unlock()
		}
		_, _ = fmt.Fprintf(p.err, "This takes back %s, and drops\n", strings.Join(names, ", "))
		for _, t := range tables {
			_, _ = fmt.Fprintf(p.err, "  %s\n", t)
		}
		if !m.Yes {
			if err := confirm(os.Stdin, p.err); err != nil {
				return err
			}
		}
		names, err = d.Down(ctx)
		return p.report(names, "taken back", err)
	})
}

// unused fails while a server runs on the database, and on SQLite keeps one from
// starting until unlock is called.
func (p *program) unused(ctx context.Context, c *config.Config, d *db.DB) (unlock func(), err error) {
	unlock = func() {}
	if d.Dialect() == db.SQLite {
		lock, err := app.LockDatabase(c, "stop it, or insist with --force")
		if err != nil {
			return nil, err
		}
		return func() { _ = lock.Close() }, nil
	}
	nodes, err := d.Nodes(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w; to go on without knowing, use --force", err)
	}
	if len(nodes) > 0 {
		n := nodes[0]
		return nil, fmt.Errorf("the node %s is alive (last seen %s); stop all nodes, wait %v where one was killed, or insist with --force",
			n.Node, n.BeatAt.Format(time.RFC3339), bridge.NodeTimeout)
	}
	return unlock, nil
}

// confirm asks the person at the terminal, and fails where there is none or the
// response is not yes.
func confirm(in *os.File, out io.Writer) error {
	if !isatty.IsTerminal(in.Fd()) {
		return errors.New("nothing was changed: there is no terminal to ask at; agree with --yes")
	}
	_, _ = fmt.Fprint(out, "Type yes to go on: ")
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
	c, err := p.check(config.Database)
	if err != nil {
		return err
	}
	if c.SQLite {
		if _, err := os.Stat(c.SQLiteFile()); errors.Is(err, fs.ErrNotExist) {
			_, _ = fmt.Fprintf(p.err, "falconbridge: there is no database yet at %s\n", c.SQLiteFile())
			aside, err := os.MkdirTemp("", "falconbridge")
			if err != nil {
				return err
			}
			defer func() { _ = os.RemoveAll(aside) }()
			c.DatabaseURL, c.DataDir = "", aside
		}
	}
	return p.withDatabase(c, func(ctx context.Context, d *db.DB) error {
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

// withDatabase runs f on the database of c.
func (p *program) withDatabase(c *config.Config, f func(ctx context.Context, d *db.DB) error) error {
	ctx, stop := interrupted()
	defer stop()
	d, err := app.OpenDatabase(ctx, c, false, app.NewLogger(p.err, c, c.LogLevel))
	if err != nil {
		return err
	}
	return errors.Join(f(ctx, d), d.Close())
}
