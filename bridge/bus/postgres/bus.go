// Package postgres is the bus over LISTEN and NOTIFY: nodes that share a
// database need no other server.
//
// Every node listens with one connection, on the channel falcon_hint, where the SQL
// function falcon_notify announces what applications append in their transactions and that
// it may supersede something, and on one of its schema, for the nodes' own hints. These go
// through a bounded queue and a second connection, all that wait in one transaction, at
// most one in sendGap.
//
// A node announces its appends after their commit, not in it. A transaction with a NOTIFY
// takes a lock over all databases before it commits and keeps it while the write-ahead log
// is flushed, so that all nodes' appends would wait for each other's disks. One that
// does nothing else writes no log and flushes nothing.
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

// channel is what falcon_notify notifies. Every schema of a database shares it,
// which costs the others a look at their log.
const channel = "falcon_hint"

// ownChannel is SQL for the channel of the nodes' own hints, one for each schema:
// a takeover in one environment must not end the same device's connection in
// another that shares the database.
const ownChannel = "'" + channel + "_' || (SELECT oid FROM pg_namespace WHERE nspname = current_schema())"

// Options sets up a Bus.
type Options struct {
	URL    string       // postgres://…, as the database's own
	Node   string       // this node's name, as hints carry it; required
	Logger *slog.Logger // nil means slog.Default

	// Probe is how often the server is asked whether it is still there. A
	// connection whose other end is gone is given up within twice of it. 0 means
	// 5s.
	Probe time.Duration
	Queue int // hints that may wait to be sent; 0 means 16384
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
		Client: bus.NewClient(o.Node, o.Logger, cmp.Or(o.Queue, 16384)),
		server: server,
		probe:  cmp.Or(o.Probe, 5*time.Second),
	}, nil
}

// Publish sends hints to the other nodes.
func (b *Bus) Publish(hints ...bridge.Hint) {
	for _, h := range hints {
		b.Enqueue(h)
	}
}

// Run listens and sends until ctx ends.
func (b *Bus) Run(ctx context.Context, h bridge.HintHandler) error {
	return b.Client.Run(ctx, func(ctx context.Context, up func()) error { return b.listen(ctx, h, up) }, b.send)
}
