package main

import (
	"fmt"
	"log/slog"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/bus"
	"github.com/falconalert/falconbridge/bridge/bus/inproc"
	"github.com/falconalert/falconbridge/bridge/bus/postgres"
	"github.com/falconalert/falconbridge/bridge/bus/redis"
)

// nodeBus is a bus that counts.
type nodeBus interface {
	bridge.Bus
	Stats() bus.Stats
}

// newBus picks how nodes wake each other: what --bus says, and with auto what the
// database can do.
func newBus(c checked, node string, log *slog.Logger) (nodeBus, error) {
	switch {
	case c.bus != busAuto:
		b, err := redis.New(redis.Options{URL: c.bus, Node: node, Logger: log})
		if err != nil {
			return nil, fmt.Errorf("--bus (FALCON_BUS): %w", err)
		}
		return b, nil
	case c.sqlite:
		return inproc.New(), nil // one node only
	}
	b, err := postgres.New(postgres.Options{URL: c.databaseURL, Node: node, Logger: log})
	if err != nil {
		return nil, fmt.Errorf("--database-url (FALCON_DATABASE_URL): %w", err)
	}
	return b, nil
}
