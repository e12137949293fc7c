package db

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
	"github.com/uptrace/bun/driver/pgdriver"
)

func init() { pgdriver.Logger = driverLog{} }

// driverLog keeps pgdriver's remarks out of stderr. Each comes with an error
// that a caller handles.
type driverLog struct{}

func (driverLog) Printf(ctx context.Context, format string, v ...any) {
	slog.DebugContext(ctx, fmt.Sprintf(format, v...), "component", "pgdriver")
}

// openPostgres opens two pools, so that reads never keep an append waiting for a
// connection: one for the committer, one for all else.
func (d *DB) openPostgres() error {
	conf, err := postgresConfig(d.o.URL)
	if err != nil {
		return err
	}
	// The server gives up first: a client that hangs up leaves a backend waiting
	// for its lock otherwise, and then committing. lock_timeout covers row locks
	// of an application; statement_timeout what else could hang.
	conf.ConnParams = map[string]any{
		"lock_timeout":                        "1600ms",
		"statement_timeout":                   "2500ms",
		"idle_in_transaction_session_timeout": "5000ms",
		"jit":                                 "off",
		// Ranges of an index are read in its order here, with a LIMIT; a bitmap
		// would only be sorted again.
		"enable_bitmapscan": "off",
	}
	d.dialect = Postgres
	d.read = pool(conf, d.o.Conns)
	d.write = d.read
	d.log = pool(conf, d.o.Writers+waiters)
	return nil
}

// pool opens a pool of at most n connections over conf.
func pool(conf pgdriver.Config, n int) *bun.DB {
	db := sql.OpenDB(connector{pgdriver.NewConnector(pgdriver.WithConfig(&conf))})
	db.SetMaxOpenConns(n)
	db.SetMaxIdleConns(n)
	db.SetConnMaxIdleTime(5 * time.Minute)
	db.SetConnMaxLifetime(30 * time.Minute) // a promoted standby or a new address is found by then
	return bun.NewDB(db, pgdialect.New())
}

// connector turns what the driver says when it cannot connect into a network
// error, which [fail] knows.
type connector struct{ *pgdriver.Connector }

func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	cn, err := c.Connector.Connect(ctx)
	if err == nil {
		return cn, nil
	}
	if _, answered := errors.AsType[pgdriver.Error](err); answered {
		return nil, err
	}
	return nil, &connectError{err}
}

type connectError struct{ err error }

func (e *connectError) Error() string { return "connect: " + e.err.Error() }
func (e *connectError) Unwrap() error { return e.err }

func postgresConfig(raw string) (pgdriver.Config, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return pgdriver.Config{}, errors.New("the database URL cannot be read: write postgres://user:password@host:port/name")
	}
	q := u.Query()
	if q.Get("sslmode") == "" && (loopback(u.Hostname()) || q.Get("host") != "") {
		q.Set("sslmode", "disable")
		u.RawQuery = q.Encode()
	}
	c, err := pgdriver.NewDriver().OpenConnector(u.String())
	if err != nil {
		// Not wrapped: the driver's error repeats the URL with its password.
		return pgdriver.Config{}, errors.New("the database URL has an option that cannot be used, see sslmode and sslrootcert")
	}
	conf := *c.(*pgdriver.Connector).Config()
	conf.AppName = "falconbridge"
	conf.EnableTracing = false
	conf.BufferSize = 32 << 10
	conf.ReadTimeout = 3 * time.Second // what no shorter context bounds
	conf.WriteTimeout = 3 * time.Second
	conf.ResetSessionFunc = alive
	dialer := net.Dialer{
		Timeout:         CallLimit,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3},
	}
	conf.Dialer = dialer.DialContext
	return conf, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || host == "" || (ip != nil && ip.IsLoopback())
}

// alive is asked before a pooled connection is used again: one that the server
// closed meanwhile is replaced instead of failing a call.
func alive(_ context.Context, cn *pgdriver.Conn) error {
	if hungUp(cn.Conn()) {
		return driver.ErrBadConn
	}
	return nil
}
