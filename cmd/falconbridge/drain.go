package main

import (
	"context"
	"errors"
	"fmt"
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
func (s *server) drain() error {
	s.draining.Store(true)
	return within(context.Background(), s.c.DrainDelay+s.c.DrainTime+drainRest-heedWithin, s.undo.run)
}

// release ends what clients have here: srv takes no more requests and answers those in
// flight, and devices are disconnected, both at once. What clients keep open until ctx
// ends is closed.
func (s *server) release(ctx context.Context, srv *http.Server) error {
	devices := make(chan error, 1)
	go func() { devices <- s.broker.Drain(ctx, s.c.DrainTime) }()
	err := srv.Shutdown(ctx)
	if err != nil {
		err = fmt.Errorf("requests were cut: %w", errors.Join(err, srv.Close()))
	}
	if err = errors.Join(err, <-devices); err != nil { // no fault of this program
		s.log.Warn("clients were cut off at the end of the drain", "error", err)
	}
	return nil
}

// unready gives load balancers the time to hear of it.
func (s *server) unready(ctx context.Context) error {
	s.draining.Store(true)
	select {
	case <-time.After(s.c.DrainDelay):
	case <-ctx.Done():
	}
	return nil
}

var errDraining = errors.New("the node drains")

// ready tells whether the node should be sent clients.
func (s *server) ready(ctx context.Context) error {
	for _, part := range s.parts() {
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

func (s *server) parts() []part {
	return []part{
		{"node", func(context.Context) error {
			switch {
			case s.draining.Load():
				return errDraining
			case !s.started.Load():
				return errors.New("the node starts")
			}
			return nil
		}},
		{"database", func(ctx context.Context) error {
			if !s.started.Load() {
				return errors.New("not open")
			}
			return s.db.Ping(ctx)
		}},
		{"bus", func(context.Context) error {
			if !s.started.Load() {
				return errors.New("not open")
			}
			return s.bus.Ready()
		}},
		{"hub", func(context.Context) error {
			if !s.started.Load() {
				return errors.New("not running")
			}
			return s.hub.Ready()
		}},
	}
}
