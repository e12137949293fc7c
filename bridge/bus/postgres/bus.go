// Package postgres is the bus over LISTEN and NOTIFY. With it, nodes that share a database need no
// other server.
//
// Every node listens on two channels over one connection. On the channel falcon_hint, the SQL
// function falcon_notify announces the notifications that applications append in their own
// transactions, and those that these supersede. The other channel belongs to the schema and carries
// the nodes' own hints. A node puts its hints into a bounded queue and sends them over a second
// connection. All queued hints go into one transaction, at most one per sendGap.
//
// A node announces its appends after their commit, in a separate transaction. A transaction with
// a NOTIFY takes a lock over all databases before it commits, and keeps it until the write-ahead
// log has been flushed. If the appending transactions notified, those of all nodes would therefore
// wait for each other's flushes. A transaction that only notifies writes no log and flushes nothing.
//
// LISTEN needs a session, which a pooler in transaction mode does not keep. Package db refuses to
// start behind one.
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

// channel is the channel of falcon_notify. All schemas of a database share it, so a hint also makes
// the nodes of other schemas read their logs, where they find nothing.
const channel = "falcon_hint"

// ownChannel is SQL for the channel of the nodes' own hints, of which each schema has one. If two
// environments share a database, a takeover in one must not end the connection of a device with
// the same name in the other.
const ownChannel = "'" + channel + "_' || (SELECT oid FROM pg_namespace WHERE nspname = current_schema())"

// Options sets up a Bus.
type Options struct {
	URL    string       // postgres://…, the same as for the database
	Node   string       // this node's name in its hints; required
	Logger *slog.Logger // nil means slog.Default

	// Probe is how often the server is probed. A connection whose other end is gone is
	// closed within twice that time. 0 means 5 s.
	Probe time.Duration
	Queue int // how many hints may be queued; 0 means 16384
}

// Bus implements [bridge.Bus].
type Bus struct {
	*bus.Client
	server *pgconnect.Config
	probe  time.Duration
}

// New returns a bus over the server at o.URL. It does not connect yet, but fails if the URL is
// invalid.
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
