package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/mattn/go-isatty"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/db"
	"github.com/falconalert/falconbridge/internal/app"
	"github.com/falconalert/falconbridge/internal/config"
	"github.com/falconalert/falconbridge/internal/importer"
)

type migrateCmd struct {
	Up     migrateUp     `cmd:"" help:"Apply pending migrations."`
	Down   migrateDown   `cmd:"" help:"Undo the last group of migrations and DROP ITS DATA."`
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
		Yes   bool `env:"-" help:"Do not ask for confirmation."`
		Force bool `env:"-" help:"Proceed even while a server is running on the database."`
	}
	migrateStatus struct{}
)

func (migrateCmd) scope() []string { return config.DatabaseScope }

// Help shows how it is called.
func (migrateUp) Help() string {
	return `Example, once before many nodes start with --auto-migrate=false:

    DATABASE_URL=postgres://falcon@db/falcon falconbridge migrate up`
}

// Help shows how it is called.
func (migrateDown) Help() string {
	return `Lists what will be dropped and asks for confirmation; without a terminal it requires --yes.

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
	c, err := p.check(config.DatabaseScope)
	if err != nil {
		return err
	}
	return p.withDatabase(c, func(ctx context.Context, d *db.DB) error {
		names, err := d.Up(ctx)
		return p.report(names, "applied", err)
	})
}

// Run lists what will be dropped, asks for confirmation and undoes the last group.
func (m migrateDown) Run(p *program) error {
	c, err := p.check(config.DatabaseScope)
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
		_, _ = fmt.Fprintf(p.err, "This undoes %s, and drops\n", strings.Join(names, ", "))
		for _, t := range tables {
			_, _ = fmt.Fprintf(p.err, "  %s\n", t)
		}
		if !m.Yes {
			if err := confirm(os.Stdin, p.err); err != nil {
				return err
			}
		}
		names, err = d.Down(ctx)
		return p.report(names, "undone", err)
	})
}

// unused fails while a server runs on the database, and on SQLite keeps one from
// starting until unlock is called.
func (p *program) unused(ctx context.Context, c *config.Config, d *db.DB) (unlock func(), err error) {
	unlock = func() {}
	if d.Dialect() == db.SQLite {
		lock, err := app.LockDatabase(c, "stop it, or use --force")
		if err != nil {
			return nil, err
		}
		return func() { _ = lock.Close() }, nil
	}
	nodes, err := d.Nodes(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w; to proceed without this check, use --force", err)
	}
	if len(nodes) > 0 {
		n := nodes[0]
		return nil, fmt.Errorf("the node %s is alive (last seen %s); stop all nodes, wait %v where one was killed, or use --force",
			n.Node, n.BeatAt.Format(time.RFC3339), bridge.NodeTimeout)
	}
	return unlock, nil
}

// confirm asks for confirmation at the terminal, and fails if there is none or the
// response is not yes.
func confirm(in *os.File, out io.Writer) error {
	if !isatty.IsTerminal(in.Fd()) {
		return errors.New("nothing was changed: there is no terminal to ask for confirmation; confirm with --yes")
	}
	_, _ = fmt.Fprint(out, "Type yes to continue: ")
	line, err := bufio.NewReader(in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read the answer: %w", err)
	}
	if strings.TrimSpace(line) != "yes" {
		return errors.New("nothing was changed")
	}
	return nil
}

// Run lists all migrations and when they were applied. It creates no database: where
// there is no SQLite file yet, all are pending.
func (migrateStatus) Run(p *program) error {
	c, err := p.check(config.DatabaseScope)
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
	d, err := app.OpenDatabase(ctx, c, false, nil, app.NewLogger(p.err, c, c.LogLevel))
	if err != nil {
		return err
	}
	return errors.Join(f(ctx, d), d.Close())
}

type importCmd struct {
	From   string `required:"" placeholder:"FILE" help:"JSON file with the lists reports, user_settings and notifications."`
	AsRead bool   `name:"as-read" help:"Import notifications without read_at as read instead of unread."`
	DryRun bool   `name:"dry-run" help:"Only check the file."`
}

func (importCmd) Help() string {
	return `Loads an application's data into the configured database directly, whether or not a server is running. Reports keep their ids. Notifications keep
their times and their order; they are listed, but not delivered to any device. Each entry is imported once: a second run changes nothing, and a run
after an interruption continues. A file with an error is refused as a whole.

Examples:

    falconbridge import --from falconalert.json --dry-run

    DATABASE_URL=postgres://falcon@db/falcon falconbridge import --from falconalert.json`
}

func (importCmd) scope() []string { return append(slices.Clone(config.DatabaseScope), "auto-migrate") }

// maxFaults is how many errors of a file are printed.
const maxFaults = 20

// Run checks the whole file before it loads any of it.
func (c importCmd) Run(p *program) error {
	file, err := c.read(p, time.Now().UTC().Truncate(time.Millisecond))
	if err != nil || c.DryRun {
		return err
	}
	cfg, err := p.check(c.scope())
	if err != nil {
		return err
	}
	return p.withDatabase(cfg, func(ctx context.Context, d *db.DB) error {
		if err := app.Migrate(ctx, d, cfg.AutoMigrate, clientLog(p.err)); err != nil {
			return err
		}
		bar := newProgress(p.err)
		counts, err := file.Load(ctx, d, bar.at)
		bar.end()
		if err != nil {
			return err
		}
		for _, n := range counts {
			if _, err := fmt.Fprintf(p.out, "%s: %d imported, %d imported before\n", n.List, n.New, n.Total-n.New); err != nil {
				return err
			}
		}
		return nil
	})
}

// read parses and checks the file. With --dry-run it prints what could be imported.
func (c importCmd) read(p *program, now time.Time) (*importer.File, error) {
	f, err := os.Open(c.From)
	if err != nil {
		return nil, fmt.Errorf("--from (FALCON_FROM): %w", cause(err))
	}
	defer f.Close()
	file, err := importer.Read(f, now, c.AsRead)
	var bad *bridge.InvalidError
	if errors.As(err, &bad) {
		for _, fault := range bad.Fields[:min(len(bad.Fields), maxFaults)] {
			_, _ = fmt.Fprintf(p.err, "falconbridge: %s: %s %s\n", c.From, fault.Location, fault.Message)
		}
		if more := len(bad.Fields) - maxFaults; more > 0 {
			_, _ = fmt.Fprintf(p.err, "falconbridge: %s: and %d more errors\n", c.From, more)
		}
		_, _ = fmt.Fprintln(p.err, "falconbridge: nothing was imported")
		return nil, errReported
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w; nothing was imported", c.From, err)
	}
	for _, name := range file.Ignored {
		_, _ = fmt.Fprintf(p.err, "falconbridge: %s: %s is not imported\n", c.From, name)
	}
	if n := file.Counts(); c.DryRun {
		_, err = fmt.Fprintf(p.out, "%d settings, %d reports and %d notifications can be imported\n",
			n[0].Total, n[1].Total, n[2].Total)
	}
	return file, err
}
