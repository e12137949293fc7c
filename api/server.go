package api

import (
	"cmp"
	"log/slog"
	"net/http"
	"time"
)

// Timeouts bound how long a client may hold a connection. A connection that
// became a WebSocket is not held to them.
type Timeouts struct {
	Header time.Duration // from the connection, or its first byte, to the end of the headers; 0 means 5 s
	Body   time.Duration // from there to the end of the body; 0 means 15 s
	Answer time.Duration // for handling and writing; 0 means 30 s
	Idle   time.Duration // between two requests; 0 means 2 min
}

// maxHeaderBytes bounds the headers of a request: a token has at most 8 KiB.
const maxHeaderBytes = 16 << 10

// Server returns a server of h with bounds on what a client may take; the caller
// listens, serves and shuts down. A nil logger means slog.Default.
func Server(h http.Handler, t Timeouts, logger *slog.Logger) *http.Server {
	header := cmp.Or(t.Header, 5*time.Second)
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: header,
		ReadTimeout:       header + cmp.Or(t.Body, 15*time.Second),
		WriteTimeout:      cmp.Or(t.Answer, 30*time.Second),
		IdleTimeout:       cmp.Or(t.Idle, 2*time.Minute),
		MaxHeaderBytes:    maxHeaderBytes,
		// What an unauthenticated client does to a connection is no news to an operator.
		ErrorLog: slog.NewLogLogger(cmp.Or(logger, slog.Default()).With("component", "http").Handler(), slog.LevelDebug),
	}
}
