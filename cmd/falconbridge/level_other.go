//go:build !unix

package main

import "log/slog"

// switchLevel does nothing: there is no SIGUSR1 here.
func switchLevel(*slog.LevelVar, slog.Level, *slog.Logger) (stop func()) { return func() {} }
