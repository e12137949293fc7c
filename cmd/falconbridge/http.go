package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/falconalert/falconbridge/api"
	"github.com/falconalert/falconbridge/api/web"
	"github.com/falconalert/falconbridge/bridge/bus/redis"
	"github.com/falconalert/falconbridge/internal/config"
)

func (s *server) startHTTP(context.Context) error {
	rate, err := s.sharedRate()
	if err != nil {
		return err
	}
	h, err := api.New(api.Options{
		Service: s.service, Verifier: s.verifier, Origins: s.c.Origins, Topics: s.c.Topics, Locale: s.c.Locale,
		MQTT: s.broker.WebSocket(), Pages: web.New(web.Options{Topics: s.c.Topics, Locale: s.c.Locale}),
		Ready: s.ready, RequestRatePerUser: s.c.RequestRatePerUser, RequestRatePerAddress: s.c.RequestRatePerIP, SharedRate: rate,
		TrustedProxies: s.c.Proxies, Limited: s.metrics.limited, Version: version(), Logger: s.log,
	})
	if err != nil {
		return err
	}
	var secure *tls.Config
	if s.cert != nil {
		secure = s.cert.config("h2", "http/1.1")
		secure.GetConfigForClient = s.rateHandshake
	}
	ln, err := s.listen("http-addr", s.c.HTTP, secure)
	if err != nil {
		return err
	}
	srv := api.Server(s.metrics.watch(h), api.Timeouts{}, s.log)
	api.Connections{Trusted: s.c.Proxies, Limited: s.metrics.limited}.Bound(srv)
	s.serveHTTP("HTTP", ln, srv)
	s.undo.add("clients", s.c.DrainTime+clientsRest, func(ctx context.Context) error { return s.release(ctx, srv) })
	return nil
}

// rateHandshake refuses a TLS handshake past the rate of its address, when its first
// message has come and before the signature is made. A trusted proxy stands for many
// addresses, and is not rated.
func (s *server) rateHandshake(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	remote := hello.Conn.RemoteAddr().String()
	if p, err := netip.ParseAddrPort(remote); err == nil && s.c.Proxies.Trusts(p.Addr().Unmap()) {
		return nil, nil
	}
	if !s.broker.AllowHandshake(remote) {
		return nil, errors.New("too many TLS handshakes from this address")
	}
	return nil, nil
}

// sharedRate is the rate that all nodes allow together, where Redis is the bus; nil
// where each node has its own.
func (s *server) sharedRate() (api.SharedRate, error) {
	if s.c.Bus == config.BusAuto || s.c.RequestRatePerUser == 0 && s.c.RequestRatePerIP == 0 {
		return nil, nil
	}
	r, err := redis.NewRate(redis.Options{URL: s.c.Bus, Logger: s.log})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.c.Name("bus"), err)
	}
	s.undo.add("shared rate", time.Second, func(context.Context) error { return r.Close() })
	s.rate = r
	return r, nil
}

// serveHTTP serves until srv is shut down.
func (s *server) serveHTTP(name string, l net.Listener, srv *http.Server) {
	go func() {
		if err := srv.Serve(l); err != nil && !isClosed(err) {
			select {
			case s.failed <- fmt.Errorf("%s: %w", name, err):
			default:
			}
		}
	}()
}
