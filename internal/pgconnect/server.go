package pgconnect

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5/pgconn"
)

// oldestVersion is the first version that has the type xid8, which the schema needs.
const oldestVersion = 13

// ErrUnfit means that falconbridge cannot use the server, and that waiting would not help.
var ErrUnfit = errors.New("the server cannot be used")

// Server describes a server, as Probe finds it.
type Server struct {
	Plain bool // whether the connection goes to another machine without TLS
	Limit int  // how many connections the role, the database and the server allow; 0 if unknown
}

// Probe connects and checks whether the server can be used. It checks the version, the
// encoding, and that a client keeps its session, which not every pooler ensures. If one of the
// checks fails, the error is ErrUnfit. Probe changes no setting, because a pooler would keep
// the change on its connection.
func (c *Config) Probe(ctx context.Context) (s Server, err error) {
	a, err := c.connectBare(ctx, Session{})
	if err != nil {
		return s, err
	}
	defer func() { _ = a.Close(context.WithoutCancel(ctx)) }()
	if v := major(a); v != 0 && v < oldestVersion {
		return s, fmt.Errorf("%w: it is PostgreSQL %d; falconbridge needs %d or later", ErrUnfit, v, oldestVersion)
	}
	if e := a.ParameterStatus("server_encoding"); e != "" && e != "UTF8" {
		return s, fmt.Errorf("%w: the database's encoding is %s; create one with ENCODING 'UTF8' TEMPLATE template0", ErrUnfit, e)
	}
	if err := c.checkPooler(ctx, a); err != nil {
		return s, err
	}
	const limits = "SELECT least(nullif(r.rolconnlimit, -1), nullif(d.datconnlimit, -1), current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int) " +
		"FROM pg_roles r, pg_database d WHERE r.rolname = session_user AND d.datname = current_database()"
	found, err := queryValue(ctx, a, limits)
	if err != nil {
		return s, err
	}
	s.Limit, _ = strconv.Atoi(found)
	_, encrypted := a.Conn().(interface{ HandshakeContext(context.Context) error })
	s.Plain = !encrypted && !c.Local()
	return s, nil
}

// errPooled is the error of checkPooler.
var errPooled = fmt.Errorf("%w: a pooler in front of it does not keep sessions (pool_mode=transaction or statement); "+
	"set pool_mode=session for this database, or connect to the server itself, often on port 5432", ErrUnfit)

// protocolViolation is PgBouncer's SQLSTATE for a transaction in statement mode.
const protocolViolation = "08P01"

// checkPooler fails if a pooler gives one server connection to several clients in turn, as
// PgBouncer does in transaction mode. The settings, locks and LISTEN of a session would then
// end up with another client. There is such a pooler if two connections that are open at the
// same time have the same backend, or if the backend of one changes. checkPooler tries three
// times, because other clients of the pooler may take the backend in between.
func (c *Config) checkPooler(ctx context.Context, a *pgconn.PgConn) error {
	b, err := c.connectBare(ctx, Session{})
	if err != nil {
		return err
	}
	defer func() { _ = b.Close(context.WithoutCancel(ctx)) }()
	const backend = "SELECT pg_backend_pid()"
	first := ""
	for range 3 {
		mine, err := queryValue(ctx, a, backend)
		if err != nil {
			return err
		}
		// In transaction mode b now gets a server connection, most likely the one that a used
		// last, and keeps it until the end of its transaction.
		other, err := queryValue(ctx, b, "BEGIN; "+backend)
		if State(err) == protocolViolation {
			return errPooled
		} else if err != nil {
			return err
		}
		shared := other == mine
		if !shared {
			again, err := queryValue(ctx, a, backend)
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

// queryValue returns the single value of the last statement in query, or "" if it has none.
func queryValue(ctx context.Context, pg *pgconn.PgConn, query string) (string, error) {
	results, err := pg.Exec(ctx, query).ReadAll()
	if err != nil {
		return "", connectError(err)
	}
	if last := results[len(results)-1]; len(last.Rows) == 1 {
		return string(last.Rows[0][0]), nil
	}
	return "", nil
}
