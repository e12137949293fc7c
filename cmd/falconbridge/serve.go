package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

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
		log.Warn("the variable is not a known setting; is it misspelled?", "variable", name)
	}

	keepSmallHeap()
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
	manager.notify("READY=1")
	context.AfterFunc(ctx, func() { manager.stopping(a.LongestDrain()) })
	go manager.watch(ctx, a.Alive)
	return a.Run(ctx)
}

// supervisor is the service manager that started this program, if it is one that tracks
// the program's state (sd_notify(3)), as systemd does. The zero value is none.
type supervisor struct {
	socket   string        // "": none
	watchdog time.Duration // silence after which it restarts the program; 0: none
	log      *slog.Logger
}

// newSupervisor reads NOTIFY_SOCKET and WATCHDOG_USEC. It leaves both in the environment,
// because this program starts no child that could inherit them.
func newSupervisor(env func(string) string, pid int, log *slog.Logger) supervisor {
	s := supervisor{socket: env("NOTIFY_SOCKET"), log: log}
	if usec, err := strconv.ParseInt(env("WATCHDOG_USEC"), 10, 64); err == nil && usec > 0 {
		if of := env("WATCHDOG_PID"); of == "" || of == strconv.Itoa(pid) {
			s.watchdog = time.Duration(usec) * time.Microsecond
		}
	}
	return s
}

// notify sends one datagram, such as READY=1. It only logs an error, because a server that
// runs unsupervised is better than none.
func (s supervisor) notify(state string) {
	if s.socket == "" {
		return
	}
	name := s.socket
	if strings.HasPrefix(name, "@") { // Linux's abstract namespace
		name = "\x00" + name[1:]
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err == nil {
		_, err = conn.Write([]byte(state))
		_ = conn.Close()
	}
	if err != nil {
		s.log.Warn("could not notify the service manager", "state", state, "error", err)
	}
}

// watch reports to the watchdog twice per interval that the program is alive. It first calls
// alive, which does not return in a program that is stuck. The reports then end,
// and the watchdog restarts the program.
func (s supervisor) watch(ctx context.Context, alive func()) {
	if s.socket == "" || s.watchdog == 0 {
		return
	}
	t := time.NewTicker(s.watchdog / 2)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			alive()
			s.notify("WATCHDOG=1")
		}
	}
}

// stopping announces the drain and the longest time it may take.
func (s supervisor) stopping(atMost time.Duration) {
	s.notify(fmt.Sprintf("STOPPING=1\nEXTEND_TIMEOUT_USEC=%d", atMost.Microseconds()))
}

// supervised returns the supervisor of this process.
func supervised(log *slog.Logger) supervisor { return newSupervisor(os.Getenv, os.Getpid(), log) }

type healthcheckCmd struct {
	client
	Live    bool          `help:"Check only that the process is alive, not that it is ready. Use this to decide about restarts of a container."`
	Timeout time.Duration `default:"3s" placeholder:"TIME" help:"Longest wait for the response. Default ${default}."`
}

func (healthcheckCmd) Help() string {
	return `Example, in a Dockerfile:

    HEALTHCHECK CMD ["falconbridge", "healthcheck", "--live"]`
}

func (healthcheckCmd) scope() []string { return config.LocalHTTPScope }

func (healthcheckCmd) ignored() []string { return []string{"mqtt-url", "token", "token-file"} }

// Run asks /readyz once, or /healthz.
func (h healthcheckCmd) Run(p *program) error {
	e, err := h.rest(p)
	if err != nil {
		return err
	}
	path, not := "readyz", "not ready"
	if h.Live {
		path, not = "healthz", "not alive"
	}
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, e.url.JoinPath(path).String(), nil)
	if err != nil {
		return err
	}
	resp, err := e.http(h.Timeout).Do(req)
	if err != nil {
		return fmt.Errorf("%s: no response from %s: %w", not, e.url.Host, cause(err))
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: the server returned %d", not, resp.StatusCode)
	}
	return nil
}
