package db

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// outageEvery is how often one cause is logged while calls keep failing for it, and
// maxOutages is how many causes are remembered. There are few causes; the bound is a
// safeguard against a driver whose errors turn out to vary without end.
const (
	outageEvery = 30 * time.Second
	maxOutages  = 64
)

// outages logs why calls fail. Callers only learn that the database is unavailable, and
// clients get 503 or 0x88, so without the log a node whose database lost a table would
// look like one whose database is restarting. A thousand calls may fail for the same
// cause within a second, so each cause is logged once per outageEvery.
type outages struct {
	log *slog.Logger
	now func() time.Time

	mu   sync.Mutex
	seen map[string]*outage
}

// outage is one cause.
type outage struct {
	logged time.Time
	more   int // calls that failed for it since then
}

func newOutages(log *slog.Logger) *outages {
	return &outages{log: log, now: time.Now, seen: make(map[string]*outage)}
}

// report logs that op failed with err, unless the caller gave up or the same cause was
// logged less than outageEvery ago.
func (o *outages) report(op string, err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	why := cause(err)
	more, due := o.due(why)
	if !due {
		return
	}
	level := slog.LevelWarn
	if lasting(err) {
		level = slog.LevelError
	}
	args := []any{"component", "db", "operation", op, "cause", why}
	if more > 0 {
		args = append(args, "calls", more+1)
	}
	o.log.Log(context.Background(), level, "the database failed a call", args...)
}

// due counts a call that failed for why and reports whether to log it. more is how many
// calls failed for the same cause since it was last logged.
func (o *outages) due(why string) (more int, due bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := o.now()
	one := o.seen[why]
	if one == nil {
		if len(o.seen) >= maxOutages {
			clear(o.seen)
		}
		one = &outage{}
		o.seen[why] = one
	} else if now.Sub(one.logged) < outageEvery {
		one.more++
		return 0, false
	}
	more, one.more, one.logged = one.more, 0, now
	return more, true
}
