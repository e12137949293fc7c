package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/falconalert/falconbridge/internal/config"
)

// startAdmin opens what operators look at. It is up before everything else and
// until everything else is down, so that a start or an end that hangs can be
// looked at, too.
func (s *server) startAdmin(context.Context) error {
	if s.c.Admin == "" {
		return nil
	}
	l, err := s.listen("admin-addr", s.c.Admin, nil)
	if err != nil {
		return err
	}
	srv := &http.Server{
		Handler:           namedByAddress(s.c.Admin, s.adminHandler()),
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       time.Minute,
		ErrorLog:          slog.NewLogLogger(s.log.With("component", "admin").Handler(), slog.LevelDebug),
	}
	s.serveHTTP("admin", l, srv)
	s.undo.add("admin", time.Second, func(ctx context.Context) error {
		if err := srv.Shutdown(ctx); err != nil {
			return srv.Close() // somebody still takes a profile
		}
		return nil
	})
	return nil
}

func (s *server) adminHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{Registry: s.metrics.registry}))
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", http.NotFound) // it would print the secrets among the flags
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if err := s.ready(r.Context()); err != nil {
			w.Header().Set("Retry-After", "1")
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		_, _ = fmt.Fprintln(w, "ready")
	})
	return mux
}

// namedByAddress refuses, where addr is on loopback, requests to any host but an IP
// address or localhost: a page whose name was made to point here (DNS rebinding)
// would otherwise read everything through a browser on this machine.
func namedByAddress(addr string, next http.Handler) http.Handler {
	if host, _, err := net.SplitHostPort(addr); err != nil || !config.IsLoopback(host) {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = strings.TrimSuffix(strings.TrimPrefix(r.Host, "["), "]")
		}
		if !strings.EqualFold(host, "localhost") && net.ParseIP(host) == nil {
			http.Error(w, "name this listener by its address or as localhost", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}
