// Package app is the server. It wires the other packages together, listens, reloads keys
// and certificates, serves metrics, and drains on shutdown: [New] starts everything and
// [App.Run] serves until its context ends. Tests of this module can embed it.
//
// The commands that open the database without a server share [MakeDataDir], [LockDatabase]
// and [GiveToOwner] with it, so that both find the files with the same lock, mode and owner.
package app

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/bus"
	"github.com/falconalert/falconbridge/bridge/bus/inproc"
	"github.com/falconalert/falconbridge/bridge/bus/postgres"
	"github.com/falconalert/falconbridge/bridge/bus/redis"
	"github.com/falconalert/falconbridge/bridge/delivery"
	"github.com/falconalert/falconbridge/bridge/late"
	"github.com/falconalert/falconbridge/bridge/push"
	"github.com/falconalert/falconbridge/bridge/relay"
	"github.com/falconalert/falconbridge/bridge/token"
	"github.com/falconalert/falconbridge/broker"
	"github.com/falconalert/falconbridge/db"
	"github.com/falconalert/falconbridge/internal/config"
	"github.com/falconalert/falconbridge/internal/tracing"
)

// Options sets up an App.
type Options struct {
	Config  *config.Config
	Version string       // shown in /metrics and the OpenAPI document; "" means unknown
	Out     io.Writer    // gets the welcome text of development mode; nil discards it
	Log     *slog.Logger // nil discards all log lines
}

// App is a running server. Parts that the settings turn off are nil.
type App struct {
	c        *config.Config
	version  string
	out      io.Writer
	log      *slog.Logger
	node     string
	metrics  *metrics
	tracing  *tracing.Tracing // nil: no tracing
	cert     *certificate     // nil: no TLS
	db       *db.DB
	bus      nodeBus
	rate     *redis.Rate    // nil: each node limits requests on its own
	relay    *relay.Relay   // nil: no relay
	pusher   *push.Sender   // nil: no Web Push
	late     *late.Follower // nil: neither Web Push nor webhooks
	hub      *delivery.Hub
	service  *bridge.Service
	verifier *token.Verifier
	broker   *broker.Broker
	live     atomic.Pointer[broker.Broker] // broker again, for the hub, whose beats begin before the broker exists

	started  atomic.Bool // false until all parts run; the node is not ready before
	draining atomic.Bool
	noKeySet atomic.Bool // the last refresh of the key set failed
	failed   chan error  // receives the error of a part that ended by itself
	undo     teardown
	addrs    map[string]net.Addr // the bound addresses, by setting
}

// New starts a server: it opens the database, migrates it if that is allowed, and listens.
// Parts are started in the order of their dependencies. If one fails, those that already run
// are stopped and New returns the error. Otherwise the caller must call Run, which also
// stops the server. ctx bounds the start only.
func New(ctx context.Context, o Options) (*App, error) {
	a := &App{
		c: o.Config, version: cmp.Or(o.Version, "unknown"), out: o.Out, log: o.Log, node: nodeName(), failed: make(chan error, 1),
		addrs: make(map[string]net.Addr),
	}
	if a.out == nil {
		a.out = io.Discard
	}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	a.undo.log = a.log
	warn(a.c, a.log)
	a.metrics = newMetrics(a)
	for _, start := range []func(context.Context) error{
		a.startCertificate, a.startAdmin, a.startTracing, a.startDatabase, a.startBus, a.makeRelay, a.makePusher, a.startHub, a.startVerifier,
		a.startRelay, a.startLate, a.startBroker, a.startHTTP, a.welcome,
	} {
		if err := start(ctx); err != nil {
			_ = a.undo.run(context.Background()) // only the first failure is reported
			return nil, err
		}
	}
	a.started.Store(true)
	a.undo.add("readiness", a.c.DrainDelay+time.Second, a.unready)
	return a, nil
}

// Run serves until ctx ends or a part fails, and then drains: devices are disconnected,
// requests in flight are answered, and all parts are stopped in the reverse order of their
// start. That takes at most [App.LongestDrain]. Run returns why a part failed, joined with
// the errors of parts that did not stop in time.
func (a *App) Run(ctx context.Context) (err error) {
	select {
	case <-ctx.Done():
		a.log.Info("draining: a second signal ends the program at once")
	case err = <-a.failed:
		a.log.Error("draining: a part of the server failed", "error", err)
	}
	err = errors.Join(err, a.drain())
	a.log.Info("stopped")
	return err
}

// Alive returns once the hub and the broker have responded. It is for a watchdog: if one of
// them is stuck, Alive does not return.
func (a *App) Alive() {
	a.hub.Figures()
	a.broker.Stats()
}

// LongestDrain returns how long Run may take after its context has ended.
func (a *App) LongestDrain() time.Duration { return a.c.DrainDelay + a.c.DrainTime + drainRest }

// Addr returns the address that the listener of a setting, such as http-addr, is bound to,
// or nil if it is off.
func (a *App) Addr(setting string) net.Addr { return a.addrs[setting] }

// spawn runs a part in a goroutine until the teardown reaches it, which then waits up to
// limit for the part to return. A part that ends earlier with an error stops the server.
func (a *App) spawn(name string, limit time.Duration, run func(ctx context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		err := run(ctx)
		done <- err
		if err != nil && ctx.Err() == nil {
			select {
			case a.failed <- fmt.Errorf("the %s: %w", name, err):
			default:
			}
		}
	}()
	a.undo.add(name, limit, func(ctx context.Context) error {
		cancel()
		select {
		case err := <-done:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	})
}

func (a *App) startCertificate(context.Context) (err error) {
	if a.c.TLSCert == "" {
		return nil
	}
	if a.cert, err = newCertificate(a.c.TLSCert, a.c.TLSKey, a.c.TLSClientCA, a.log); err == nil {
		a.spawn("certificate", time.Second, a.cert.run)
	}
	return err
}

func (a *App) startDatabase(ctx context.Context) (err error) {
	if a.c.SQLite {
		lock, err := LockDatabase(a.c, "stop it, or give this one its own with --data-dir or --database-url (several nodes share a Postgres)")
		if err != nil {
			return err
		}
		a.undo.add("database's lock", time.Second, func(context.Context) error { return lock.Close() })
	}
	if a.db, err = OpenDatabase(ctx, a.c, a.c.Bus == config.BusAuto, a.tracing, a.log); err != nil {
		return err
	}
	a.undo.add("database", 5*time.Second, func(context.Context) error { return a.db.Close() })
	if err := Migrate(ctx, a.db, a.c.AutoMigrate, a.log); err != nil {
		return err
	}
	a.spawn("database's upkeep", 3*time.Second, a.db.Run)
	return nil
}

func (a *App) startBus(context.Context) (err error) {
	a.bus, err = newBus(a.c, a.node, a.log)
	return err
}

func (a *App) startHub(ctx context.Context) error {
	a.hub = delivery.NewHub(delivery.Options{
		Log: a.db, States: a.db, Sessions: a.db, Feed: a.db, Cluster: a.db, Pruner: a.db, Bus: a.bus,
		Topics: a.c.Topics, Epoch: a.db.Epoch, Node: a.node, Logger: a.log, Audit: a.db, Tracer: a.tracer(),
		SessionTTL: a.c.SessionTTL, TokenLife: a.c.Keys.MaxLife, Retention: a.c.Retention, AuditAge: a.c.AuditRetention, EndOver: a.c.DrainTime, Observe: a.metrics.observe, Changed: a.wakeRelay(), Refused: a.refused,
		Acks: a.acks(), AllAcks: a.c.WebhookURL != nil,
	})
	a.service = bridge.NewService(bridge.ServiceOptions{
		Log: a.db, History: a.db, Reports: a.db, Cluster: a.db, Audit: a.db, Tracer: a.tracer(),
		Hub: a.hub, Bus: a.bus, Locale: a.c.Locale, KeepStatuses: !a.c.ReportReplaces, Created: a.metrics.appended,
	})
	// The node has to know all revocations before it accepts clients.
	if err := a.hub.Poll(ctx); err != nil {
		return err
	}
	a.spawn("bus", 3*time.Second, func(ctx context.Context) error { return a.bus.Run(ctx, sqlCounter{a.hub, a.metrics}) })
	a.spawn("hub", 6*time.Second, a.hub.Run) // flushes cursors, leaves the cluster
	return nil
}

// refused returns how many CONNECTs were refused, for the figures that the node's beats
// share with the cluster.
func (a *App) refused() (n int64) {
	if b := a.live.Load(); b != nil {
		for _, of := range b.Stats().Refused {
			n += of
		}
	}
	return n
}

func (a *App) startVerifier(ctx context.Context) (err error) {
	if a.c.Keys.Development {
		key, _, err := config.DevelopmentKey(a.c.DataDir)
		if err != nil {
			return err
		}
		a.c.Keys.Secrets = [][]byte{key}
	}
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	o := a.c.Keys.VerifierOptions()
	o.Revoked, o.OnRefresh = a.hub.Revocations.Revoked, a.refreshedKeySet
	a.verifier, err = token.NewVerifier(life, o)
	if err != nil {
		cancel()
		return fmt.Errorf("--jwt-jwks-url (FALCON_JWT_JWKS_URL): %w; is the issuer up, and is the address right?", err)
	}
	a.hub.Revocations.Keys(a.verifier.Knows)
	a.undo.add("key set", time.Second, func(context.Context) error { cancel(); return nil })
	if !a.c.Keys.Development { // there SIGHUP, from a terminal that is closed, should end the program
		a.spawn("keys", time.Second, watchKeys(a.c.Keys, a.verifier, a.metrics.unusable, a.log))
	}
	return nil
}

func (a *App) startBroker(context.Context) (err error) {
	a.broker, err = broker.New(broker.Options{
		Hub: a.hub, Verifier: a.verifier, Origins: a.c.Origins, Log: a.log,
		MaxConnections: a.c.MaxConnections, MaxConnectionsPerUser: a.c.MaxConnectionsPerUser,
		MaxConnectionsPerIP: a.c.MaxConnectionsPerIP, ConnectRatePerIP: a.c.ConnectRatePerIP, ConnectRatePerUser: a.c.ConnectRatePerUser,
		PacketRate: a.c.PacketRate, TrustedProxies: a.c.Proxies, SessionTTL: a.c.SessionTTL,
	})
	if err != nil {
		return err
	}
	a.live.Store(a.broker)
	a.undo.add("broker", clientsRest, func(context.Context) error { return a.broker.Close() }) // devices are gone by then, see release
	for _, l := range []struct{ setting, addr, kind string }{
		{"mqtt-addr", a.c.MQTT, "tcp"}, {"mqtts-addr", a.c.MQTTS, "tls"},
	} {
		if l.addr == "" {
			continue
		}
		var secure *tls.Config
		switch {
		case l.kind == "tls" && a.c.TLSClientCA != "":
			secure = a.cert.mutual("mqtt")
		case l.kind == "tls":
			secure = a.cert.config("mqtt")
		}
		ln, err := a.listen(l.setting, l.addr, secure)
		if err != nil {
			return err
		}
		a.spawn(l.setting, time.Second, func(ctx context.Context) error { return a.broker.ServeTCP(ctx, ln, l.kind) })
	}
	return nil
}

// nodeBus is a bus with counters.
type nodeBus interface {
	bridge.Bus
	Stats() bus.Stats
}

// newBus returns the bus that --bus names, or with "auto" the one that fits the database.
func newBus(c *config.Config, node string, log *slog.Logger) (nodeBus, error) {
	switch {
	case c.Bus != config.BusAuto:
		b, err := redis.New(redis.Options{URL: c.Bus, Node: node, Logger: log})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.Name("bus"), err)
		}
		return b, nil
	case c.SQLite:
		return inproc.New(), nil // one node only
	}
	b, err := postgres.New(postgres.Options{URL: c.DatabaseURL, Node: node, Logger: log})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Name("database-url"), err)
	}
	return b, nil
}

// makeRelay creates the relay to an external broker, if one is configured. It is created
// before the hub, which wakes it, and started after it.
func (a *App) makeRelay(context.Context) (err error) {
	if a.c.RelayURL == nil {
		return nil
	}
	a.relay, err = relay.New(relay.Options{
		URL: a.c.RelayURL, Node: a.node, Feed: a.db, Store: a.db,
		Topics: a.c.Topics, Epoch: a.db.Epoch, Logger: a.log,
		Now: func() time.Time { return a.hub.Now() }, // the hub does not exist yet
	})
	if err != nil {
		return fmt.Errorf("%s: %w", a.c.Name("relay-url"), err)
	}
	return nil
}

// wakeRelay returns the function that the hub calls when a log has changed, or nil.
func (a *App) wakeRelay() func() {
	if a.relay == nil {
		return nil
	}
	return a.relay.Wake
}

func (a *App) startRelay(context.Context) error {
	if a.relay != nil {
		a.spawn("relay", 5*time.Second, a.relay.Run) // releases its lease
	}
	return nil
}

// NewLogger returns a logger that writes to w in the configured format.
func NewLogger(w io.Writer, c *config.Config, level slog.Leveler) *slog.Logger {
	o := &slog.HandlerOptions{Level: level}
	if c.LogJSON {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}
