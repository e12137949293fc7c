package main

import (
	"fmt"
	"log/slog"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/bus"
	"github.com/falconalert/falconbridge/bridge/bus/inproc"
	"github.com/falconalert/falconbridge/bridge/bus/postgres"
	"github.com/falconalert/falconbridge/bridge/bus/redis"
	"github.com/falconalert/falconbridge/internal/config"
)

// nodeBus is a bus that counts.
type nodeBus interface {
	bridge.Bus
	Stats() bus.Stats
}

// newBus picks how nodes wake each other: what --bus says, and with auto what the
// database can do.
func newBus(c *config.Config, node string, log *slog.Logger) (nodeBus, error) {
	switch {
	case c.Bus != config.BusAuto:
		b, err := redis.New(redis.Options{URL: c.Bus, Node: node, Logger: log})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.Name("bus"), err)
		}
		return b, nil
	case c.SQLite:
		return inproc.New(), nil // one node only
	}
	b, err := postgres.New(postgres.Options{URL: c.DatabaseURL, Node: node, Logger: log})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Name("database-url"), err)
	}
	return b, nil
}
