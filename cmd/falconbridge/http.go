package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/falconalert/falconbridge/api"
	"github.com/falconalert/falconbridge/api/web"
)

func (s *server) startHTTP(context.Context) error {
	h, err := api.New(api.Options{
		Service: s.service, Verifier: s.verifier, Origins: s.c.origins, Topics: s.c.topics, Locale: s.c.locale,
		MQTT: s.broker.WebSocket(), Pages: web.New(web.Options{Topics: s.c.topics}),
		Ready: s.ready, RequestRatePerUser: s.c.requestRate, Version: version(), Logger: s.log,
	})
	if err != nil {
		return err
	}
	ln, err := s.listen("http-addr", s.c.http, s.cert != nil, "h2", "http/1.1")
	if err != nil {
		return err
	}
	s.serveHTTP("HTTP", ln, api.Server(s.metrics.watch(h), api.Timeouts{}, s.log), 10*time.Second)
	return nil
}

// serveHTTP serves until the teardown, which lets requests in flight finish.
func (s *server) serveHTTP(name string, l net.Listener, srv *http.Server, limit time.Duration) {
	go func() {
		if err := srv.Serve(l); err != nil && !isClosed(err) {
			select {
			case s.failed <- fmt.Errorf("%s: %w", name, err):
			default:
			}
		}
	}()
	s.undo.add(name, limit, func(ctx context.Context) error {
		if err := srv.Shutdown(ctx); err != nil {
			_ = srv.Close()
			return err
		}
		return nil
	})
}
