package bus

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"
)

// Sessions keeps a bus connected: it runs one session after another and knows
// whether the present one listens.
type Sessions struct {
	Logger *slog.Logger
	Count  *Counters

	mu   sync.Mutex
	err  error // why not connected; nil while connected
	ever bool  // connected once
	told bool  // the outage is in the log
}

// errNew is what Ready says before the first session listens.
var errNew = errors.New("the bus has not connected yet")

// Ready is nil while a session listens.
func (s *Sessions) Ready() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ever && s.err == nil {
		return errNew
	}
	return s.err
}

// Keep calls session until ctx ends, with growing pauses between sessions that
// fail. session calls up once it listens, and returns an error when it no longer
// does.
func (s *Sessions) Keep(ctx context.Context, session func(ctx context.Context, up func()) error) {
	var pause Backoff
	for ctx.Err() == nil {
		one, cancel := context.WithCancel(ctx)
		err := session(one, func() {
			s.up()
			pause.Reset()
		})
		cancel()
		s.down(err, ctx.Err() == nil)
		pause.Wait(ctx)
	}
}

func (s *Sessions) up() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ever {
		s.Count.Reconnects.Add(1)
		s.Logger.Info("the bus is connected again")
	}
	s.err, s.ever, s.told = nil, true, false
}

// down notes the end of a session; of an outage only the first is logged.
func (s *Sessions) down(err error, outage bool) {
	if err == nil {
		err = errors.New("the connection ended")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
	if outage && !s.told {
		s.told = true
		s.Logger.Warn("the bus is away, notifications for other nodes' devices wait for the sweep", "error", err)
	}
}

// Backoff is the patience between attempts: it doubles from 100 ms to 5 s, and
// each pause is drawn from the upper half of that, so that nodes which lost the
// same server do not come back in step.
type Backoff struct{ tries int }

// Reset begins anew.
func (b *Backoff) Reset() { b.tries = 0 }

// Wait pauses, or returns early when ctx ends.
func (b *Backoff) Wait(ctx context.Context) {
	t := time.NewTimer(b.next())
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

func (b *Backoff) next() time.Duration {
	const first, longest = 100 * time.Millisecond, 5 * time.Second
	d := min(first<<b.tries, longest)
	if d < longest {
		b.tries++
	}
	return d/2 + rand.N(d/2+1)
}
