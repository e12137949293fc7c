package broker

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/delivery"
	"github.com/falconalert/falconbridge/bridge/token"
	"github.com/falconalert/falconbridge/internal/testserver"
)

// world is a broker over a memLog that listens on loopback: TCP, TLS and WebSocket.
type world struct {
	testing.TB
	log    *memLog
	hub    *delivery.Hub
	svc    *bridge.Service
	broker *Broker
	logged *strings.Builder // what was logged
	tcp    string
	tls    string
	ws     string
}

// users is a Verifier of tokens that read "user" or "user/scope".
type users struct{}

func (users) Verify(_ context.Context, raw string) (bridge.Claims, error) {
	switch raw {
	case "bad":
		return bridge.Claims{}, fmt.Errorf("%w: no configured key made its signature", token.ErrInvalid)
	case "expired":
		return bridge.Claims{}, token.ErrExpired
	case "revoked":
		return bridge.Claims{}, token.ErrRevoked
	case "unknown":
		return bridge.Claims{}, fmt.Errorf("%w: %w", token.ErrInvalid, token.ErrUnavailable)
	case "panic":
		panic("a panic that quotes " + raw + ": Geheimnis")
	case "brief":
		return bridge.Claims{User: "7", ExpiresAt: time.Now().Add(300 * time.Millisecond)}, nil
	}
	user, scope, _ := strings.Cut(raw, "/")
	u, err := bridge.ParseUserID(user)
	if err != nil {
		return bridge.Claims{}, token.ErrInvalid
	}
	return bridge.Claims{User: u, Scope: bridge.ParseScope(scope), ExpiresAt: time.Now().Add(time.Hour)}, nil
}

func newWorld(t testing.TB, o Options) *world { return newWorldHub(t, o, delivery.Options{}) }

func newWorldHub(t testing.TB, o Options, ho delivery.Options) *world {
	t.Helper()
	w := &world{TB: t, log: newMemLog(), logged: &strings.Builder{}}
	quiet := slog.New(slog.DiscardHandler)
	ho.Log, ho.Sessions, ho.Feed, ho.Cluster = w.log, w.log, w.log, singleNode{}
	ho.Epoch, ho.Logger = func() string { return "e1" }, quiet
	w.hub = delivery.NewHub(ho)
	w.svc = bridge.NewService(bridge.ServiceOptions{Log: w.log, Hub: w.hub, Bus: nopBus{}})
	o.Hub, o.Verifier = w.hub, users{}
	if o.Log == nil {
		o.Log = quiet
	}
	if o.Linger == 0 {
		o.Linger = 100 * time.Millisecond
	}
	var err error
	if w.broker, err = New(o); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 3)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.tcp = l.Addr().String()
	go func() { served <- w.broker.ServeTCP(ctx, l, "tcp") }()
	secure, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.tls = secure.Addr().String()
	conf := &tls.Config{Certificates: []tls.Certificate{ownCertificate()}, MinVersion: tls.VersionTLS12}
	go func() { served <- w.broker.ServeTCP(ctx, tls.NewListener(secure, conf), "tls") }()
	go func() { served <- w.hub.Run(ctx) }()
	web := httptest.NewServer(w.broker.WebSocket())
	w.ws = web.Listener.Addr().String()
	t.Cleanup(func() {
		_ = w.broker.Close()
		cancel()
		web.Close()
		for range cap(served) {
			if err := <-served; err != nil {
				t.Errorf("serving ended with %v", err)
			}
		}
	})
	return w
}

func (w *world) notify(u bridge.UserID, titles ...string) {
	w.Helper()
	for _, s := range titles {
		if _, err := w.svc.Notify(context.Background(), bridge.Draft{User: u, Title: s, Message: s}, nil); err != nil {
			w.Fatalf("notify: %v", err)
		}
	}
}

// eventually waits until check accepts the broker's counters.
func (w *world) eventually(what string, check func(Stats) bool) {
	w.Helper()
	testserver.Eventually(w, 5*time.Second, func() error {
		if s := w.broker.Stats(); !check(s) {
			return fmt.Errorf("not %s: %+v", what, s)
		}
		return nil
	})
}

// everywhere runs a test on every transport with every protocol version.
func everywhere(t *testing.T, o Options, run func(t *testing.T, w *world, at endpoint)) {
	for _, transport := range []string{"tcp", "tls", "ws"} {
		for _, version := range []byte{4, 5} {
			t.Run(fmt.Sprintf("%s, MQTT %d", transport, version), func(t *testing.T) {
				t.Parallel()
				run(t, newWorld(t, o), endpoint{transport, version})
			})
		}
	}
}

// endpoint is the transport and protocol version of a device.
type endpoint struct {
	transport string
	version   byte
}
