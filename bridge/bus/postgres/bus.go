// Package postgres is the bus over LISTEN and NOTIFY: nodes that share a
// database need no other server.
//
// Every node listens with one connection, on the channel falcon_hint and on one of its
// schema. The database itself announces appends, in the inserting transaction (the SQL
// function falcon_append), so [Bus.Publish] leaves [bridge.HintAppended] out. The other
// hints go through a bounded queue and a second connection, many in one transaction.
//
// LISTEN needs a session, which a pooler in transaction mode does not keep;
// package db refuses to start behind one.
package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/bus"
	"github.com/falconalert/falconbridge/internal/pgconnect"
)

// channel is what falcon_append notifies. Every schema of a database shares it,
// which costs the others a look at their log.
const channel = "falcon_hint"

// ownChannel is SQL for the channel of the nodes' own hints, one for each schema:
// a takeover in one environment must not end the same device's connection in
// another that shares the database.
const ownChannel = "'" + channel + "_' || (SELECT oid FROM pg_namespace WHERE nspname = current_schema())"

// Options sets up a Bus.
type Options struct {
	URL    string       // postgres://…, as the database's own
	Node   string       // this node's name, as hints and falcon_append carry it; required
	Logger *slog.Logger // nil means slog.Default

	// Probe is how often the server is asked whether it is still there. A
	// connection whose other end is gone is given up within twice of it. 0 means
	// 5s.
	Probe time.Duration
	Queue int // hints that may wait to be sent; 0 means 4096
}

// Bus implements [bridge.Bus].
type Bus struct {
	*bus.Client
	server *pgconnect.Config
	probe  time.Duration
}

// New returns a bus over o. It does not connect yet; it fails for a URL that
// cannot be used.
func New(o Options) (*Bus, error) {
	if o.Node == "" {
		return nil, errors.New("the Postgres bus needs the node's name")
	}
	server, err := pgconnect.Parse(o.URL)
	if err != nil {
		return nil, fmt.Errorf("the database URL %w", err)
	}
	return &Bus{
		Client: bus.NewClient(o.Node, o.Logger, cmp.Or(o.Queue, 4096)),
		server: server,
		probe:  cmp.Or(o.Probe, 5*time.Second),
	}, nil
}

// Publish sends hints to the other nodes. The database itself announces appends.
func (b *Bus) Publish(hints ...bridge.Hint) {
	for _, h := range hints {
		if h.Type != bridge.HintAppended {
			b.Enqueue(h)
		}
	}
}

// Run listens and sends until ctx ends.
func (b *Bus) Run(ctx context.Context, h bridge.HintHandler) error {
	return b.Client.Run(ctx, func(ctx context.Context, up func()) error { return b.listen(ctx, h, up) }, b.send)
}
