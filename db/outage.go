package db

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// outageEvery is how often one cause is logged while calls keep failing by it, and
// maxOutages how many causes are remembered. Causes are few; the bound is for a
// driver whose errors turn out not to be.
const (
	outageEvery = 30 * time.Second
	maxOutages  = 64
)

// outages logs why calls fail. Callers learn only that the database is unavailable,
// and clients 503 or 0x88, so without it a node whose database lost a table would
// look like one whose database restarts. Each cause is logged once per outageEvery:
// a thousand calls fail by one cause in a second.
type outages struct {
	log *slog.Logger
	now func() time.Time

	mu   sync.Mutex
	seen map[string]*outage
}

// outage is one cause.
type outage struct {
	logged time.Time
	more   int // calls that failed by it since then
}

func newOutages(log *slog.Logger) *outages {
	return &outages{log: log, now: time.Now, seen: make(map[string]*outage)}
}

// report logs that op failed by err, unless the caller gave up or the same cause was
// logged just before.
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

// due counts a call that failed by why, and reports whether it is to be logged, with
// how many were not.
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
