package db

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"log/slog"
	"time"

	"github.com/falconalert/falconbridge/internal/pgconnect"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
	"github.com/uptrace/bun/driver/pgdriver"
)

func init() { pgdriver.Logger = driverLog{} }

// driverLog keeps pgdriver's log off stderr. Each message comes with an error that a
// caller handles.
type driverLog struct{}

func (driverLog) Printf(ctx context.Context, format string, v ...any) {
	slog.DebugContext(ctx, fmt.Sprintf(format, v...), "component", "pgdriver")
}

// busConns is how many connections the bus over LISTEN and NOTIFY uses: one to receive, one
// to send.
const busConns = 2

// openPostgres opens two pools, so that reads never keep an append waiting for a
// connection: one for the committer, one for all else.
func (d *DB) openPostgres(ctx context.Context) error {
	conf, err := pgconnect.Parse(d.o.URL)
	if err != nil {
		return fmt.Errorf("the database URL %w", err)
	}
	d.dialect, d.server = Postgres, conf
	looking, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	found, err := conf.Look(looking)
	if err != nil {
		return d.openError("ping", err)
	}
	if found.Plain {
		d.o.Logger.Warn("the connection to Postgres is not encrypted; set up TLS on the server and write sslmode=verify-full, "+
			"or sslmode=disable where the network is safe", "component", "db")
	}
	most := d.o.MaxConns
	if found.Limit > 0 && found.Limit < most {
		most = found.Limit
		d.o.Logger.Warn("Postgres allows fewer connections than set", "component", "db", "setting", "--db-max-connections", "is", d.o.MaxConns, "allowed", most)
	}
	d.share(most)
	// The server gives up first: a client that hangs up leaves a backend waiting
	// for its lock otherwise, and then committing. lock_timeout covers row locks
	// of an application; statement_timeout what else could hang.
	limits := []pgconnect.Setting{
		{Name: "lock_timeout", Value: "1600ms"},
		{Name: "statement_timeout", Value: "2500ms"},
		{Name: "idle_in_transaction_session_timeout", Value: "5000ms"},
	}
	d.read = d.pool(d.reads, limits)
	d.write = d.read
	d.log = d.pool(d.appends, limits)
	return nil
}

// share divides at most n connections: those of the bus, the committer's, and
// the rest, which gets most.
func (d *DB) share(n int) {
	if d.o.Bus {
		n -= busConns
	}
	d.appends = min(max(1, n/3), d.o.Writers+waiters)
	d.reads = max(1, n-d.appends)
	if d.o.Writers > 1 {
		d.o.Writers = max(1, min(d.o.Writers, d.appends-1))
	}
	d.waiters = max(1, d.appends-d.o.Writers)
}

// pool opens a pool of at most n connections.
func (d *DB) pool(n int, settings []pgconnect.Setting) *bun.DB {
	var db *sql.DB
	db = sql.OpenDB(d.server.Connector(pgconnect.Options{
		Session: pgconnect.Session{Settings: settings},
		Reset:   alive,
		Short: func(open int) {
			// A call then waits for one of those there are. See watchPools.
			if open > 0 {
				db.SetMaxOpenConns(open)
			}
			d.short.Store(true)
		},
	}))
	allow(db, n)
	db.SetConnMaxIdleTime(5 * time.Minute)
	db.SetConnMaxLifetime(30 * time.Minute) // a promoted standby or a new address is found by then
	return d.hooked(bun.NewDB(db, pgdialect.New()))
}

// alive is called before a pooled connection is used again, so that one that the server
// closed meanwhile is replaced instead of failing a call.
func alive(_ context.Context, cn *pgdriver.Conn) error {
	if hungUp(cn.Conn()) {
		return driver.ErrBadConn
	}
	return nil
}

// ownSchema fails where the tables that a statement would find are not in the
// schema where a migration would make them: with search_path=staging,public, a
// staging without tables of its own would use production's.
func (d *DB) ownSchema(ctx context.Context) error {
	if d.dialect != Postgres {
		return nil
	}
	var found, own sql.NullString
	err := d.read.QueryRowContext(ctx, "SELECT (SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass(?)), "+
		"current_schema()", migrationTable).Scan(&found, &own)
	switch {
	case err != nil:
		return d.openError("look at the schema", err)
	case !own.Valid:
		return fmt.Errorf("open the postgres database: there is no schema to make the tables in; create one, or correct search_path")
	case found.Valid && found.String != own.String:
		return fmt.Errorf("open the postgres database: the tables found are in schema %s, new ones would be made in %s; name one of them in search_path",
			found.String, own.String)
	}
	return nil
}
