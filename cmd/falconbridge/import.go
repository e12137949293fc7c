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
	"github.com/falconalert/falconbridge/internal/config"
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
	past, err := c.read(p, time.Now().UTC().Truncate(time.Millisecond))
	if err != nil || c.DryRun {
		return err
	}
	cfg, err := p.check(c.scope())
	if err != nil {
		return err
	}
	return p.withDatabase(cfg, func(ctx context.Context, d *db.DB) error {
		if err := migrate(ctx, d, cfg.AutoMigrate, clientLog(p.err)); err != nil {
			return err
		}
		return past.load(ctx, p, d)
	})
}

// read reads and checks the file, and tells what it found where it is only to be
// checked.
func (c importCmd) read(p *program, now time.Time) (*past, error) {
	f, err := os.Open(c.From)
	if err != nil {
		return nil, fmt.Errorf("--from (FALCON_FROM): %w", cause(err))
	}
	defer f.Close()
	past, err := readPast(f, now, c.AsRead)
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
	for _, name := range past.ignored {
		_, _ = fmt.Fprintf(p.err, "falconbridge: %s: %s is not imported\n", c.From, name)
	}
	if c.DryRun {
		_, err = fmt.Fprintf(p.out, "%d settings, %d reports and %d notifications can be imported\n",
			len(past.settings), len(past.reports), len(past.notifications))
	}
	return past, err
}

// load stores what was read: who is muted first, the notifications last.
func (p *past) load(ctx context.Context, to *program, d *db.DB) error {
	bar := newProgress(to.err)
	settings, err := loadAll(ctx, bar, "settings", p.settings, d.ImportSettings)
	if err != nil {
		return err
	}
	reports, err := loadAll(ctx, bar, "reports", p.reports, d.ImportReports)
	if err != nil {
		return err
	}
	notifications, err := loadAll(ctx, bar, "notifications", p.notifications, d.ImportNotifications)
	if err != nil {
		return err
	}
	for _, l := range []struct {
		what       string
		added, all int
	}{{"settings", settings, len(p.settings)}, {"reports", reports, len(p.reports)}, {"notifications", notifications, len(p.notifications)}} {
		if _, err := fmt.Fprintf(to.out, "%s: %d imported, %d imported before\n", l.what, l.added, l.all-l.added); err != nil {
			return err
		}
	}
	return nil
}

// importTries is how often a part is tried while the database does not take it.
const importTries = 10

// loadAll stores all in parts. A part may be repeated, because the database takes
// every entry once; one that is too large for the time that a call has is halved.
func loadAll[T any](ctx context.Context, bar *progress, what string, all []T, store func(context.Context, []T) (int, error)) (added int, err error) {
	defer bar.end()
	size, tries := db.MaxImport, 0
	for done := 0; done < len(all); {
		bar.at(what, done, len(all))
		part := all[done:min(done+size, len(all))]
		n, err := store(ctx, part)
		switch {
		case err == nil:
			added, done, tries = added+n, done+len(part), 0
			continue
		case ctx.Err() != nil:
			return added, errors.New("interrupted; run it again: it goes on where it ended")
		case !errors.Is(err, bridge.ErrUnavailable):
			return added, err
		}
		if tries++; tries == importTries {
			return added, fmt.Errorf("%w; run it again later: it goes on where it ended", err)
		}
		size = max(1, size/2)
		select {
		case <-ctx.Done():
		case <-time.After(backoff(tries)):
		}
	}
	bar.at(what, len(all), max(len(all), 1))
	return added, nil
}
