package redis

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/falconalert/falconbridge/bridge"
)

// listen is one session: one connection, from its start until it ends.
//
// go-redis would reconnect a subscription by itself, but not report it, and with one
// command that names every channel. So a session's client may connect only once,
// and whatever goes wrong ends the session: after a timeout, too, the reader may
// stand in the middle of a message.
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

// detect finds out whether the server knows sharded publish and subscribe, and
// is no cluster: there a channel lives on one node, while the plain kind goes
// anywhere. All nodes ask the same server, so all come to the same answer.
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

// knowsSharded is false where the server refuses to say.
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

// The payloads of our PINGs. Redis responds in order, so the response to one confirms every
// subscription before it.
const (
	pingStart = "start" // everything that was watched at the start
	pingMore  = "more"  // users who came later
	pingProbe = "probe"
)

func (s *session) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { s.sub.Close() })
	defer stop()
	if err := s.subscribe(ctx, true, s.b.everybody()); err != nil {
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

// read takes what the server sends until the connection ends.
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
	subscribeBatch   = 512         // channels of one command
	reconnectedEvery = time.Second // between two calls of Reconnected for new users
)

// apply subscribes to the users that are watched, first all of them, then what
// changes, and probes. It is the only writer; it returns when ctx or the
// connection ends.
func (s *session) apply(ctx context.Context) {
	subscribed := make(map[bridge.UserID]struct{})
	all := make(map[bridge.UserID]bool)
	for _, u := range s.b.interest.all() {
		all[u] = true
	}
	if _, err := s.change(ctx, subscribed, all); err != nil || s.sub.Ping(ctx, pingStart) != nil {
		return
	}
	probe := time.NewTicker(s.b.probe)
	defer probe.Stop()
	due := time.NewTimer(0)
	defer due.Stop()
	var last time.Time // when new users were last followed by a PING
	news := false
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
			if more && !news {
				news = true
				due.Reset(time.Until(last.Add(reconnectedEvery)))
			}
		case <-due.C:
			if news {
				news, last = false, time.Now()
				err = s.sub.Ping(ctx, pingMore)
			}
		}
		if err != nil {
			return
		}
	}
}

// change subscribes and unsubscribes as to says and notes it in subscribed. more
// reports that a user is new.
func (s *session) change(ctx context.Context, subscribed map[bridge.UserID]struct{}, to map[bridge.UserID]bool) (more bool, err error) {
	var add, drop []string
	for u, wanted := range to {
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

// subscribe writes commands of at most subscribeBatch channels each, without
// waiting for answers.
func (s *session) subscribe(ctx context.Context, on bool, channels ...string) error {
	command := s.sub.Unsubscribe
	switch {
	case on && s.sharded:
		command = s.sub.SSubscribe
	case on:
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
