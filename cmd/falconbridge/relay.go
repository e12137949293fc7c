package main

import (
	"context"
	"fmt"
	"time"

	"github.com/falconalert/falconbridge/bridge/relay"
)

// makeRelay makes the relay to an external broker, where one is configured. It
// comes before the hub, which wakes it.
func (s *server) makeRelay(context.Context) (err error) {
	if s.c.RelayURL == nil {
		return nil
	}
	s.relay, err = relay.New(relay.Options{
		URL: s.c.RelayURL, Node: s.node, Feed: s.db, Store: s.db,
		Topics: s.c.Topics, Epoch: s.db.Epoch, Logger: s.log,
	})
	if err != nil {
		return fmt.Errorf("%s: %w", s.c.Name("relay-url"), err)
	}
	return nil
}

// wakeRelay is what the hub calls when a log changed.
func (s *server) wakeRelay() func() {
	if s.relay == nil {
		return nil
	}
	return s.relay.Wake
}

func (s *server) startRelay(context.Context) error {
	if s.relay != nil {
		s.spawn("relay", 5*time.Second, s.relay.Run) // releases its lease
	}
	return nil
}
