package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync"
	"time"

	"github.com/uptrace/bun/driver/pgdriver"
)

// dialLimit bounds connecting and logging in.
const dialLimit = 5 * time.Second

// config reads the URL as db does: without sslmode, TLS is left out on loopback
// and on a Unix socket only.
func config(raw string) (pgdriver.Config, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return pgdriver.Config{}, errors.New("the bus cannot read the database URL: write postgres://user:password@host:port/name")
	}
	q := u.Query()
	if q.Get("sslmode") == "" && (loopback(u.Hostname()) || q.Get("host") != "") {
		q.Set("sslmode", "disable")
		u.RawQuery = q.Encode()
	}
	c, err := pgdriver.NewDriver().OpenConnector(u.String())
	if err != nil {
		// Not wrapped: the driver's error repeats the URL with its password.
		return pgdriver.Config{}, errors.New("the bus cannot use an option of the database URL, see sslmode and sslrootcert")
	}
	conf := *c.(*pgdriver.Connector).Config()
	conf.AppName = "falconbridge bus"
	conf.EnableTracing = false
	conf.ReadTimeout, conf.WriteTimeout = dialLimit, dialLimit
	return conf, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || host == "" || ip != nil && ip.IsLoopback()
}

// login is a connection that ends with a context.
type login struct {
	*pgdriver.Conn
	stop func() bool
}

// Close closes the connection and forgets the context.
func (l *login) Close() error {
	l.stop()
	return l.Conn.Close()
}

// dial connects and logs in. The connection is closed when ctx ends, whatever it
// is doing then: pgdriver follows a context's deadline, not its end, and does
// not close what it dialled when the login fails.
func (b *Bus) dial(ctx context.Context) (*login, error) {
	limited, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	conf := b.conf
	var mu sync.Mutex
	var dialled net.Conn
	conf.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		d := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}}
		c, err := d.DialContext(ctx, network, addr)
		mu.Lock()
		defer mu.Unlock()
		dialled = c
		return c, err
	}
	hangUp := func() {
		mu.Lock()
		defer mu.Unlock()
		if dialled != nil {
			_ = dialled.Close()
		}
	}
	stop := context.AfterFunc(ctx, hangUp)
	c, err := pgdriver.NewConnector(pgdriver.WithConfig(&conf)).Connect(limited)
	if err != nil {
		stop()
		hangUp()
		return nil, fmt.Errorf("connect to Postgres: %w", err)
	}
	return &login{c.(*pgdriver.Conn), stop}, nil
}
