package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// drain stops in the order that loses nothing: not ready any more, requests in
// flight answered, devices sent away, cursors flushed and the cluster left, the
// database closed. Each step has a deadline of its own.
func (s *server) drain() error {
	s.draining.Store(true)
	return s.undo.run()
}

// unready gives load balancers the time to hear of it.
func (s *server) unready(ctx context.Context) error {
	s.draining.Store(true)
	select {
	case <-time.After(s.c.drainDelay):
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
