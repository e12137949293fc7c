package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/bus/redis"
	"github.com/falconalert/falconbridge/bridge/delivery"
	"github.com/falconalert/falconbridge/bridge/relay"
	"github.com/falconalert/falconbridge/bridge/token"
	"github.com/falconalert/falconbridge/broker"
	"github.com/falconalert/falconbridge/db"
	"github.com/falconalert/falconbridge/internal/config"
)

// server is everything that runs.
type server struct {
	c        *config.Config
	out      io.Writer // for the welcome of development mode
	log      *slog.Logger
	node     string
	metrics  *metrics
	cert     *certificate // nil: no TLS
	db       *db.DB
	bus      nodeBus
	rate     *redis.Rate  // nil: each node limits requests alone
	relay    *relay.Relay // nil: none
	hub      *delivery.Hub
	service  *bridge.Service
	verifier *token.Verifier
	broker   *broker.Broker
	live     atomic.Pointer[broker.Broker] // the same, for the hub, which beats before there is one

	started  atomic.Bool // until then nothing is ready
	draining atomic.Bool
	failed   chan error // a part that ended by itself
	undo     teardown
	addrs    map[string]net.Addr // by setting, as bound
}

// start brings up one part after the other, each on what stands already. Where
// one fails, those before it are taken down again.
func start(ctx context.Context, c *config.Config, out io.Writer, log *slog.Logger) (*server, error) {
	s := &server{
		c: c, out: out, log: log, node: nodeName(), failed: make(chan error, 1),
		undo: teardown{log: log}, addrs: make(map[string]net.Addr),
	}
	s.metrics = newMetrics(s)
	for _, part := range []func(context.Context) error{
		s.startCertificate, s.startAdmin, s.startDatabase, s.startBus, s.makeRelay, s.startHub, s.startVerifier,
		s.startRelay, s.startBroker, s.startHTTP, s.welcome,
	} {
		if err := part(ctx); err != nil {
			_ = s.undo.run(context.Background()) // the first failure is the one that counts
			return nil, err
		}
	}
	s.started.Store(true)
	s.undo.add("readiness", c.DrainDelay+time.Second, s.unready)
	return s, nil
}

// spawn runs a part until the teardown reaches it. One that ends by itself with
// an error stops the program.
func (s *server) spawn(name string, limit time.Duration, run func(ctx context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		err := run(ctx)
		done <- err
		if err != nil && ctx.Err() == nil {
			select {
			case s.failed <- fmt.Errorf("the %s: %w", name, err):
			default:
			}
		}
	}()
	s.undo.add(name, limit, func(ctx context.Context) error {
		cancel()
		select {
		case err := <-done:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	})
}

func (s *server) startCertificate(context.Context) (err error) {
	if s.c.TLSCert == "" {
		return nil
	}
	if s.cert, err = newCertificate(s.c.TLSCert, s.c.TLSKey, s.c.TLSClientCA, s.log); err == nil {
		s.spawn("certificate", time.Second, s.cert.run)
	}
	return err
}

func (s *server) startDatabase(ctx context.Context) (err error) {
	hints := s.node
	if s.c.Bus != config.BusAuto {
		hints = "" // another bus tells: the database need not
	}
	if s.c.SQLite {
		lock, err := lockDatabase(s.c, "stop it, or give this one its own with --data-dir or --database-url (several nodes share a Postgres)")
		if err != nil {
			return err
		}
		s.undo.add("database's lock", time.Second, func(context.Context) error { return lock.Close() })
	}
	if s.db, err = openDatabase(ctx, s.c, hints, s.log); err != nil {
		return err
	}
	s.undo.add("database", 5*time.Second, func(context.Context) error { return s.db.Close() })
	if err := migrate(ctx, s.db, s.c.AutoMigrate, s.log); err != nil {
		return err
	}
	s.spawn("database's upkeep", 3*time.Second, s.db.Run)
	return nil
}

func (s *server) startBus(context.Context) (err error) {
	s.bus, err = newBus(s.c, s.node, s.log)
	return err
}

func (s *server) startHub(ctx context.Context) error {
	s.hub = delivery.NewHub(delivery.Options{
		Log: s.db, Sessions: s.db, Feed: s.db, Cluster: s.db, Pruner: s.db, Bus: s.bus,
		Topics: s.c.Topics, Epoch: s.db.Epoch, Node: s.node, Logger: s.log,
		SessionTTL: s.c.SessionTTL, TokenLife: s.c.Keys.MaxLife, Retention: s.c.Retention, AuditAge: s.c.AuditRetention, EndOver: s.c.DrainTime, Observe: s.metrics.delivered, Changed: s.wakeRelay(), Refused: s.refused,
	})
	s.service = bridge.NewService(bridge.ServiceOptions{
		Log: s.db, History: s.db, Reports: s.db, Cluster: s.db, Audit: s.db,
		Hub: s.hub, Bus: s.bus, Locale: s.c.Locale,
	})
	// Before anybody is let in, the node knows what was revoked.
	if err := s.hub.Poll(ctx); err != nil {
		return err
	}
	s.spawn("bus", 3*time.Second, func(ctx context.Context) error { return s.bus.Run(ctx, s.hub) })
	s.spawn("hub", 6*time.Second, s.hub.Run) // flushes cursors, leaves the cluster
	return nil
}

// refused counts the CONNECTs that were refused, for the cluster to see.
func (s *server) refused() (n int64) {
	if b := s.live.Load(); b != nil {
		for _, of := range b.Stats().Refused {
			n += of
		}
	}
	return n
}

func (s *server) startVerifier(ctx context.Context) (err error) {
	if s.c.Keys.Development {
		key, _, err := config.DevelopmentKey(s.c.DataDir)
		if err != nil {
			return err
		}
		s.c.Keys.Secrets = [][]byte{key}
	}
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	o := s.c.Keys.VerifierOptions()
	o.Revoked, o.OnRefresh = s.hub.Revocations.Revoked, s.metrics.refreshed
	s.verifier, err = token.NewVerifier(life, o)
	if err != nil {
		cancel()
		return fmt.Errorf("--jwt-jwks-url (FALCON_JWT_JWKS_URL): %w; is the issuer up, and the address right?", err)
	}
	s.hub.Revocations.Keys(s.verifier.Knows)
	s.undo.add("key set", time.Second, func(context.Context) error { cancel(); return nil })
	if !s.c.Keys.Development { // a closed terminal shall end the development mode
		s.spawn("keys", time.Second, watchKeys(s.c.Keys, s.verifier, s.log))
	}
	return nil
}

func (s *server) startBroker(context.Context) (err error) {
	s.broker, err = broker.New(broker.Options{
		Hub: s.hub, Verifier: s.verifier, Origins: s.c.Origins, Log: s.log,
		MaxConnections: s.c.MaxConnections, MaxConnectionsPerUser: s.c.MaxConnectionsPerUser,
		MaxConnectionsPerIP: s.c.MaxConnectionsPerIP, ConnectRatePerIP: s.c.ConnectRatePerIP, ConnectRatePerUser: s.c.ConnectRatePerUser,
		PacketRate: s.c.PacketRate, TrustedProxies: s.c.Proxies, SessionTTL: s.c.SessionTTL,
	})
	if err != nil {
		return err
	}
	s.live.Store(s.broker)
	s.undo.add("broker", clientsRest, func(context.Context) error { return s.broker.Close() }) // drained by then, see release
	for _, l := range []struct{ setting, addr, kind string }{
		{"mqtt-addr", s.c.MQTT, "tcp"}, {"mqtts-addr", s.c.MQTTS, "tls"},
	} {
		if l.addr == "" {
			continue
		}
		var secure *tls.Config
		switch {
		case l.kind == "tls" && s.c.TLSClientCA != "":
			secure = s.cert.mutual("mqtt")
		case l.kind == "tls":
			secure = s.cert.config("mqtt")
		}
		ln, err := s.listen(l.setting, l.addr, secure)
		if err != nil {
			return err
		}
		s.spawn(l.setting, time.Second, func(ctx context.Context) error { return s.broker.ServeTCP(ctx, ln, l.kind) })
	}
	return nil
}
