package postgres

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/bus"
)

const (
	maxPayload = 7900 // in bytes; Postgres accepts less than 8000
	maxBatch   = 2048 // hints per transaction
	// sendGap is the shortest time between two transactions. The first hint after a pause is
	// sent at once. Under load hints are batched, because each transaction wakes all nodes.
	// This adds at most sendGap to the delay between nodes.
	sendGap   = 5 * time.Millisecond
	sendLimit = 3 * time.Second
)

// send sends queued hints until ctx ends. All hints that are queued at the same time go into one
// transaction, because a commit with a NOTIFY takes a lock over all databases and wakes every
// listener.
func (b *Bus) send(ctx context.Context) {
	var conn *pgconn.PgConn
	defer func() {
		if conn != nil {
			hangUp(conn)
		}
	}()
	b.SendBatches(ctx, maxBatch, nil, func(ctx context.Context, hints []bridge.Hint) error {
		gap := time.After(sendGap)
		kept := conn != nil
		err := b.notify(ctx, &conn, hints)
		if err != nil && kept && ctx.Err() == nil {
			// The connection may have broken while it was idle.
			err = b.notify(ctx, &conn, hints)
		}
		select {
		case <-gap:
		case <-ctx.Done():
		}
		return err
	})
}

// notify sends hints over *conn. It connects first if *conn is nil, and sets *conn to nil after an
// error.
func (b *Bus) notify(ctx context.Context, conn **pgconn.PgConn, hints []bridge.Hint) error {
	messages := bus.Encode(b.Node, hints, maxPayload)
	if len(messages) == 0 {
		return nil
	}
	if *conn == nil {
		c, err := b.dial(ctx, nil)
		if err != nil {
			return err
		}
		*conn = c
	}
	var query strings.Builder
	args := make([][]byte, len(messages))
	query.WriteString("SELECT ")
	for i, m := range messages {
		if i > 0 {
			query.WriteString(", ")
		}
		fmt.Fprintf(&query, "pg_notify(%s, $%d)", ownChannel, i+1)
		args[i] = m
	}
	limited, cancel := context.WithTimeout(ctx, sendLimit)
	defer cancel()
	if err := (*conn).ExecParams(limited, query.String(), args, nil, nil, nil).Read().Err; err != nil {
		hangUp(*conn)
		*conn = nil
		return fmt.Errorf("notify: %w", err)
	}
	return nil
}
