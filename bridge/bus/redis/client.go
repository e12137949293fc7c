package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

func init() { redis.SetLogger(clientLog{}) }

// clientLog writes go-redis's messages to the debug log instead of stderr. Each message accompanies
// an error that is returned to a caller.
type clientLog struct{}

func (clientLog) Printf(ctx context.Context, format string, v ...any) {
	slog.DebugContext(ctx, fmt.Sprintf(format, v...), "component", "redis")
}

// errSessionOver is the error of dialing when the client of a session tries to reconnect.
var errSessionOver = errors.New("the connection was lost")

// client returns a client whose connections are closed when life ends, even in the middle of a
// call. go-redis itself respects a context's deadline, but does not interrupt a read when the
// context is cancelled. If once is true, the client connects only once.
func (b *Bus) client(life context.Context, once bool) *redis.Client {
	opt := *b.opt
	var used atomic.Bool
	opt.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if used.Swap(true) && once {
			return nil, errSessionOver
		}
		// The context of connections that the pool opens by itself has no deadline.
		ctx, cancel := context.WithTimeout(ctx, callLimit)
		defer cancel()
		defer context.AfterFunc(life, cancel)()
		c, err := b.dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &boundConn{Conn: c, stop: context.AfterFunc(life, func() { c.Close() })}, nil
	}
	return redis.NewClient(&opt)
}

func (b *Bus) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	d := &net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}}
	if b.opt.TLSConfig == nil {
		return d.DialContext(ctx, network, addr)
	}
	return (&tls.Dialer{NetDialer: d, Config: b.opt.TLSConfig}).DialContext(ctx, network, addr)
}

// boundConn is a connection that is closed when a context ends.
type boundConn struct {
	net.Conn
	stop func() bool // releases the context
}

// Close closes the connection.
func (c *boundConn) Close() error {
	c.stop()
	return c.Conn.Close()
}
