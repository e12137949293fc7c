package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// teardown is what must be undone, in the order it was done. What was acquired
// last goes first, so that everything still stands on what it needs.
type teardown struct {
	steps []step
	log   *slog.Logger
}

type step struct {
	name  string
	limit time.Duration
	undo  func(ctx context.Context) error
}

// add notes how to undo what was just done, and how long that may take.
func (t *teardown) add(name string, limit time.Duration, undo func(ctx context.Context) error) {
	t.steps = append(t.steps, step{name, limit, undo})
}

// run undoes everything, last first, until ctx ends. A step that fails or takes too
// long keeps none of the others back.
func (t *teardown) run(ctx context.Context) error {
	var all error
	for i := len(t.steps) - 1; i >= 0; i-- {
		s := t.steps[i]
		begun := time.Now()
		err := within(ctx, s.limit, s.undo)
		t.log.Debug("stopped", "part", s.name, "took", time.Since(begun).Round(time.Millisecond), "error", err)
		if err != nil {
			all = errors.Join(all, fmt.Errorf("stop the %s: %w", s.name, err))
		}
	}
	t.steps = nil
	return all
}

// heedWithin is how long a step may take to heed the end of its context.
const heedWithin = time.Second

// within runs f with a context that ends after limit, or with ctx. One that does not
// heed its end is left behind.
func within(ctx context.Context, limit time.Duration, f func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	select { // it may end with its deadline, in order
	case err := <-done:
		return err
	case <-time.After(heedWithin):
		return ctx.Err()
	}
}
