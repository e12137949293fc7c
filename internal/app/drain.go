package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"
)

// The whole drain takes at most --drain-delay + --drain-time + drainRest, whatever clients
// do, because process managers kill what takes longer than they were told. clientsRest, a
// part of drainRest, is extra time after --drain-time for requests and devices to end by
// themselves, so that even a very short --drain-time does not cut them off.
const (
	drainRest   = 5 * time.Second
	clientsRest = 2 * time.Second
)

// drain stops the server in the order that loses nothing: first the node is no longer ready,
// then requests in flight are answered while devices are disconnected, then cursors are
// flushed and the node leaves the cluster, and at last the database is closed.
func (a *App) drain() error {
	a.draining.Store(true)
	return within(context.Background(), a.LongestDrain()-returnWithin, a.undo.run)
}

// release lets go of all clients. srv accepts no more requests and answers those in flight,
// and at the same time the broker disconnects devices. Connections that clients still keep
// open when ctx ends are closed.
func (a *App) release(ctx context.Context, srv *http.Server) error {
	devices := make(chan error, 1)
	go func() { devices <- a.broker.Drain(ctx, a.c.DrainTime) }()
	err := srv.Shutdown(ctx)
	if err != nil {
		err = fmt.Errorf("requests were cut: %w", errors.Join(err, srv.Close()))
	}
	if err = errors.Join(err, <-devices); err != nil { // it was the clients who took too long
		a.log.Warn("clients were cut off at the end of the drain", "error", err)
	}
	return nil
}

// unready reports the node as not ready and waits for --drain-delay, so that load balancers
// notice before connections end.
func (a *App) unready(ctx context.Context) error {
	a.draining.Store(true)
	select {
	case <-time.After(a.c.DrainDelay):
	case <-ctx.Done():
	}
	return nil
}

var errDraining = errors.New("the node is draining")

// ready returns nil if load balancers should send clients to this node, and otherwise which
// part is not ready and why.
func (a *App) ready(ctx context.Context) error {
	for _, part := range a.parts() {
		if err := part.ready(ctx); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return nil
}

// part is something that readiness depends on.
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
				return errors.New("the node is starting")
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

// step stops one part.
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

// returnWithin is how long a function may take to return after its context has ended.
const returnWithin = time.Second

// within runs f under a context that ends after limit, or with ctx if that is earlier. If f
// has not returned returnWithin later, within returns without it.
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
	select { // f may be about to return because of its deadline
	case err := <-done:
		return err
	case <-time.After(returnWithin):
		return ctx.Err()
	}
}
