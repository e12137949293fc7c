package main

import (
	"io"
	"log/slog"

	"github.com/falconalert/falconbridge/internal/config"
)

// newLogger writes to w as the settings say.
func newLogger(w io.Writer, c *config.Config) *slog.Logger {
	o := &slog.HandlerOptions{Level: c.LogLevel}
	if c.LogJSON {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}
