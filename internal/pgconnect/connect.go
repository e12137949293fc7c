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

// Session describes how a connection is set up.
type Session struct {
	// Part is appended to application_name, which is that of the connection string or
	// else falconbridge.
	Part     string
	Settings []Setting // override all other settings

	// Notified is called for each notification that arrives while the connection waits for
	// one or runs a statement; nil drops them.
	Notified func(channel, payload string)
}

// Options are what the connections of a pool have in common.
type Options struct {
	Session

	// ReadTimeout and WriteTimeout bound each read and write whose context does not end
	// earlier; 0 means 3 s.
	ReadTimeout, WriteTimeout time.Duration

	// Reset is called before a pooled connection is used again. If it fails with
	// driver.ErrBadConn the connection is replaced.
	Reset func(context.Context, *pgdriver.Conn) error

	// Short is called with the number of open connections when the server refuses another
	// one (SQLSTATE 53300).
	Short func(open int)
}

// Connector is a driver.Connector that counts its open connections.
type Connector struct {
	config *Config
	o      Options
	driver *pgdriver.Connector
	open   atomic.Int64
}

// Connector returns a connector to the server that c describes.
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
		User:             "pgconn", // not used: pgconn logs in, see loggedIn
		ReadTimeout:      limit(o.ReadTimeout),
		WriteTimeout:     limit(o.WriteTimeout),
		ResetSessionFunc: o.Reset,
		BufferSize:       32 << 10,
		UnsafeStrings:    true, // safe, because set fixes standard_conforming_strings and client_encoding
	}))
	return n
}

// Driver implements driver.Connector.
func (n *Connector) Driver() driver.Driver { return n.driver.Driver() }

// Connect implements driver.Connector. Its error is an [*Error], with one exception. If the
// server accepts no more connections while this pool has some, it returns driver.ErrBadConn:
// then database/sql tries again and, since Short has lowered the pool's limit, waits for one
// of the open connections.
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
		// Other clients have all connections; one of them may become free in time.
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(pause()):
		}
	}
}

// dial connects and logs in. pgdriver calls it to get a network connection.
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

// Connect logs in to the first host that accepts the login and matches target_session_attrs,
// and applies the settings. Its error is an [*Error].
func (c *Config) Connect(ctx context.Context, s Session) (*pgconn.PgConn, error) {
	pg, err := c.bare(ctx, s)
	if err != nil {
		return nil, err
	}
	if err := c.set(ctx, pg, s.Settings); err != nil {
		_ = pg.Close(ctx)
		return nil, connectError(fmt.Errorf("set up the session: %w", err))
	}
	return pg, nil
}

// bare is like Connect, but applies no settings.
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
		// SCRAM needs the prepared password, older methods the password as it was typed.
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

// loggedIn hands a connection that pgconn has logged in over to pgdriver, which begins every
// connection with a startup message. That message is dropped, and the response to it is made
// up, see welcome.
type loggedIn struct {
	net.Conn
	started bool
	reply   []byte
	once    sync.Once
	closed  func()
}

// welcome returns a server's response to a startup message that needs no password:
// AuthenticationOk, BackendKeyData and ReadyForQuery (PostgreSQL manual, 55.7).
func welcome(pid uint32) []byte {
	b := []byte{'R', 0, 0, 0, 8, 0, 0, 0, 0, 'K', 0, 0, 0, 12}
	b = binary.BigEndian.AppendUint32(b, pid)
	return append(b, 0, 0, 0, 0, 'Z', 0, 0, 0, 5, 'I')
}

// Write drops the first write, which is pgdriver's whole startup message.
func (l *loggedIn) Write(b []byte) (int, error) {
	if l.started {
		return l.Conn.Write(b)
	}
	l.started = true
	return len(b), nil
}

// Read returns the welcome first, and then what the server sends.
func (l *loggedIn) Read(b []byte) (int, error) {
	if len(l.reply) == 0 {
		return l.Conn.Read(b)
	}
	n := copy(b, l.reply)
	l.reply = l.reply[n:]
	return n, nil
}

// Close closes the connection and, at its first call, uncounts it.
func (l *loggedIn) Close() error {
	l.once.Do(l.closed)
	return l.Conn.Close()
}

// NetConn returns the underlying connection.
func (l *loggedIn) NetConn() net.Conn { return l.Conn }
