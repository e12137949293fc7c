package main

import (
	"context"
	"log/slog"

	"github.com/falconalert/falconbridge/internal/app"
	"github.com/falconalert/falconbridge/internal/config"
)

type serveCmd struct{}

func (serveCmd) Help() string {
	return `Examples:

    falconbridge

    FALCON_JWT_SECRET_FILE=/run/secrets/jwt DATABASE_URL=postgres://falcon@db/falcon falconbridge serve --log-format json`
}

// Run serves until SIGINT or SIGTERM, then drains. A second signal ends the
// program at once.
func (serveCmd) Run(p *program) error {
	c, err := p.check(config.All())
	if err != nil {
		return err
	}
	var level slog.LevelVar
	level.Set(c.LogLevel)
	log := app.NewLogger(p.err, c, &level)
	slog.SetDefault(log)
	for _, name := range p.unknown {
		log.Warn("the variable is read by no setting; is it misspelled?", "variable", name)
	}

	ctx, stop := interrupted()
	defer stop()
	defer switchLevel(&level, c.LogLevel, log)()
	a, err := app.New(ctx, app.Options{Config: c, Version: version(), Out: p.out, Log: log})
	if err != nil {
		if ctx.Err() != nil {
			return nil // interrupted while it started
		}
		return err
	}
	manager := supervised(log)
	manager.tell("READY=1")
	context.AfterFunc(ctx, func() { manager.stopping(a.LongestDrain()) })
	go manager.feed(ctx, a.Alive)
	return a.Run(ctx)
}
