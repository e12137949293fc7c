package delivery

import (
	"log/slog"
	"sync"
	"time"
)

// failureNews is how often a failure that repeats is logged.
const failureNews = 30 * time.Second

// failures logs failures of work that is retried, such as writing cursors every second.
// While the database is unavailable, all of this work fails again and again, so each
// failure is logged only once in failureNews.
type failures struct {
	logger *slog.Logger

	mu     sync.Mutex
	logged map[string]time.Time // when, by message; there are only a few
}

func newFailures(logger *slog.Logger) *failures {
	return &failures{logger: logger, logged: make(map[string]time.Time)}
}

// warn logs that what failed because of err, unless it has logged the same in the last
// failureNews.
func (f *failures) warn(what string, err error) {
	now := time.Now()
	f.mu.Lock()
	last, again := f.logged[what]
	again = again && now.Sub(last) < failureNews
	if !again {
		f.logged[what] = now
	}
	f.mu.Unlock()
	if !again {
		f.logger.Warn(what, "error", err)
	}
}
