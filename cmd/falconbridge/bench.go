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
	Post    benchPostCmd    `cmd:"" help:"Post notifications and count them as they arrive at the devices."`
	Idle    benchIdleCmd    `cmd:"" help:"Keep idle connections open; with --pid, report the memory of each."`
	Connect benchConnectCmd `cmd:"" help:"Log in and disconnect, over and over."`
	Replay  benchReplayCmd  `cmd:"" help:"Let persistent devices miss notifications, and reconnect."`
}

func (benchCmd) scope() []string { return slices.Concat(config.LocalMQTTScope, config.SigningScope) }

type benchPostCmd struct {
	benchFlags
	Posters  int    `default:"32" placeholder:"K" help:"Connections that post. Default ${default}."`
	Users    int    `default:"100" placeholder:"N" help:"Users to post to, in rotation. Default ${default}."`
	Devices  int    `default:"1" placeholder:"D" help:"Devices per user; 0 measures only the responses. Default ${default}."`
	Rate     int    `default:"0" placeholder:"R" help:"Posts per second, each measured from the time it was due; 0: each poster sends the next as soon as it has the response. Default ${default}."`
	Size     int    `default:"300" placeholder:"BYTES" help:"Size of a body. Default ${default}."`
	Duration string `default:"10s" placeholder:"TIME" help:"How long to post. Default ${default}."`
	Warm     string `default:"1s" placeholder:"TIME" help:"How long to post before measuring. Default ${default}."`
	MaxPosts int    `default:"1000000" placeholder:"N" help:"Stop after this many posts. Default ${default}."`
}

func (benchPostCmd) Help() string {
	return `The notifications stay in the inboxes of the users bench-0, bench-1, …

Examples:

    falconbridge bench post --posters 128 --users 1000

    falconbridge bench post --rate 1000 --duration 30s --json

    falconbridge bench post --url https://bridge.example --mqtt-url mqtts://bridge.example --rate 50`
}

// Run loads the server and prints the result.
func (c benchPostCmd) Run(p *program) error {
	var b bounds
	load := bench.Post{Posters: c.Posters, Users: c.Users, Devices: c.Devices, Rate: c.Rate, Size: c.Size, Max: c.MaxPosts, Grace: 10 * time.Second,
		Duration: b.time("duration", c.Duration, 100*time.Millisecond), Warm: b.time("warm", c.Warm, 0)}
	b.count("posters", c.Posters, 1, 10_000)
	b.count("users", c.Users, 1, 10_000_000)
	b.count("devices", c.Devices, 0, 31)
	b.count("rate", c.Rate, 0, 1_000_000)
	b.count("size", c.Size, 1, 16_000)
	b.count("max-posts", c.MaxPosts, 1, benchMost)
	return c.load(p, b, c.Users*c.Devices, func(ctx context.Context, t *bench.Target, within time.Duration) (bench.Report, error) {
		load.Connect = within
		return load.Run(ctx, t)
	})
}

type benchIdleCmd struct {
	benchFlags
	Connections int    `default:"1000" placeholder:"N" help:"Connections to keep open. Default ${default}."`
	PerUser     int    `default:"1" placeholder:"D" help:"Connections per user. Default ${default}."`
	FirstUser   int    `default:"0" placeholder:"N" help:"Number of the first user, so that another load can use the ones below it. Default ${default}."`
	AtOnce      int    `default:"64" placeholder:"K" help:"Connection attempts at a time. Default ${default}."`
	Addresses   int    `default:"0" placeholder:"N" help:"Connect to a server on loopback from this many addresses, for more simultaneous connections than one address may have pending."`
	Waves       int    `default:"1" placeholder:"N" help:"How many times all connect and disconnect. Default ${default}."`
	Hold        string `default:"5s" placeholder:"TIME" help:"How long to keep them open. Default ${default}."`
	Settle      string `default:"5s" placeholder:"TIME" help:"How long to wait before measuring memory. Default ${default}."`
}

func (benchIdleCmd) Help() string {
	return `Example:

    falconbridge bench idle --connections 10000 --pid $(pidof falconbridge) --waves 2`
}

// Run loads the server and prints the result.
func (c benchIdleCmd) Run(p *program) error {
	var b bounds
	load := bench.Idle{Connections: c.Connections, First: c.FirstUser, PerUser: c.PerUser, AtOnce: c.AtOnce, Waves: c.Waves,
		Hold: b.time("hold", c.Hold, 0), Settle: b.time("settle", c.Settle, 0)}
	b.count("connections", c.Connections, 1, 1_000_000)
	b.count("per-user", c.PerUser, 1, 31)
	b.count("first-user", c.FirstUser, 0, 100_000_000)
	b.count("at-once", c.AtOnce, 1, 20_000)
	b.count("addresses", c.Addresses, 0, 60_000)
	b.count("waves", c.Waves, 1, 100)
	return c.load(p, b, c.Connections, func(ctx context.Context, t *bench.Target, within time.Duration) (bench.Report, error) {
		load.Connect, t.Addresses = within, c.Addresses
		return load.Run(ctx, t)
	})
}

type benchConnectCmd struct {
	benchFlags
	Workers   int    `default:"16" placeholder:"K" help:"Connections at a time. Default ${default}."`
	Users     int    `default:"1000" placeholder:"N" help:"Users that log in, in rotation. Default ${default}."`
	Subscribe bool   `help:"Also subscribe."`
	Duration  string `default:"10s" placeholder:"TIME" help:"How long to run. Default ${default}."`
	MaxLogins int    `default:"1000000" placeholder:"N" help:"Stop after this many logins. Default ${default}."`
}

func (benchConnectCmd) Help() string {
	return `Example:

    falconbridge bench connect --workers 64 --subscribe`
}

// Run loads the server and prints the result.
func (c benchConnectCmd) Run(p *program) error {
	var b bounds
	load := bench.Connect{Workers: c.Workers, Users: c.Users, Subscribe: c.Subscribe, Max: c.MaxLogins,
		Duration: b.time("duration", c.Duration, 100*time.Millisecond)}
	b.count("workers", c.Workers, 1, 10_000)
	b.count("users", c.Users, 1, 10_000_000)
	b.count("max-logins", c.MaxLogins, 1, benchMost)
	return c.load(p, b, c.Workers, func(ctx context.Context, t *bench.Target, _ time.Duration) (bench.Report, error) {
		return load.Run(ctx, t)
	})
}

type benchReplayCmd struct {
	benchFlags
	Devices int    `default:"10" placeholder:"N" help:"Devices, one per user. Default ${default}."`
	Missed  int    `default:"1000" placeholder:"M" help:"Notifications that each device misses; at most 1,000 are replayed. Default ${default}."`
	Size    int    `default:"300" placeholder:"BYTES" help:"Size of a body. Default ${default}."`
	Limit   string `default:"1m" placeholder:"TIME" help:"How long the replay may take. Default ${default}."`
}

func (benchReplayCmd) Help() string {
	return `Example:

    falconbridge bench replay --devices 20`
}

// Run loads the server and prints the result.
func (c benchReplayCmd) Run(p *program) error {
	var b bounds
	load := bench.Replay{Devices: c.Devices, Missed: c.Missed, Size: c.Size, Limit: b.time("limit", c.Limit, time.Second)}
	b.count("devices", c.Devices, 1, 100_000)
	b.count("missed", c.Missed, 1, 1000)
	b.count("size", c.Size, 1, 4<<10)
	return c.load(p, b, c.Devices, func(ctx context.Context, t *bench.Target, within time.Duration) (bench.Report, error) {
		load.Connect = within
		return load.Run(ctx, t)
	})
}

// benchFlags are the flags of every load.
type benchFlags struct {
	client
	PID            int    `name:"pid" placeholder:"PID" help:"Process id of the server, on this machine, to report its CPU time and memory."`
	JSON           bool   `name:"json" help:"Print one JSON object."`
	ConnectWithin  string `default:"1m" placeholder:"TIME" help:"Give up if the devices are not connected within this time. Default ${default}."`
	MaxConnections int    `name:"max-devices" default:"20000" placeholder:"N" help:"Refuse to connect more devices than this. Default ${default}."`
}

// Bounds that no flag can raise, so that a load that was started by mistake ends by itself.
const (
	benchLongest = time.Hour
	benchMost    = 50_000_000 // posts or logins
)

// bounds keeps the first error of flags that are out of their bounds.
type bounds struct{ err error }

func (b *bounds) time(flag, value string, least time.Duration) time.Duration {
	d, err := config.ParseTime(value)
	if b.err == nil && (err != nil || d < least || d > benchLongest) {
		b.err = fmt.Errorf("--%s: is not a time from %v to %v", flag, least, benchLongest)
	}
	return d
}

func (b *bounds) count(flag string, n, least, most int) {
	if b.err == nil && (n < least || n > most) {
		b.err = fmt.Errorf("--%s: is not a number from %d to %d", flag, least, most)
	}
}

// load runs a load of at most that many devices, which have to be connected within the
// time that run gets, and prints its report. It fails if the server broke a guarantee.
func (f benchFlags) load(p *program, b bounds, devices int, run func(context.Context, *bench.Target, time.Duration) (bench.Report, error)) error {
	within := b.time("connect-within", f.ConnectWithin, time.Second)
	if b.err != nil {
		return b.err
	}
	if devices > f.MaxConnections {
		return fmt.Errorf("--max-devices: %d devices are more than the %d allowed; raise it if that is intended", devices, f.MaxConnections)
	}
	t, err := f.target(p)
	if err != nil {
		return err
	}
	keepSmallHeap() // collect rarely: the server may share the cores
	ctx, stop := interrupted()
	defer stop()
	r, err := run(ctx, t, within)
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

// target returns the server, and signs the tokens for it. A token that was given is for
// the posters only: each device is another user, whose token is signed here.
func (f benchFlags) target(p *program) (*bench.Target, error) {
	t := &bench.Target{PID: f.PID}
	rest, err := f.rest(p)
	if err != nil {
		return nil, err
	}
	t.Posts, t.PostTLS = rest.url.JoinPath("notifications"), rest.tls
	mqtt, err := f.devices(p, rest)
	if err != nil {
		return nil, err
	}
	t.Devices, t.DeviceTLS = mqtt.url, mqtt.tls
	c, err := p.check(config.SigningScope)
	if err != nil {
		return nil, err
	}
	t.Topic = func(user string) string { return c.Topics.Status(bridge.UserID(user)) }
	if t.PostToken, err = f.bearer(p, bridge.Claims{User: "bench", Scope: bridge.ScopeWrite}, 2*benchLongest); err != nil {
		return nil, err
	}
	signer, err := c.Keys.Signer(c.DataDir, c.Topics, p.err)
	if err != nil {
		return nil, err
	}
	t.Token = func(user string) (string, error) {
		return signer.Sign(bridge.Claims{User: bridge.UserID(user), ExpiresAt: time.Now().Add(2 * benchLongest)})
	}
	return t, nil
}

// devices returns where devices connect. With --url alone that is the same host and
// port, over a WebSocket: a load never goes to a host that was not named.
func (f benchFlags) devices(p *program, rest endpoint) (endpoint, error) {
	if f.MQTTURL != "" || f.URL == "" {
		return f.mqtt(p)
	}
	u := *rest.url
	u.Scheme = map[string]string{"http": "ws", "https": "wss"}[u.Scheme]
	return endpoint{url: u.JoinPath("mqtt"), tls: rest.tls}, nil
}

// benchCause adds the most likely reason where no server responds.
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
