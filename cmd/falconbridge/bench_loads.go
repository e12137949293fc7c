package main

import (
	"time"

	"github.com/falconalert/falconbridge/internal/bench"
)

type benchPostCmd struct {
	benchFlags
	Posters  int    `default:"32" placeholder:"K" help:"Connections that post. Default ${default}."`
	Users    int    `default:"100" placeholder:"N" help:"Users posted to, in turn. Default ${default}."`
	Devices  int    `default:"1" placeholder:"D" help:"Devices of each user; 0 measures the answers only. Default ${default}."`
	Rate     int    `default:"0" placeholder:"R" help:"Posts a second, each timed from when it was due; 0: each poster goes on as soon as it is answered. Default ${default}."`
	Size     int    `default:"300" placeholder:"BYTES" help:"Size of a body. Default ${default}."`
	Duration string `default:"10s" placeholder:"TIME" help:"How long to post. Default ${default}."`
	Warm     string `default:"1s" placeholder:"TIME" help:"How long to post before that, unmeasured. Default ${default}."`
	MaxPosts int    `default:"1000000" placeholder:"N" help:"End after that many posts. Default ${default}."`
}

func (benchPostCmd) Help() string {
	return `The notifications stay in the inboxes of the users bench-0, bench-1, …

Examples:

    falconbridge bench post --posters 128 --users 1000

    falconbridge bench post --rate 1000 --duration 30s --json

    falconbridge bench post --url https://bridge.example --mqtt-url mqtts://bridge.example --rate 50`
}

// Run loads the server and prints what it found.
func (c benchPostCmd) Run(p *program) error {
	duration, err := benchTime("duration", c.Duration, 100*time.Millisecond)
	if err != nil {
		return err
	}
	warm, err := benchTime("warm", c.Warm, 0)
	if err != nil {
		return err
	}
	err = benchCounts(benchCount{"posters", c.Posters, 1, 10_000}, benchCount{"users", c.Users, 1, 10_000_000},
		benchCount{"devices", c.Devices, 0, 31}, benchCount{"rate", c.Rate, 0, 1_000_000},
		benchCount{"size", c.Size, 1, 16_000}, benchCount{"max-posts", c.MaxPosts, 1, benchPosts})
	if err != nil {
		return err
	}
	t, within, err := c.prepare(p, c.Users*c.Devices)
	if err != nil {
		return err
	}
	ctx, stop := interrupted()
	defer stop()
	r, err := bench.Post{Posters: c.Posters, Users: c.Users, Devices: c.Devices, Rate: c.Rate, Size: c.Size,
		Duration: duration, Warm: warm, Max: c.MaxPosts, Connect: within, Grace: 10 * time.Second}.Run(ctx, t)
	return c.report(p, r, err)
}

type benchIdleCmd struct {
	benchFlags
	Connections int    `default:"1000" placeholder:"N" help:"Connections to hold. Default ${default}."`
	PerUser     int    `default:"1" placeholder:"D" help:"Connections of one user. Default ${default}."`
	FirstUser   int    `default:"0" placeholder:"N" help:"Number of the first user; others leave room for a load beside. Default ${default}."`
	AtOnce      int    `default:"64" placeholder:"K" help:"Connects under way at once. Default ${default}."`
	Waves       int    `default:"1" placeholder:"N" help:"How often all connect and leave again. Default ${default}."`
	Hold        string `default:"5s" placeholder:"TIME" help:"How long to hold them. Default ${default}."`
	Settle      string `default:"5s" placeholder:"TIME" help:"How long to wait before memory is read. Default ${default}."`
}

func (benchIdleCmd) Help() string {
	return `Example:

    falconbridge bench idle --connections 10000 --pid $(pidof falconbridge) --waves 2`
}

// Run loads the server and prints what it found.
func (c benchIdleCmd) Run(p *program) error {
	hold, err := benchTime("hold", c.Hold, 0)
	if err != nil {
		return err
	}
	settle, err := benchTime("settle", c.Settle, 0)
	if err != nil {
		return err
	}
	err = benchCounts(benchCount{"connections", c.Connections, 1, 1_000_000}, benchCount{"per-user", c.PerUser, 1, 31},
		benchCount{"first-user", c.FirstUser, 0, 100_000_000}, benchCount{"at-once", c.AtOnce, 1, 20_000}, benchCount{"waves", c.Waves, 1, 100})
	if err != nil {
		return err
	}
	t, within, err := c.prepare(p, c.Connections)
	if err != nil {
		return err
	}
	ctx, stop := interrupted()
	defer stop()
	r, err := bench.Idle{Connections: c.Connections, First: c.FirstUser, PerUser: c.PerUser, AtOnce: c.AtOnce,
		Waves: c.Waves, Hold: hold, Settle: settle, Connect: within}.Run(ctx, t)
	return c.report(p, r, err)
}

type benchConnectCmd struct {
	benchFlags
	Workers   int    `default:"16" placeholder:"K" help:"Connections at once. Default ${default}."`
	Users     int    `default:"1000" placeholder:"N" help:"Users that log in, in turn. Default ${default}."`
	Subscribe bool   `help:"Subscribe, too."`
	Duration  string `default:"10s" placeholder:"TIME" help:"How long. Default ${default}."`
	MaxLogins int    `default:"1000000" placeholder:"N" help:"End after that many logins. Default ${default}."`
}

func (benchConnectCmd) Help() string {
	return `Example:

    falconbridge bench connect --workers 64 --subscribe`
}

// Run loads the server and prints what it found.
func (c benchConnectCmd) Run(p *program) error {
	duration, err := benchTime("duration", c.Duration, 100*time.Millisecond)
	if err != nil {
		return err
	}
	err = benchCounts(benchCount{"workers", c.Workers, 1, 10_000}, benchCount{"users", c.Users, 1, 10_000_000},
		benchCount{"max-logins", c.MaxLogins, 1, benchPosts})
	if err != nil {
		return err
	}
	t, _, err := c.prepare(p, c.Workers)
	if err != nil {
		return err
	}
	ctx, stop := interrupted()
	defer stop()
	r, err := bench.Connect{Workers: c.Workers, Users: c.Users, Subscribe: c.Subscribe, Duration: duration, Max: c.MaxLogins}.Run(ctx, t)
	return c.report(p, r, err)
}

type benchReplayCmd struct {
	benchFlags
	Devices int    `default:"10" placeholder:"N" help:"Devices, one a user. Default ${default}."`
	Missed  int    `default:"1000" placeholder:"M" help:"Notifications each missed; at most 1,000 are replayed. Default ${default}."`
	Size    int    `default:"300" placeholder:"BYTES" help:"Size of a body. Default ${default}."`
	Limit   string `default:"1m" placeholder:"TIME" help:"How long the replay may take. Default ${default}."`
}

func (benchReplayCmd) Help() string {
	return `Example:

    falconbridge bench replay --devices 20`
}

// Run loads the server and prints what it found.
func (c benchReplayCmd) Run(p *program) error {
	limit, err := benchTime("limit", c.Limit, time.Second)
	if err != nil {
		return err
	}
	err = benchCounts(benchCount{"devices", c.Devices, 1, 100_000}, benchCount{"missed", c.Missed, 1, 1000},
		benchCount{"size", c.Size, 1, 4 << 10})
	if err != nil {
		return err
	}
	t, within, err := c.prepare(p, c.Devices)
	if err != nil {
		return err
	}
	ctx, stop := interrupted()
	defer stop()
	r, err := bench.Replay{Devices: c.Devices, Missed: c.Missed, Size: c.Size, Connect: within, Limit: limit}.Run(ctx, t)
	return c.report(p, r, err)
}
