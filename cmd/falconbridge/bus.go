package main

import (
	"fmt"
	"log/slog"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/bus/inproc"
	"github.com/falconalert/falconbridge/bridge/bus/postgres"
)

// newBus picks how nodes wake each other: what --bus says, and with auto what the
// database can do.
func newBus(c checked, node string, log *slog.Logger) (bridge.Bus, error) {
	switch {
	case c.bus != busAuto:
		return nil, fmt.Errorf("--bus (FALCON_BUS): Redis is not built in yet")
	case c.sqlite:
		return inproc.New(), nil // one node only
	}
	b, err := postgres.New(postgres.Options{URL: c.databaseURL, Node: node, Logger: log})
	if err != nil {
		return nil, fmt.Errorf("--database-url (FALCON_DATABASE_URL): %w", err)
	}
	return b, nil
}
