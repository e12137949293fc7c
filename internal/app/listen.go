package app

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/falconalert/falconbridge/api"
	"github.com/falconalert/falconbridge/api/web"
	"github.com/falconalert/falconbridge/bridge/bus/redis"
	"github.com/falconalert/falconbridge/internal/config"
)

// listen listens on the address of a setting. secure is nil for a listener without TLS. The
// error names the setting and a remedy.
func (a *App) listen(setting, addr string, secure *tls.Config) (net.Listener, error) {
	var c net.ListenConfig
	l, err := c.Listen(context.Background(), "tcp", addr)
	if err != nil {
		p := a.c.Problem(setting, "cannot listen on "+addr, "choose another address")
		switch {
		case errors.Is(err, syscall.EADDRINUSE):
			p.What, p.Remedy = addr+" is in use by another program", "stop that program, or choose another port"
		case errors.Is(err, syscall.EACCES):
			p.What, p.Remedy = "this user is not allowed to listen on "+addr, "choose a port of 1024 or higher"
		case errors.Is(err, syscall.EADDRNOTAVAIL):
			p.What, p.Remedy = addr+" is not an address of this machine", "leave out the host to listen on all addresses"
		}
		return nil, p
	}
	a.addrs[setting] = l.Addr()
	a.log.Info("listening", "setting", setting, "addr", l.Addr().String(), "tls", secure != nil)
	if secure != nil {
		l = tls.NewListener(l, secure)
	}
	return l, nil
}

func isClosed(err error) bool {
	return errors.Is(err, http.ErrServerClosed) || errors.Is(err, net.ErrClosed)
}

// nodeName returns a name that is unique among running nodes and contains the host's.
func nodeName() string {
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "node"
	}
	return fmt.Sprintf("%.40s-%s", host, strings.ToLower(rand.Text()[:8]))
}

func (a *App) startHTTP(context.Context) error {
	rate, err := a.sharedRate()
	if err != nil {
		return err
	}
	h, err := api.New(a.lateOptions(api.Options{
		Service: a.service, Devices: a.db, Verifier: a.verifier, Origins: a.c.Origins, Topics: a.c.Topics, Locale: a.c.Locale,
		MQTT: a.broker.WebSocket(), Pages: web.New(web.Options{Topics: a.c.Topics, Locale: a.c.Locale, Push: a.pusher != nil, Base: a.c.PushBase}),
		Ready: a.ready, RequestRatePerUser: a.c.RequestRatePerUser, RequestRatePerAddress: a.c.RequestRatePerIP, SharedRate: rate,
		TrustedProxies: a.c.Proxies, Limited: a.metrics.limited, Version: a.version, Logger: a.log,
	}))
	if err != nil {
		return err
	}
	var secure *tls.Config
	if a.cert != nil {
		secure = a.cert.config("h2", "http/1.1")
		secure.GetConfigForClient = a.rateHandshake
	}
	ln, err := a.listen("http-addr", a.c.HTTP, secure)
	if err != nil {
		return err
	}
	srv := api.Server(a.traced(a.metrics.watch(h)), api.Timeouts{}, a.log)
	api.ConnectionLimits{Trusted: a.c.Proxies, Limited: a.metrics.limited}.Apply(srv)
	a.serveHTTP("HTTP", ln, srv)
	a.undo.add("clients", a.c.DrainTime+clientsRest, func(ctx context.Context) error { return a.release(ctx, srv) })
	return nil
}

// rateHandshake refuses a TLS handshake if its address exceeds the rate. It is called with
// the client's first message, before the server computes a signature, which is what makes
// handshakes expensive. A trusted proxy stands for many addresses and is not limited.
func (a *App) rateHandshake(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	remote := hello.Conn.RemoteAddr().String()
	if p, err := netip.ParseAddrPort(remote); err == nil && a.c.Proxies.Trusts(p.Addr().Unmap()) {
		return nil, nil
	}
	if !a.broker.AllowHandshake(remote) {
		return nil, errors.New("too many TLS handshakes from this address")
	}
	return nil, nil
}

// sharedRate returns the rate limit that all nodes share if Redis is the bus, or nil if each
// node has its own.
func (a *App) sharedRate() (api.SharedRate, error) {
	if a.c.Bus == config.BusAuto || a.c.RequestRatePerUser == 0 && a.c.RequestRatePerIP == 0 {
		return nil, nil
	}
	r, err := redis.NewRate(redis.Options{URL: a.c.Bus, Logger: a.log})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", a.c.Name("bus"), err)
	}
	a.undo.add("shared rate", time.Second, func(context.Context) error { return r.Close() })
	a.rate = r
	return r, nil
}

// serveHTTP serves in a goroutine until srv is shut down. An earlier end stops the server.
func (a *App) serveHTTP(name string, l net.Listener, srv *http.Server) {
	go func() {
		if err := srv.Serve(l); err != nil && !isClosed(err) {
			select {
			case a.failed <- fmt.Errorf("%s: %w", name, err):
			default:
			}
		}
	}()
}

// startAdmin opens the listener for operators. It is the first part to start and the last to
// stop, so that a start or a drain that hangs can be examined.
func (a *App) startAdmin(context.Context) error {
	if a.c.Admin == "" {
		return nil
	}
	l, err := a.listen("admin-addr", a.c.Admin, nil)
	if err != nil {
		return err
	}
	srv := &http.Server{
		Handler:           namedByAddress(a.c.Admin, a.adminHandler()),
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       time.Minute,
		ErrorLog:          slog.NewLogLogger(a.log.With("component", "admin").Handler(), slog.LevelDebug),
	}
	a.serveHTTP("admin", l, srv)
	a.undo.add("admin", time.Second, func(ctx context.Context) error {
		if err := srv.Shutdown(ctx); err != nil {
			return srv.Close() // such as a profile that is still being taken
		}
		return nil
	})
	return nil
}

func (a *App) adminHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(a.metrics.registry, promhttp.HandlerOpts{Registry: a.metrics.registry}))
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", http.NotFound) // it would print secrets that were passed as flags
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintln(w, "ok")
	})
	var failed atomic.Bool // whether the last state that was logged is a failure
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		err := a.ready(r.Context())
		if failed.Swap(err != nil) != (err != nil) && r.Context().Err() == nil {
			log := a.log.With("component", "admin")
			if err != nil {
				log.Warn("the node is not ready", "error", err)
			} else {
				log.Info("the node is ready again")
			}
		}
		if err != nil {
			w.Header().Set("Retry-After", "1")
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		_, _ = fmt.Fprintln(w, "ready")
	})
	return mux
}

// namedByAddress protects a listener on loopback from DNS rebinding: a web page whose host
// name was made to point to 127.0.0.1 could otherwise read everything through a browser on
// this machine. Requests are refused unless their Host is an IP address or localhost. If addr
// is not on loopback, next is returned as it is.
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
			http.Error(w, "use the address of this listener, or localhost, as the host name", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}
