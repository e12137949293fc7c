package pgconnect

import (
	"cmp"
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
	// Part is appended to the application_name of the connection string, or to
	// "falconbridge" if that has none.
	Part     string
	Settings []Setting // override all other settings

	// Notified is called for each notification that arrives while the connection waits for
	// one or runs a statement. If it is nil, notifications are dropped.
	Notified func(channel, payload string)
}

// Options configure the connections of a pool.
type Options struct {
	Session

	// ReadTimeout and WriteTimeout bound each read and each write, unless the deadline of
	// its context is earlier; 0 means 3 s.
	ReadTimeout, WriteTimeout time.Duration

	// Reset is called before a pooled connection is used again. If it fails with
	// driver.ErrBadConn the connection is replaced.
	Reset func(context.Context, *pgdriver.Conn) error

	// OnRefused is called when the server refuses a connection because it has too many
	// (SQLSTATE 53300). open is how many this pool has open.
	OnRefused func(open int)
}

const defaultTimeout = 3 * time.Second

// Connector is a driver.Connector that counts its open connections.
type Connector struct {
	config *Config
	o      Options
	driver *pgdriver.Connector
	open   atomic.Int64
}

// Connector returns a connector to the server that c describes.
func (c *Config) Connector(o Options) *Connector {
	n := &Connector{config: c, o: o}
	n.driver = pgdriver.NewConnector(pgdriver.WithConfig(&pgdriver.Config{
		Dialer:           n.dial,
		User:             "pgconn", // not used: pgconn logs in, see loggedIn
		ReadTimeout:      cmp.Or(o.ReadTimeout, defaultTimeout),
		WriteTimeout:     cmp.Or(o.WriteTimeout, defaultTimeout),
		ResetSessionFunc: o.Reset,
		BufferSize:       32 << 10,
		UnsafeStrings:    true, // safe, because set fixes standard_conforming_strings and client_encoding
	}))
	return n
}

// Driver implements driver.Connector.
func (n *Connector) Driver() driver.Driver { return n.driver.Driver() }

// Connect implements driver.Connector. Its error is an [*Error], with one exception. If the
// server accepts no more connections while this pool has some, it returns driver.ErrBadConn.
// database/sql then tries again and, since OnRefused has lowered the pool's limit, waits for
// one of the open connections.
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
		if n.o.OnRefused != nil {
			n.o.OnRefused(open)
		}
		if open > 0 {
			return nil, driver.ErrBadConn
		}
		// Other clients have all connections, and one may become free before ctx ends.
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
	pg, err := c.connectBare(ctx, s)
	if err != nil {
		return nil, err
	}
	if err := c.set(ctx, pg, s.Settings); err != nil {
		_ = pg.Close(ctx)
		return nil, connectError(fmt.Errorf("set up the session: %w", err))
	}
	return pg, nil
}

// connectBare is like Connect, but applies no settings.
func (c *Config) connectBare(ctx context.Context, s Session) (*pgconn.PgConn, error) {
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
		// SCRAM needs the prepared password, and older methods need the original one.
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

// loggedIn is a connection that pgconn has logged in and that pgdriver takes over. pgdriver
// begins every connection with a startup message. loggedIn drops that message and returns a
// response of its own, see welcome.
type loggedIn struct {
	net.Conn
	started bool
	reply   []byte
	once    sync.Once
	closed  func()
}

// welcome returns a server's response to a startup message if no password is needed. It
// consists of AuthenticationOk, BackendKeyData and ReadyForQuery (PostgreSQL manual, 55.7).
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

// Close closes the connection. The first call also removes it from the Connector's count.
func (l *loggedIn) Close() error {
	l.once.Do(l.closed)
	return l.Conn.Close()
}

// NetConn returns the underlying connection.
func (l *loggedIn) NetConn() net.Conn { return l.Conn }
