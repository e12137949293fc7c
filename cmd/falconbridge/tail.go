package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/paho"
	"github.com/eclipse/paho.golang/paho/session/state"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/config"
)

type tailCmd struct {
	client
	User       string  `placeholder:"ID" help:"Whose notifications. Default: the user of the token."`
	ClientID   string  `name:"client-id" placeholder:"ID" help:"Name of this device. Default: a random one, or falconbridge-tail with --persistent."`
	Persistent bool    `help:"Keep this device's session while it is absent."`
	Expiry     string  `default:"168h" placeholder:"TIME" help:"With --persistent: how long. Default ${default}."`
	Since      *uint64 `placeholder:"SEQ" help:"Begin with everything after that seq."`
	Count      uint64  `placeholder:"N" help:"End after that many notifications. Default: never."`
	JSON       bool    `name:"json" help:"Print JSON lines in a terminal, too."`
}

func (tailCmd) Help() string {
	return `In a terminal it is readable; anywhere else each notification is one line of JSON.

Examples:

    falconbridge tail --user 42

    falconbridge tail --user 42 --persistent --client-id laptop

    falconbridge tail --user 42 --since 0 --count 10 | jq .title

    falconbridge tail --mqtt-url wss://bridge.example/mqtt --token-file token.txt`
}

func (tailCmd) scope() []string { return slices.Concat(config.LocalMQTT, config.Signing) }

// Run prints notifications until it is interrupted, refused, or has printed
// --count of them. A lost connection is made again, without a hole.
func (c tailCmd) Run(p *program) error {
	cfg, t, err := c.prepare(p)
	if err != nil {
		return err
	}
	ctx, stop := interrupted()
	defer stop()
	ctx, t.end = context.WithCancelCause(ctx)
	t.ended = ctx.Done()
	m, err := autopaho.NewConnection(ctx, cfg)
	if err != nil {
		return fmt.Errorf("tail: %w", err)
	}
	select {
	case <-m.Done():
	case err := <-t.broken:
		return fmt.Errorf("tail: %w", err)
	}
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) && !errors.Is(err, errDone) {
		return fmt.Errorf("tail: %w", err)
	}
	return nil
}

// errDone ends a tail that has printed enough.
var errDone = errors.New("done")

// prepare turns the flags into a connection's settings.
func (c tailCmd) prepare(p *program) (cfg autopaho.ClientConfig, t *tail, err error) {
	e, err := c.mqtt(p)
	if err != nil {
		return cfg, nil, err
	}
	expiry, err := config.ParseTime(c.Expiry)
	if err != nil || expiry < time.Second || expiry.Seconds() >= 1<<32-1 {
		return cfg, nil, errors.New("--expiry: is not a time of at least a second; write 168h or 7d")
	}
	settings, err := p.check([]string{"topic-prefix"})
	if err != nil {
		return cfg, nil, err
	}
	bearer, err := c.bearer(p, bridge.Claims{User: bridge.UserID(c.User)}, time.Hour)
	if err != nil {
		return cfg, nil, err
	}
	user, err := c.user(bearer)
	if err != nil {
		return cfg, nil, err
	}
	t = &tail{
		out: p.out, render: jsonLine, log: clientLog(p.err), bearer: bearer,
		server: e.url.Host, topic: settings.Topics.Status(user), since: c.Since, persistent: c.Persistent, count: c.Count,
		own: c.Token == "" && c.TokenFile == "", origin: c.origin(p), broken: make(chan error, 1),
	}
	if terminal(p.out) && !c.JSON {
		t.render = styleOf(p.out).show
	}
	cfg = autopaho.ClientConfig{
		ServerUrls:                    []*url.URL{e.url},
		TlsCfg:                        e.tls,
		KeepAlive:                     30,
		CleanStartOnInitialConnection: !c.Persistent,
		ReconnectBackoff:              backoff,
		ConnectPacketBuilder:          t.connect,
		OnConnectionUp:                t.up,
		OnConnectError:                t.refused,
		ClientConfig: paho.ClientConfig{
			ClientID:          c.ClientID,
			Session:           session{state.NewInMemory(), t},
			OnPublishReceived: []func(paho.PublishReceived) (bool, error){t.received},
		},
	}
	switch {
	case c.Persistent:
		cfg.SessionExpiryInterval = uint32(expiry / time.Second)
		if c.ClientID == "" {
			cfg.ClientID = "falconbridge-tail"
		}
	case c.ClientID == "":
		cfg.ClientID = "tail-" + rand.Text()[:12]
	}
	return cfg, t, nil
}

// backoff is the wait before connection attempt n, counted from 0.
func backoff(n int) time.Duration {
	if n == 0 {
		return 0
	}
	most := min(100*time.Millisecond<<min(n, 10), 10*time.Second)
	return most/2 + mathrand.N(most/2)
}

// user is whose topic to subscribe to. The token is read, not judged: that is the
// server's part.
func (c tailCmd) user(bearer func() (string, error)) (bridge.UserID, error) {
	if c.User != "" {
		user, err := bridge.ParseUserID(c.User)
		if err != nil {
			return "", fmt.Errorf("--user: %w", err)
		}
		return user, nil
	}
	if c.Token == "" && c.TokenFile == "" {
		return "", errors.New("--user: is missing; name a user, or give a token of one")
	}
	raw, err := bearer()
	if err != nil {
		return "", err
	}
	var claims struct {
		Sub bridge.UserID `json:"sub"`
	}
	if parts := strings.Split(raw, "."); len(parts) == 3 {
		if b, err := base64.RawURLEncoding.DecodeString(parts[1]); err == nil && json.Unmarshal(b, &claims) == nil && claims.Sub != "" {
			return claims.Sub, nil
		}
	}
	return "", errors.New("--token: names no user; give --user, too")
}
