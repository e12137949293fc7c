package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/pgconnect"
)

// loginLimit bounds connecting and logging in, for all hosts together.
const loginLimit = 10 * time.Second

// dial connects and logs in.
func (b *Bus) dial(ctx context.Context, notified func(channel, payload string)) (*pgconn.PgConn, error) {
	ctx, cancel := context.WithTimeout(ctx, loginLimit)
	defer cancel()
	pg, err := b.server.Connect(ctx, pgconnect.Session{Part: "bus", Notified: notified})
	if err != nil {
		return nil, fmt.Errorf("dial the bus: %w", err)
	}
	return pg, nil
}

// hangUp closes a connection without waiting for anything.
func hangUp(pg *pgconn.PgConn) { _ = pg.Conn().Close() }

// listen runs one session, from the login until the connection ends.
//
// It uses a connection of pgconn instead of pgdriver's listener, which has three problems: it
// reconnects by itself, so that lost notifications would go unnoticed; it does not wait for the
// response to LISTEN; and after a timeout within a message it continues to read in the middle of
// that message.
func (b *Bus) listen(ctx context.Context, h bridge.HintHandler, up func()) error {
	pg, err := b.dial(ctx, func(_, payload string) {
		b.Deliver([]byte(payload), h)
	})
	if err != nil {
		return err
	}
	defer hangUp(pg)
	if err := b.within(ctx, func(ctx context.Context) error {
		results, err := pg.Exec(ctx, "LISTEN "+channel+"; SELECT "+ownChannel).ReadAll()
		if err == nil {
			_, err = pg.Exec(ctx, "LISTEN "+string(results[1].Rows[0][0])).ReadAll()
		}
		return err
	}); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	up()
	h.Reconnected()
	for {
		err := b.within(ctx, pg.WaitForNotification)
		if pgconn.Timeout(err) && ctx.Err() == nil {
			// Either there were no notifications or the server is gone. TCP keepalive does
			// not show which if a proxy keeps its side of the connection open.
			err = b.within(ctx, pg.Ping)
		}
		if err != nil {
			return fmt.Errorf("listen: %w", err)
		}
	}
}

// within calls f with a context that ends after the time between two probes.
func (b *Bus) within(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, b.probe)
	defer cancel()
	return f(ctx)
}
