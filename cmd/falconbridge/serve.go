package main

import (
	"errors"
	"log/slog"

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
	log := newLogger(p.err, c)
	slog.SetDefault(log)
	warn(p, c, log)

	ctx, stop := interrupted()
	defer stop()
	s, err := start(ctx, c, p.out, log)
	if err != nil {
		if ctx.Err() != nil {
			return nil // told to stop while it started
		}
		return err
	}
	select {
	case <-ctx.Done():
		log.Info("draining: a second signal ends the program at once")
	case err = <-s.failed:
		log.Error("draining: a part of the server failed", "error", err)
	}
	err = errors.Join(err, s.drain())
	log.Info("stopped")
	return err
}
