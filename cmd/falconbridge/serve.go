package main

import (
	"errors"
	"log/slog"
	"net"
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
	c, bad := p.settings.check()
	if err := bad.err(); err != nil {
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

// spareFiles are what the program opens beside connections of devices: the
// database, the bus, files, HTTP.
const spareFiles = 256

// warn tells of settings that work but may not be meant.
func warn(p *program, c checked, log *slog.Logger) {
	for _, name := range p.unknown {
		log.Warn("the variable is read by no setting; is it misspelled?", "variable", name)
	}
	if c.origins.Any() {
		log.Warn("pages of every origin may call, because of --cors-origins=*")
	}
	if c.proxies.Everybody() {
		log.Warn("every client may say where it comes from, because of --trusted-proxies")
	}
	if host, _, err := net.SplitHostPort(c.admin); err == nil && !isLoopback(host) {
		log.Warn("metrics and profiles are open to whoever reaches --admin-addr", "addr", c.admin)
	}
	if most := openFiles(); !c.keys.development && most < uint64(c.maxConnections)+spareFiles {
		log.Warn("the limit of open files is below --max-connections; raise it with ulimit -n", "limit", most, "max-connections", c.maxConnections)
	}
	if c.keys.development {
		log.Warn("development mode: no --jwt-* key is configured; every listener is on loopback only")
	}
}
