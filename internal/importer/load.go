package importer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/db"
)

// Count is how many entries a list of the file has and how many of them were new.
type Count struct {
	List       string
	New, Total int
}

// Counts returns the counts of the file's lists in the order in which they are stored. Settings
// come first, so that notifications are muted accordingly.
func (f *File) Counts() []Count {
	return []Count{{"settings", 0, len(f.settings)}, {"reports", 0, len(f.reports)}, {"notifications", 0, len(f.notifications)}}
}

// Load stores the file and returns its counts. Each entry is stored only once, so an import that
// was interrupted can be run again and continues where it ended. progress is called with the
// number of entries of a list that are done.
func (f *File) Load(ctx context.Context, d *db.DB, progress func(list string, done, total int)) ([]Count, error) {
	counts := f.Counts()
	var err error
	if counts[0].New, err = loadAll(ctx, progress, "settings", f.settings, d.ImportSettings); err != nil {
		return nil, err
	}
	if counts[1].New, err = loadAll(ctx, progress, "reports", f.reports, d.ImportReports); err != nil {
		return nil, err
	}
	if counts[2].New, err = loadAll(ctx, progress, "notifications", f.notifications, d.ImportNotifications); err != nil {
		return nil, err
	}
	return counts, nil
}

// maxTries is how often a part is tried while the database is unavailable.
const maxTries = 10

// loadAll stores the entries in parts. A part may be repeated safely, because the database stores
// every entry only once. After a failure the next part is half as large, in case it took longer
// than a call may.
func loadAll[T any](ctx context.Context, progress func(string, int, int), what string, all []T, store func(context.Context, []T) (int, error)) (added int, err error) {
	size, tries := db.MaxImport, 0
	for done := 0; done < len(all); {
		progress(what, done, len(all))
		part := all[done:min(done+size, len(all))]
		n, err := store(ctx, part)
		switch {
		case err == nil:
			added, done, tries = added+n, done+len(part), 0
			continue
		case ctx.Err() != nil:
			return added, errors.New("interrupted; run it again to continue where it ended")
		case !errors.Is(err, bridge.ErrUnavailable):
			return added, err
		}
		if tries++; tries == maxTries {
			return added, fmt.Errorf("%w; run it again later to continue where it ended", err)
		}
		size = max(1, size/2)
		select {
		case <-ctx.Done():
		case <-time.After(pause(tries)):
		}
	}
	progress(what, len(all), max(len(all), 1))
	return added, nil
}

// pause returns how long to wait after the n-th failure in a row: up to 10 s, half of it random,
// so that several imports do not retry in step.
func pause(n int) time.Duration {
	most := min(100*time.Millisecond<<min(n, 10), 10*time.Second)
	return most/2 + rand.N(most/2)
}
