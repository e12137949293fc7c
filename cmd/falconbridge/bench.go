package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/bench"
	"github.com/falconalert/falconbridge/internal/config"
)

type benchCmd struct {
	Post    benchPostCmd    `cmd:"" help:"Post notifications and count them in at the devices."`
	Idle    benchIdleCmd    `cmd:"" help:"Hold connections; with --pid, tell the memory of each."`
	Connect benchConnectCmd `cmd:"" help:"Log in and leave, over and over."`
	Replay  benchReplayCmd  `cmd:"" help:"Let persistent devices miss notifications, and return."`
}

func (benchCmd) scope() []string { return slices.Concat(config.LocalMQTT, config.Signing) }

// benchFlags are those of every load.
type benchFlags struct {
	client
	PID            int    `name:"pid" placeholder:"PID" help:"Process of the server, on this machine: tell its CPU time and memory, too."`
	JSON           bool   `name:"json" help:"Print one JSON object."`
	ConnectWithin  string `default:"1m" placeholder:"TIME" help:"Give up where the devices are not connected by then. Default ${default}."`
	MaxConnections int    `name:"max-devices" default:"20000" placeholder:"N" help:"Refuse to connect more devices than that. Default ${default}."`
}

// Bounds that no flag lifts.
const (
	benchLongest = time.Hour
	benchPosts   = 50_000_000
)

// benchTime reads a duration flag.
func benchTime(name, value string, least time.Duration) (time.Duration, error) {
	d, err := config.ParseTime(value)
	if err != nil || d < least || d > benchLongest {
		return 0, fmt.Errorf("--%s: is not a time from %v to %v", name, least, benchLongest)
	}
	return d, nil
}

// benchCounts refuses numbers that are not within their bounds.
func benchCounts(counts ...benchCount) error {
	for _, c := range counts {
		if c.n < c.least || c.n > c.most {
			return fmt.Errorf("--%s: is not a number from %d to %d", c.name, c.least, c.most)
		}
	}
	return nil
}

type benchCount struct {
	name           string
	n, least, most int
}

// prepare finds the server. devices is how many will be connected at most.
func (f benchFlags) prepare(p *program, devices int) (t *bench.Target, within time.Duration, err error) {
	if within, err = benchTime("connect-within", f.ConnectWithin, time.Second); err != nil {
		return nil, 0, err
	}
	if devices > f.MaxConnections {
		return nil, 0, fmt.Errorf("--max-devices: %d devices are more than the %d allowed; raise it if that is meant", devices, f.MaxConnections)
	}
	t = &bench.Target{PID: f.PID}
	rest, err := f.rest(p)
	if err != nil {
		return nil, 0, err
	}
	if rest.url.Path == "" {
		rest.url.Path = "/" // or JoinPath makes a relative one
	}
	t.Posts, t.PostTLS = rest.url.JoinPath("notifications"), rest.tls
	mqtt, err := f.devices(p, rest)
	if err != nil {
		return nil, 0, err
	}
	t.Devices, t.DeviceTLS = mqtt.url, mqtt.tls
	c, err := p.check(config.Signing)
	if err != nil {
		return nil, 0, err
	}
	t.Topic = func(user string) string { return c.Topics.Status(bridge.UserID(user)) }
	return t, within, f.sign(p, c, t)
}

// devices is where devices connect. With --url alone that is the same host and
// port, over a WebSocket: a load never goes to a host that was not named.
func (f benchFlags) devices(p *program, rest endpoint) (endpoint, error) {
	if f.MQTTURL != "" || f.URL == "" {
		return f.mqtt(p)
	}
	u := *rest.url
	u.Scheme = map[string]string{"http": "ws", "https": "wss"}[u.Scheme]
	return endpoint{url: u.JoinPath("mqtt"), tls: rest.tls}, nil
}

// sign makes the tokens. A token that was given serves the posters only: every
// device is another user, whose token has to be signed here.
func (f benchFlags) sign(p *program, c *config.Config, t *bench.Target) (err error) {
	t.PostToken, err = f.bearer(p, bridge.Claims{User: "bench", Scope: bridge.ScopeWrite}, 2*benchLongest)
	if err != nil {
		return err
	}
	signer, err := c.Keys.Signer(c.DataDir, c.Topics, p.err)
	if err != nil {
		return err
	}
	t.Token = func(user string) (string, error) {
		return signer.Sign(bridge.Claims{User: bridge.UserID(user), ExpiresAt: time.Now().Add(2 * benchLongest)})
	}
	return nil
}

// report prints what a load found, and fails where the server broke its promise.
func (f benchFlags) report(p *program, r bench.Report, err error) error {
	if err != nil {
		return fmt.Errorf("bench: %w", benchCause(err))
	}
	if f.JSON {
		err = json.NewEncoder(p.out).Encode(r)
	} else {
		err = r.Print(p.out)
	}
	if fault := r.Fault(); fault != nil {
		return errors.Join(err, fmt.Errorf("bench: %w", fault))
	}
	return err
}

// benchCause adds what is most likely wrong where the server is not there.
func benchCause(err error) error {
	var op *net.OpError
	switch {
	case errors.As(err, &op) && op.Op == "dial":
		return fmt.Errorf("%w; is the server running, and are --url and --mqtt-url its addresses?", err)
	case bench.IsForeign(err):
		return fmt.Errorf("%w; %s", err, foreignHint)
	case errors.Is(err, context.Canceled):
		return errors.New("interrupted")
	}
	return err
}
