// Package redis is the bus over publish and subscribe of Redis, for clusters that want to keep
// hints out of their database.
//
// Every user has a channel, and a node subscribes to the channels of the users who are connected
// to it ([bridge.Interest]), so the number of hints that a node receives depends only on its own
// users. In addition all nodes subscribe to a common channel. A node that has appended anything
// announces that there, at most once per beaconGap, which wakes subscribers to all users' topics.
//
// If the server supports sharded publish and subscribe (Redis 7), that is used. On a Redis
// Cluster plain publish and subscribe is used, which works at any node of the cluster. Publish and
// subscribe ignore the database number, so the names of the channels contain it.
//
// Notifications that an application appends by SQL (falcon_notify) are announced by Postgres only,
// so with this bus other nodes find them by their sweep.
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
	Node   string       // this node's name in its hints; required
	Logger *slog.Logger // nil means slog.Default

	// Probe is how often the server is probed. A connection whose other end is gone is
	// closed within twice that time. 0 means 5 s.
	Probe time.Duration
	Queue int  // how many hints may be queued; 0 means 16384
	Plain bool // do not use sharded publish and subscribe even if the server supports it
}

// Bus implements [bridge.Bus] and [bridge.Interest].
type Bus struct {
	*bus.Client
	plain  bool
	probe  time.Duration
	opt    *redis.Options
	prefix string // of the channels' names

	interest interest
	sharded  atomic.Bool   // whether to use sharded publish and subscribe, as the last session detected
	known    chan struct{} // closed once a session has detected sharded
	once     sync.Once
}

// callLimit bounds connecting and one command.
const callLimit = 2 * time.Second

// New returns a bus over the server at o.URL. It does not connect yet, but fails if the URL is
// invalid.
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

// parse parses the URL. Its errors do not repeat the URL, which may contain a password.
func parse(url string) (*redis.Options, error) {
	if !strings.HasPrefix(url, "redis://") && !strings.HasPrefix(url, "rediss://") {
		return nil, errors.New("the bus URL must be redis://user:password@host:port/database, or rediss:// for TLS")
	}
	opt, err := redis.ParseURL(url)
	if err != nil {
		return nil, errors.New("the bus URL is invalid or has an unknown option")
	}
	opt.Protocol = 2 // sufficient, and understood by every server
	opt.DialTimeout, opt.ReadTimeout, opt.WriteTimeout = callLimit, callLimit, callLimit
	opt.ContextTimeoutEnabled = true
	opt.MaxRetries = -1 // neither a hint nor a rate is worth a retry
	opt.DialerRetries = 1
	opt.PoolSize = 2
	opt.MinIdleConns = 0
	opt.DisableIdentity = true
	opt.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return opt, nil
}

// common returns the channel that every node subscribes to. No user's channel has this name, because
// those have another prefix.
func (b *Bus) common() string { return b.prefix + "all" }

// channel returns the channel of u, to which nodes with connections of u subscribe.
func (b *Bus) channel(u bridge.UserID) string { return b.prefix + "user:" + string(u) }

// Publish sends hints to the nodes that have connections of their users.
func (b *Bus) Publish(hints ...bridge.Hint) {
	for _, h := range hints {
		b.Enqueue(h)
	}
}

// Watch begins to listen for hints of u. It does not block. Hints may be lost until the server has
// confirmed the subscription, and then the handler's Reconnected is called.
func (b *Bus) Watch(u bridge.UserID) { b.interest.set(u, true) }

// Unwatch stops listening for hints of u. It does not block.
func (b *Bus) Unwatch(u bridge.UserID) { b.interest.set(u, false) }

// Run listens and sends until ctx ends.
func (b *Bus) Run(ctx context.Context, h bridge.HintHandler) error {
	return b.Client.Run(ctx, func(ctx context.Context, up func()) error { return b.listen(ctx, h, up) }, b.send)
}
