package pgconnect

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5/pgconn"
)

// oldest is the first version with what the schema needs (xid8).
const oldest = 13

// ErrUnfit is a server that falconbridge cannot use, however long it waits.
var ErrUnfit = errors.New("the server cannot be used")

// Server is what a look at the server found.
type Server struct {
	Plain bool // a connection without TLS to another machine
	Limit int  // the most connections that role, database and server allow; 0: unknown
}

// Look connects without touching a setting, so that nothing is left behind on a
// pooler's connections, and checks that the server can be used: its version,
// its encoding, and that a session stays with its connection. It fails with
// ErrUnfit where it cannot.
func (c *Config) Look(ctx context.Context) (s Server, err error) {
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

// errPooled is what pooled fails with.
var errPooled = fmt.Errorf("%w: a pooler stands before it that keeps no sessions (pool_mode=transaction or statement); "+
	"set pool_mode=session for this database, or name the server itself, often on port 5432", ErrUnfit)

// protocolViolation is PgBouncer's SQLSTATE for a transaction in statement mode.
const protocolViolation = "08P01"

// pooled fails where a pooler hands one server connection to several clients in
// turn, as PgBouncer does in transaction mode. Settings, locks and LISTEN of a
// session would then be another client's. It shows where two connections that
// are open at once have the same backend, or one changes it; three rounds are
// for a pooler that is busy with others.
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
		// b keeps its server connection in a transaction, most likely the one that
		// a has just left.
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

// one is the single value of the last statement of a query.
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
