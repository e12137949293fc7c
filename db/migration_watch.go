package db

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/migrate"
)

// migrationNews is how often the progress of a long migration is logged.
const migrationNews = 5 * time.Second

// migrationWatch logs which migration is running, every so often, so that an operator
// whose server does not start can see why. Quick migrations log nothing.
type migrationWatch struct {
	mu    sync.Mutex
	name  string
	begun time.Time
	ended chan struct{}
	wg    sync.WaitGroup
}

func watchMigration(log *slog.Logger, every time.Duration) *migrationWatch {
	w := &migrationWatch{ended: make(chan struct{})}
	w.wg.Go(func() {
		t := time.NewTicker(every)
		defer t.Stop()
		for {
			select {
			case <-w.ended:
				return
			case <-t.C:
			}
			if name, took := w.now(); name != "" {
				log.Info("still migrating", "component", "db", "migration", name, "for", took.Round(time.Second))
			}
		}
	})
	return w
}

// now returns the migration under way and how long it has been running.
func (w *migrationWatch) now() (name string, took time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.name, time.Since(w.begun)
}

// before returns a hook that records the migration's start and then calls hook.
func (w *migrationWatch) before(hook migrate.MigrationHook) migrate.MigrationHook {
	return func(ctx context.Context, tx bun.IConn, m *migrate.Migration) error {
		w.mu.Lock()
		w.name, w.begun = m.String(), time.Now()
		w.mu.Unlock()
		return hook(ctx, tx, m)
	}
}

func (w *migrationWatch) stop() {
	close(w.ended)
	w.wg.Wait()
}
