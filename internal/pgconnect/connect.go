package pgconnect

import (
	"context"
	"database/sql/driver"
	"encoding/binary"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/uptrace/bun/driver/pgdriver"
)

// Session is what a connection is for.
type Session struct {
	// Part is appended to the application's name, which is the connection
	// string's or falconbridge.
	Part     string
	Settings []Setting // of the session, over all others

	// Notified is called with each notification while the connection is waited
	// for or asked; nil drops them.
	Notified func(channel, payload string)
}

// Options are what the connections of a pool have in common.
type Options struct {
	Session

	// ReadTimeout and WriteTimeout bound each read and write that no shorter
	// context bounds; 0 means 3s.
	ReadTimeout, WriteTimeout time.Duration

	// Reset is asked before a pooled connection is used again.
	Reset func(context.Context, *pgdriver.Conn) error

	// Short is called where the server refuses one more connection
	// (SQLSTATE 53300), with the number of those there are.
	Short func(open int)
}

// Connector connects for database/sql, and counts its connections.
type Connector struct {
	config *Config
	o      Options
	driver *pgdriver.Connector
	open   atomic.Int64
}

// Connector returns a connector to c.
func (c *Config) Connector(o Options) *Connector {
	limit := func(d time.Duration) time.Duration {
		if d == 0 {
			return 3 * time.Second
		}
		return d
	}
	n := &Connector{config: c, o: o}
	n.driver = pgdriver.NewConnector(pgdriver.WithConfig(&pgdriver.Config{
		Dialer:           n.dial,
		User:             "pgconn", // has logged in already, see loggedIn
		ReadTimeout:      limit(o.ReadTimeout),
		WriteTimeout:     limit(o.WriteTimeout),
		ResetSessionFunc: o.Reset,
		BufferSize:       32 << 10,
		UnsafeStrings:    true, // as [Config] pins standard_conforming_strings and client_encoding itself
	}))
	return n
}

// Driver implements driver.Connector.
func (n *Connector) Driver() driver.Driver { return n.driver.Driver() }

// Connect implements driver.Connector. Its error is an [*Error], or
// driver.ErrBadConn where the server takes no more connections and this pool has
// some: database/sql then asks again, and waits for one of those where Short has
// lowered the pool's limit.
func (n *Connector) Connect(ctx context.Context) (driver.Conn, error) {
	for {
		conn, err := n.driver.Connect(ctx)
		if err == nil {
			return conn, nil
		}
		if State(err) != tooMany {
			return nil, err
		}
		open := int(n.open.Load())
		if n.o.Short != nil {
			n.o.Short(open)
		}
		if open > 0 {
			return nil, driver.ErrBadConn
		}
		// Others have them all: one of theirs may become free in time.
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(pause()):
		}
	}
}

// dial connects and logs in, for pgdriver.
func (n *Connector) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	pg, err := n.config.Connect(ctx, n.o.Session)
	if err != nil {
		return nil, err
	}
	if err := pg.SyncConn(ctx); err != nil {
		_ = pg.Close(ctx)
		return nil, connectError(err)
	}
	h, err := pg.Hijack()
	if err != nil {
		_ = pg.Close(ctx)
		return nil, connectError(err)
	}
	n.open.Add(1)
	return &loggedIn{Conn: h.Conn, reply: welcome(h.PID), closed: func() { n.open.Add(-1) }}, nil
}

// Connect logs in to the first host that takes the login and is what
// target_session_attrs wants, and sets the session up. Its error is an [*Error].
func (c *Config) Connect(ctx context.Context, s Session) (*pgconn.PgConn, error) {
	pg, err := c.bare(ctx, s)
	if err != nil {
		return nil, err
	}
	if err := c.set(ctx, pg, s.Settings); err != nil {
		_ = pg.Close(ctx)
		return nil, connectError(fmt.Errorf("set the session up: %w", err))
	}
	return pg, nil
}

// bare is Connect without the session's settings.
func (c *Config) bare(ctx context.Context, s Session) (*pgconn.PgConn, error) {
	login := c.login.Copy()
	name := login.RuntimeParams["application_name"]
	if name == "" {
		name = "falconbridge"
	}
	if s.Part != "" {
		name += " " + s.Part
	}
	if s.Notified != nil {
		login.OnNotification = func(_ *pgconn.PgConn, n *pgconn.Notification) { s.Notified(n.Channel, n.Payload) }
	}
	login.RuntimeParams["application_name"] = name
	if c.prepared != "" {
		// SCRAM wants the prepared password, older methods the one that was typed.
		prepared := login.Copy()
		prepared.Password = c.prepared
		pg, err := pgconn.ConnectConfig(ctx, prepared)
		if err == nil {
			return pg, nil
		}
		if err := connectError(err); State(err) != wrongPassword {
			return nil, err
		}
	}
	pg, err := pgconn.ConnectConfig(ctx, login)
	if err != nil {
		return nil, connectError(err)
	}
	return pg, nil
}

// loggedIn is a connection that pgconn has logged in, for pgdriver, which begins
// every connection with a startup message: it is swallowed, and answered with
// welcome.
type loggedIn struct {
	net.Conn
	started bool
	reply   []byte
	once    sync.Once
	closed  func()
}

// welcome is what a server answers to a startup message that needs no password:
// AuthenticationOk, BackendKeyData and ReadyForQuery (PostgreSQL manual, 55.7).
func welcome(pid uint32) []byte {
	b := []byte{'R', 0, 0, 0, 8, 0, 0, 0, 0, 'K', 0, 0, 0, 12}
	b = binary.BigEndian.AppendUint32(b, pid)
	return append(b, 0, 0, 0, 0, 'Z', 0, 0, 0, 5, 'I')
}

// Write drops the startup message, which pgdriver writes in one piece.
func (l *loggedIn) Write(b []byte) (int, error) {
	if l.started {
		return l.Conn.Write(b)
	}
	l.started = true
	return len(b), nil
}

// Read reads the welcome, then the connection.
func (l *loggedIn) Read(b []byte) (int, error) {
	if len(l.reply) == 0 {
		return l.Conn.Read(b)
	}
	n := copy(b, l.reply)
	l.reply = l.reply[n:]
	return n, nil
}

// Close closes the connection, once.
func (l *loggedIn) Close() error {
	l.once.Do(l.closed)
	return l.Conn.Close()
}

// NetConn is the connection under this one.
func (l *loggedIn) NetConn() net.Conn { return l.Conn }
