package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/db"
	"github.com/falconalert/falconbridge/internal/app"
	"github.com/falconalert/falconbridge/internal/config"
	"github.com/falconalert/falconbridge/internal/importer"
)

type importCmd struct {
	From   string `required:"" placeholder:"FILE" help:"JSON file with the lists reports, user_settings and notifications."`
	AsRead bool   `name:"as-read" help:"Take notifications without read_at as read, not as unread."`
	DryRun bool   `name:"dry-run" help:"Check the file, and change nothing."`
}

func (importCmd) Help() string {
	return `Loads what an application kept so far into the database that the settings name, straight, beside a running server or without one. Reports keep
their ids. Notifications keep their times and their order; they are listed, but no device gets them as news. Each entry is imported once: run again
it changes nothing, and after an interruption it goes on. A file with a fault is refused whole.

Examples:

    falconbridge import --from falconalert.json --dry-run

    DATABASE_URL=postgres://falcon@db/falcon falconbridge import --from falconalert.json`
}

func (importCmd) scope() []string { return append(slices.Clone(config.Database), "auto-migrate") }

// maxFaults is how many faults of a file are named.
const maxFaults = 20

// Run checks the whole file, and then loads it.
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

// read reads and checks the file, and tells what it found where it is only to be
// checked.
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
			_, _ = fmt.Fprintf(p.err, "falconbridge: %s: and %d more faults\n", c.From, more)
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
