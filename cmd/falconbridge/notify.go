package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// supervisor is the service manager that started this program, where it is one that wants
// to be told of its state (sd_notify(3)). The zero value tells nobody.
type supervisor struct {
	socket   string        // "": none
	watchdog time.Duration // silence after which it restarts the program; 0: none
	log      *slog.Logger
}

// newSupervisor reads NOTIFY_SOCKET and WATCHDOG_USEC. Both leave the environment's copy in
// place: no child is ever started.
func newSupervisor(env func(string) string, pid int, log *slog.Logger) supervisor {
	s := supervisor{socket: env("NOTIFY_SOCKET"), log: log}
	if usec, err := strconv.ParseInt(env("WATCHDOG_USEC"), 10, 64); err == nil && usec > 0 {
		if of := env("WATCHDOG_PID"); of == "" || of == strconv.Itoa(pid) {
			s.watchdog = time.Duration(usec) * time.Microsecond
		}
	}
	return s
}

// tell sends one datagram, as READY=1. It is best effort: a program that serves is worth
// more than one that its supervisor knows of.
func (s supervisor) tell(state string) {
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

// feed tells the watchdog twice per interval that the program lives, for as long as alive
// returns: one that is stuck is not fed, and restarted.
func (s supervisor) feed(ctx context.Context, alive func()) {
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
			s.tell("WATCHDOG=1")
		}
	}
}

// stopping says that the drain begins, and how long it may take.
func (s supervisor) stopping(atMost time.Duration) {
	s.tell(fmt.Sprintf("STOPPING=1\nEXTEND_TIMEOUT_USEC=%d", atMost.Microseconds()))
}

// supervised is newSupervisor of this process.
func supervised(log *slog.Logger) supervisor { return newSupervisor(os.Getenv, os.Getpid(), log) }
