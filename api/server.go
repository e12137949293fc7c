package api

import (
	"cmp"
	"log/slog"
	"net/http"
	"time"
)

// Timeouts bound how long a client may keep a connection. They do not apply to WebSockets.
type Timeouts struct {
	Header time.Duration // from the connection, or its first byte, to the end of the headers; 0 means 5 s
	Body   time.Duration // from there to the end of the body; 0 means 15 s
	Answer time.Duration // for handling and writing; 0 means 30 s
	Idle   time.Duration // between two requests; 0 means 2 min
}

// maxHeaderBytes bounds the headers of a request: a token has at most 8 KiB.
const maxHeaderBytes = 16 << 10

// Server returns a server for h that bounds what a client may use; the caller listens,
// serves and shuts down. A nil logger means slog.Default.
func Server(h http.Handler, t Timeouts, logger *slog.Logger) *http.Server {
	header := cmp.Or(t.Header, 5*time.Second)
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: header,
		ReadTimeout:       header + cmp.Or(t.Body, 15*time.Second),
		WriteTimeout:      cmp.Or(t.Answer, 30*time.Second),
		IdleTimeout:       cmp.Or(t.Idle, 2*time.Minute),
		MaxHeaderBytes:    maxHeaderBytes,
		// Unauthenticated clients cause these errors as they like: they are for debugging.
		ErrorLog: slog.NewLogLogger(cmp.Or(logger, slog.Default()).With("component", "http").Handler(), slog.LevelDebug),
	}
}
