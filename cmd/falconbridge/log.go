package main

import (
	"io"
	"log/slog"
)

// newLogger writes to w as the settings say.
func newLogger(w io.Writer, c checked) *slog.Logger {
	o := &slog.HandlerOptions{Level: c.logLevel}
	if c.logJSON {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}
