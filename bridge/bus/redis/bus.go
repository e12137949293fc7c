// Package redis is the bus over Redis publish and subscribe, for clusters whose
// database should carry no hints.
//
// Every user has a channel, and a node subscribes to those of the users it has
// connected ([bridge.Interest]), so what a node receives grows with its own users
// only. In addition there is one channel that all nodes hear: on it a node announces, a
// few times a second at most, that it appended anything at all, which is what
// subscribers to all users' topics wait for.
//
// Where the server knows sharded publish and subscribe (Redis 7), that is used;
// on a Redis Cluster the plain one, which any of its nodes takes and all of them
// pass on. Publish and subscribe ignore the database number, so the channels'
// names hold it.
//
// Postgres alone announces what an application appends by SQL (falcon_notify): with this
// bus it waits for the sweep.
package redis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/bus"
)

// Options sets up a Bus.
type Options struct {
	URL    string       // redis://user:password@host:port/database, or rediss:// over TLS
	Node   string       // this node's name, as hints carry it; required
	Logger *slog.Logger // nil means slog.Default

	// Probe is how often the server is asked whether it is still there. A
	// connection whose other end is gone is given up within twice of it. 0 means
	// 5s.
	Probe time.Duration
	Queue int  // hints that may wait to be sent; 0 means 16384
	Plain bool // no sharded publish and subscribe, even where the server knows it
}

// Bus implements [bridge.Bus] and [bridge.Interest].
type Bus struct {
	*bus.Client
	plain  bool
	probe  time.Duration
	opt    *redis.Options
	prefix string // of every channel

	interest interest
	sharded  atomic.Bool   // as the last session found
	known    chan struct{} // closed when sharded was found once
	once     sync.Once
}

// callLimit bounds connecting and one command.
const callLimit = 2 * time.Second

// New returns a bus over o. It does not connect yet; it fails for a URL that
// cannot be used.
func New(o Options) (*Bus, error) {
	if o.Node == "" {
		return nil, errors.New("the Redis bus needs the node's name")
	}
	opt, err := parse(o.URL)
	if err != nil {
		return nil, err
	}
	b := &Bus{
		Client: bus.NewClient(o.Node, o.Logger, cmp.Or(o.Queue, 16384)),
		plain:  o.Plain,
		probe:  cmp.Or(o.Probe, 5*time.Second),
		opt:    opt,
		prefix: fmt.Sprintf("falcon:%d:", opt.DB),
		known:  make(chan struct{}),
	}
	b.interest.init()
	return b, nil
}

// parse reads the URL. Its errors do not repeat it: it may hold a password.
func parse(url string) (*redis.Options, error) {
	if !strings.HasPrefix(url, "redis://") && !strings.HasPrefix(url, "rediss://") {
		return nil, errors.New("the bus URL is written redis://user:password@host:port/database, or rediss:// for TLS")
	}
	opt, err := redis.ParseURL(url)
	if err != nil {
		return nil, errors.New("the bus URL cannot be read, or has an option that is not known")
	}
	opt.Protocol = 2 // all that is needed, and understood by every server
	opt.DialTimeout, opt.ReadTimeout, opt.WriteTimeout = callLimit, callLimit, callLimit
	opt.ContextTimeoutEnabled = true
	opt.MaxRetries = -1 // a hint is not worth a second try, nor is a rate
	opt.DialerRetries = 1
	opt.PoolSize = 2
	opt.MinIdleConns = 0
	opt.DisableIdentity = true
	opt.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return opt, nil
}

// everybody is the channel that every node hears. It is no user's channel: those have
// another prefix.
func (b *Bus) everybody() string { return b.prefix + "all" }

// channel is what nodes that have u connected hear.
func (b *Bus) channel(u bridge.UserID) string { return b.prefix + "user:" + string(u) }

// Publish sends hints to the nodes that have their users connected.
func (b *Bus) Publish(hints ...bridge.Hint) {
	for _, h := range hints {
		b.Enqueue(h)
	}
}

// Watch begins to listen for u. It does not block: hints are lost until the server has
// subscribed, and the handler's Reconnected is called then.
func (b *Bus) Watch(u bridge.UserID) { b.interest.set(u, true) }

// Unwatch ends listening for u. It does not block.
func (b *Bus) Unwatch(u bridge.UserID) { b.interest.set(u, false) }

// Run listens and sends until ctx ends.
func (b *Bus) Run(ctx context.Context, h bridge.HintHandler) error {
	return b.Client.Run(ctx, func(ctx context.Context, up func()) error { return b.listen(ctx, h, up) }, b.send)
}
