package redis

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/falconalert/falconbridge/bridge"
)

// listen runs one session, which is one connection from its start to its end.
//
// go-redis would reconnect a subscription by itself, but without reporting that, and with a single
// command that names every channel. Therefore the client of a session may connect only once, and
// any error ends the session. Timeouts do as well, because after one the reader may be in the middle
// of a message.
func (b *Bus) listen(ctx context.Context, h bridge.HintHandler, up func()) error {
	sharded, err := b.detect(ctx)
	if err != nil {
		return err
	}
	client := b.client(ctx, true)
	defer client.Close()
	s := &session{b: b, h: h, up: up, sharded: sharded}
	s.sub = client.Subscribe(ctx) // connects with the first command
	return s.run(ctx)
}

// detect finds out whether to use sharded publish and subscribe. The server must support it and
// must not be a cluster, where a sharded channel belongs to one cluster node, while a plain message
// reaches subscribers at every cluster node. All nodes of falconbridge ask the same server, so they
// decide alike.
func (b *Bus) detect(ctx context.Context) (sharded bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	client := b.client(ctx, false)
	defer client.Close()
	if err := client.Ping(ctx).Err(); err != nil {
		return false, fmt.Errorf("connect to Redis: %w", err)
	}
	if !b.plain {
		sharded = knowsSharded(ctx, client)
	}
	b.sharded.Store(sharded)
	b.once.Do(func() { close(b.known) })
	return sharded, nil
}

// knowsSharded reports whether the server supports sharded publish and subscribe and is not a
// cluster. It returns false if the server refuses the commands that would show this.
func knowsSharded(ctx context.Context, client *redis.Client) bool {
	server, err := client.InfoMap(ctx, "server").Result()
	if err != nil || server["Server"]["redis_mode"] == "cluster" {
		return false
	}
	commands, err := client.Do(ctx, "COMMAND", "INFO", "ssubscribe", "spublish").Slice()
	if err != nil || len(commands) != 2 {
		return false
	}
	return commands[0] != nil && commands[1] != nil
}

// session is one connection that listens.
type session struct {
	b       *Bus
	h       bridge.HintHandler
	up      func()
	sub     *redis.PubSub
	sharded bool
}

// The payloads of this package's PINGs. Redis responds in order, so the response to a PING confirms
// every subscription that was sent before the PING.
const (
	pingStart = "start" // sent after the subscriptions for all users watched at the start
	pingMore  = "more"  // sent after subscriptions for more users
	pingProbe = "probe"
)

func (s *session) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { s.sub.Close() })
	defer stop()
	if err := s.subscribe(ctx, true, s.b.common()); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	var applying sync.WaitGroup
	applying.Go(func() {
		defer cancel() // ends the reader
		s.apply(ctx)
	})
	err := s.read(ctx)
	cancel()
	applying.Wait()
	return err
}

// read handles what the server sends until the connection ends. It fails if nothing arrives for
// two probes.
func (s *session) read(ctx context.Context) error {
	for {
		m, err := s.sub.ReceiveTimeout(ctx, 2*s.b.probe)
		if err != nil {
			return fmt.Errorf("listen: %w", err)
		}
		switch m := m.(type) {
		case *redis.Message:
			s.b.Deliver([]byte(m.Payload), s.h)
		case *redis.Pong:
			switch m.Payload {
			case pingStart:
				s.up()
				s.h.Reconnected()
			case pingMore:
				s.h.Reconnected()
			}
		}
	}
}

const (
	subscribeBatch   = 512         // channels per command
	reconnectedEvery = time.Second // the least time between two calls of Reconnected for new users
)

// apply subscribes to the channels of all watched users, then applies changes of the watched users
// and sends probes. No other goroutine writes to the connection meanwhile. It returns when ctx or
// the connection ends.
func (s *session) apply(ctx context.Context) {
	subscribed := make(map[bridge.UserID]struct{})
	all := make(map[bridge.UserID]bool)
	for _, u := range s.b.interest.allWatched() {
		all[u] = true
	}
	if _, err := s.change(ctx, subscribed, all); err != nil || s.sub.Ping(ctx, pingStart) != nil {
		return
	}
	probe := time.NewTicker(s.b.probe)
	defer probe.Stop()
	due := time.NewTimer(0)
	defer due.Stop()
	var last time.Time // when the last PING after new users was sent
	pending := false   // whether such a PING has yet to be sent
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case <-probe.C:
			err = s.sub.Ping(ctx, pingProbe)
		case <-s.b.interest.wake:
			var more bool
			more, err = s.change(ctx, subscribed, s.b.interest.drain())
			if more && !pending {
				pending = true
				due.Reset(time.Until(last.Add(reconnectedEvery)))
			}
		case <-due.C:
			if pending {
				pending, last = false, time.Now()
				err = s.sub.Ping(ctx, pingMore)
			}
		}
		if err != nil {
			return
		}
	}
}

// change subscribes to the channels of the users who are wanted, unsubscribes from those of the
// users who are not, and updates subscribed. more reports whether it subscribed to any channel.
func (s *session) change(ctx context.Context, subscribed map[bridge.UserID]struct{}, users map[bridge.UserID]bool) (more bool, err error) {
	var add, drop []string
	for u, wanted := range users {
		switch _, have := subscribed[u]; {
		case wanted && !have:
			subscribed[u] = struct{}{}
			add = append(add, s.b.channel(u))
		case !wanted && have:
			delete(subscribed, u)
			drop = append(drop, s.b.channel(u))
		}
	}
	if err := s.subscribe(ctx, false, drop...); err != nil {
		return false, err
	}
	return len(add) > 0, s.subscribe(ctx, true, add...)
}

// subscribe subscribes to channels, or unsubscribes from them if add is false. It sends commands of
// at most subscribeBatch channels each, and does not wait for the responses.
func (s *session) subscribe(ctx context.Context, add bool, channels ...string) error {
	command := s.sub.Unsubscribe
	switch {
	case add && s.sharded:
		command = s.sub.SSubscribe
	case add:
		command = s.sub.Subscribe
	case s.sharded:
		command = s.sub.SUnsubscribe
	}
	for len(channels) > 0 {
		n := min(len(channels), subscribeBatch)
		if err := command(ctx, channels[:n]...); err != nil {
			return err
		}
		channels = channels[n:]
	}
	return nil
}
