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

// driverLog sends pgdriver's messages to the debug log instead of stderr. Each of them
// accompanies an error that a caller handles.
type driverLog struct{}

func (driverLog) Printf(ctx context.Context, format string, v ...any) {
	slog.DebugContext(ctx, fmt.Sprintf(format, v...), "component", "pgdriver")
}

// busConns is how many connections the bus over LISTEN and NOTIFY uses: one to receive
// and one to send.
const busConns = 2

// openPostgres opens two pools, one for the committer and one for everything else, so
// that an append never waits for a connection that a read is using.
func (d *DB) openPostgres(ctx context.Context) error {
	conf, err := pgconnect.Parse(d.o.URL)
	if err != nil {
		return fmt.Errorf("the database URL %w", err)
	}
	d.dialect, d.server = Postgres, conf
	probeCtx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	found, err := conf.Probe(probeCtx)
	if err != nil {
		return d.openError("ping", err)
	}
	if found.Plain {
		d.o.Logger.Warn("the connection to Postgres is not encrypted; set up TLS on the server and write sslmode=verify-full, "+
			"or sslmode=disable where the network is safe", "component", "db")
	}
	maxConns := d.o.MaxConns
	if found.Limit > 0 && found.Limit < maxConns {
		maxConns = found.Limit
		d.o.Logger.Warn("Postgres allows fewer connections than configured", "component", "db", "setting", "--db-max-connections", "is", d.o.MaxConns, "allowed", maxConns)
	}
	d.shareConns(maxConns)
	// The server's time limits are shorter than the client's patience. If a client hung
	// up first, its backend would go on waiting for the lock, and then commit.
	// lock_timeout covers rows that an application has locked, statement_timeout
	// everything else that may hang.
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

// shareConns divides at most n connections: first those of the bus, then up to a third
// for the committer, and the rest, which is the largest part, for everything else.
func (d *DB) shareConns(n int) {
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
		Reset:   checkAlive,
		OnRefused: func(open int) {
			// Calls then wait for one of the open connections, see watchPools.
			if open > 0 {
				db.SetMaxOpenConns(open)
			}
			d.short.Store(true)
		},
	}))
	resize(db, n)
	db.SetConnMaxIdleTime(5 * time.Minute)
	db.SetConnMaxLifetime(30 * time.Minute) // a promoted standby or a new address is found by then
	return d.withHooks(bun.NewDB(db, pgdialect.New()))
}

// checkAlive is called before a pooled connection is reused. One that the server has
// closed meanwhile is replaced instead of failing a call.
func checkAlive(_ context.Context, cn *pgdriver.Conn) error {
	if hungUp(cn.Conn()) {
		return driver.ErrBadConn
	}
	return nil
}

// checkSearchPath fails if statements would find the tables in another schema than the
// one where migrations would create them. With search_path=staging,public, for example,
// a staging server whose schema is still empty would use production's tables.
func (d *DB) checkSearchPath(ctx context.Context) error {
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
		return fmt.Errorf("open the postgres database: there is no schema to create the tables in; create one, or correct search_path")
	case found.Valid && found.String != own.String:
		return fmt.Errorf("open the postgres database: the tables found are in schema %s, but new ones would be created in %s; name only one of them in search_path",
			found.String, own.String)
	}
	return nil
}
