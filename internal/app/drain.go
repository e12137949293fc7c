package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"
)

// The whole drain takes at most --drain-delay, --drain-time and drainRest, whatever
// clients do: process managers kill what takes longer. Of drainRest, clientsRest is for
// requests and devices to end after --drain-time, so that a short one cuts nothing off
// that ends by itself.
const (
	drainRest   = 5 * time.Second
	clientsRest = 2 * time.Second
)

// drain stops in the order that loses nothing: not ready any more, requests in flight
// answered while devices are disconnected, cursors flushed and the cluster left, the
// database closed.
func (a *App) drain() error {
	a.draining.Store(true)
	return within(context.Background(), a.LongestDrain()-heedWithin, a.undo.run)
}

// release ends what clients have here: srv takes no more requests and answers those in
// flight, and devices are disconnected, both at once. What clients keep open until ctx
// ends is closed.
func (a *App) release(ctx context.Context, srv *http.Server) error {
	devices := make(chan error, 1)
	go func() { devices <- a.broker.Drain(ctx, a.c.DrainTime) }()
	err := srv.Shutdown(ctx)
	if err != nil {
		err = fmt.Errorf("requests were cut: %w", errors.Join(err, srv.Close()))
	}
	if err = errors.Join(err, <-devices); err != nil { // no fault of this program
		a.log.Warn("clients were cut off at the end of the drain", "error", err)
	}
	return nil
}

// unready gives load balancers time to notice.
func (a *App) unready(ctx context.Context) error {
	a.draining.Store(true)
	select {
	case <-time.After(a.c.DrainDelay):
	case <-ctx.Done():
	}
	return nil
}

var errDraining = errors.New("the node drains")

// ready returns nil where load balancers should send clients to this node.
func (a *App) ready(ctx context.Context) error {
	for _, part := range a.parts() {
		if err := part.ready(ctx); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return nil
}

// part is something readiness depends on.
type part struct {
	name  string
	ready func(ctx context.Context) error
}

func (a *App) parts() []part {
	return []part{
		{"node", func(context.Context) error {
			switch {
			case a.draining.Load():
				return errDraining
			case !a.started.Load():
				return errors.New("the node starts")
			}
			return nil
		}},
		{"database", func(ctx context.Context) error {
			if !a.started.Load() {
				return errors.New("not open")
			}
			return a.db.Ping(ctx)
		}},
		{"bus", func(context.Context) error {
			if !a.started.Load() {
				return errors.New("not open")
			}
			return a.bus.Ready()
		}},
		{"hub", func(context.Context) error {
			if !a.started.Load() {
				return errors.New("not running")
			}
			return a.hub.Ready()
		}},
	}
}

// teardown stops the parts of the server in the reverse order of their start, so that each
// part can use those it depends on until it has stopped.
type teardown struct {
	steps []step
	log   *slog.Logger
}

type step struct {
	name  string
	limit time.Duration
	undo  func(ctx context.Context) error
}

// add registers how to stop a part that was just started, and how long that may take.
func (t *teardown) add(name string, limit time.Duration, undo func(ctx context.Context) error) {
	t.steps = append(t.steps, step{name, limit, undo})
}

// run stops everything, last first, until ctx ends. A step that fails or takes too long
// does not prevent the others.
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

// heedWithin is how long a step may take to return after the end of its context.
const heedWithin = time.Second

// within runs f with a context that ends after limit, or with ctx. It does not wait for an
// f that ignores that.
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
