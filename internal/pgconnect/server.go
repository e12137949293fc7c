package pgconnect

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5/pgconn"
)

// oldest is the first version that has what the schema needs: the type xid8.
const oldest = 13

// ErrUnfit reports a server that falconbridge cannot use, however long it waits.
var ErrUnfit = errors.New("the server cannot be used")

// Server is what Probe finds out about a server.
type Server struct {
	Plain bool // the connection goes to another machine without TLS
	Limit int  // how many connections the role, the database and the server allow; 0: unknown
}

// Probe connects and checks that the server can be used: its version, its encoding, and that a
// session stays with its connection, which not every pooler ensures. It fails with ErrUnfit
// if not. It changes no setting, so that nothing is left behind on a pooler's connections.
func (c *Config) Probe(ctx context.Context) (s Server, err error) {
	a, err := c.bare(ctx, Session{})
	if err != nil {
		return s, err
	}
	defer func() { _ = a.Close(context.WithoutCancel(ctx)) }()
	if v := major(a); v != 0 && v < oldest {
		return s, fmt.Errorf("%w: it is PostgreSQL %d; falconbridge needs %d or later", ErrUnfit, v, oldest)
	}
	if e := a.ParameterStatus("server_encoding"); e != "" && e != "UTF8" {
		return s, fmt.Errorf("%w: the database's encoding is %s; create one with ENCODING 'UTF8' TEMPLATE template0", ErrUnfit, e)
	}
	if err := c.pooled(ctx, a); err != nil {
		return s, err
	}
	const limits = "SELECT least(nullif(r.rolconnlimit, -1), nullif(d.datconnlimit, -1), current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int) " +
		"FROM pg_roles r, pg_database d WHERE r.rolname = session_user AND d.datname = current_database()"
	found, err := one(ctx, a, limits)
	if err != nil {
		return s, err
	}
	s.Limit, _ = strconv.Atoi(found)
	_, encrypted := a.Conn().(interface{ HandshakeContext(context.Context) error })
	s.Plain = !encrypted && !c.Local()
	return s, nil
}

// errPooled is the error of pooled.
var errPooled = fmt.Errorf("%w: a pooler in front of it does not keep sessions (pool_mode=transaction or statement); "+
	"set pool_mode=session for this database, or connect to the server itself, often on port 5432", ErrUnfit)

// protocolViolation is PgBouncer's SQLSTATE for a transaction in statement mode.
const protocolViolation = "08P01"

// pooled fails if a pooler gives one server connection to several clients in turn, as
// PgBouncer does in transaction mode. The settings, locks and LISTEN of a session would then
// end up with another client. Such a pooler shows if two connections that are open at the
// same time have the same backend, or if the backend of one changes. It tries three times, in
// case the pooler is busy with other clients.
func (c *Config) pooled(ctx context.Context, a *pgconn.PgConn) error {
	b, err := c.bare(ctx, Session{})
	if err != nil {
		return err
	}
	defer func() { _ = b.Close(context.WithoutCancel(ctx)) }()
	const backend = "SELECT pg_backend_pid()"
	first := ""
	for range 3 {
		mine, err := one(ctx, a, backend)
		if err != nil {
			return err
		}
		// In transaction mode b now gets a server connection, most likely the one that a has
		// just left, and keeps it until the end of its transaction.
		other, err := one(ctx, b, "BEGIN; "+backend)
		if State(err) == protocolViolation {
			return errPooled
		} else if err != nil {
			return err
		}
		shared := other == mine
		if !shared {
			again, err := one(ctx, a, backend)
			if err != nil {
				return err
			}
			shared = again != mine
		}
		if _, err := b.Exec(ctx, "ROLLBACK").ReadAll(); err != nil {
			return connectError(err)
		}
		if first == "" {
			first = mine
		}
		if shared || mine != first {
			return errPooled
		}
	}
	return nil
}

// one returns the single value of a query's last statement, or "" if it has none.
func one(ctx context.Context, pg *pgconn.PgConn, query string) (string, error) {
	results, err := pg.Exec(ctx, query).ReadAll()
	if err != nil {
		return "", connectError(err)
	}
	if last := results[len(results)-1]; len(last.Rows) == 1 {
		return string(last.Rows[0][0]), nil
	}
	return "", nil
}
