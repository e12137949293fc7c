//go:build unix

package main

import (
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

// switchLevel makes SIGUSR1 switch between the configured level and debug, so that a
// problem can be observed while it lasts: a restart would end it, and every connection.
// Call stop to give the signal back.
func switchLevel(level *slog.LevelVar, configured slog.Level, log *slog.Logger) (stop func()) {
	usr1 := make(chan os.Signal, 1)
	signal.Notify(usr1, syscall.SIGUSR1)
	done := make(chan struct{})
	go func() {
		for {
			select {
			case <-done:
				return
			case <-usr1:
				to := slog.LevelDebug
				if level.Level() == slog.LevelDebug {
					to = configured
				}
				level.Set(min(to, slog.LevelInfo)) // so that this line is written at every level
				log.Info("the log level was switched, as SIGUSR1 asks", "level", to)
				level.Set(to)
			}
		}
	}()
	return func() {
		signal.Stop(usr1)
		close(done)
	}
}
