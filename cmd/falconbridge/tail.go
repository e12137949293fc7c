package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	mathrand "math/rand/v2"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
	"github.com/eclipse/paho.golang/paho/session/state"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/config"
)

type tailCmd struct {
	client
	User       string  `placeholder:"ID" help:"The user whose notifications to print. Default: the user of the token."`
	ClientID   string  `name:"client-id" placeholder:"ID" help:"Client id of this device. Default: a random one, or falconbridge-tail with --persistent."`
	Persistent bool    `help:"Keep this device's session while it is disconnected."`
	Expiry     string  `default:"168h" placeholder:"TIME" help:"With --persistent: how long the session is kept. Default ${default}."`
	Since      *uint64 `placeholder:"SEQ" help:"Start with everything after this seq."`
	Count      uint64  `placeholder:"N" help:"Exit after this many notifications. Default: never."`
	JSON       bool    `name:"json" help:"Print JSON lines even in a terminal."`
}

func (tailCmd) Help() string {
	return `In a terminal the output is readable; otherwise each notification is one line of JSON.

Examples:

    falconbridge tail --user 42

    falconbridge tail --user 42 --persistent --client-id laptop

    falconbridge tail --user 42 --since 0 --count 10 | jq .title

    falconbridge tail --mqtt-url wss://bridge.example/mqtt --token-file token.txt`
}

func (tailCmd) scope() []string { return slices.Concat(config.LocalMQTTScope, config.SigningScope) }

func (tailCmd) ignored() []string { return []string{"url"} }

// Run prints notifications until it is interrupted, refused, or has printed
// --count of them. It reconnects after a lost connection without missing any.
func (c tailCmd) Run(p *program) error {
	cfg, t, err := c.prepare(p)
	if err != nil {
		return err
	}
	ctx, stop := interrupted()
	defer stop()
	ctx, t.end = context.WithCancelCause(ctx)
	t.ended = ctx.Done()
	m, err := autopaho.NewConnection(ctx, cfg)
	if err != nil {
		return fmt.Errorf("tail: %w", err)
	}
	select {
	case <-m.Done():
	case err := <-t.broken:
		return fmt.Errorf("tail: %w", err)
	}
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) && !errors.Is(err, errDone) {
		return fmt.Errorf("tail: %w", err)
	}
	return nil
}

// errDone ends a tail that has printed --count notifications.
var errDone = errors.New("done")

// prepare turns the flags into a connection's settings.
func (c tailCmd) prepare(p *program) (cfg autopaho.ClientConfig, t *tail, err error) {
	e, err := c.mqtt(p)
	if err != nil {
		return cfg, nil, err
	}
	expiry, err := config.ParseTime(c.Expiry)
	if err != nil || expiry < time.Second || expiry.Seconds() >= 1<<32-1 {
		return cfg, nil, errors.New("--expiry: is not a time of at least a second; write 168h or 7d")
	}
	settings, err := p.check([]string{"topic-prefix"})
	if err != nil {
		return cfg, nil, err
	}
	bearer, err := c.bearer(p, bridge.Claims{User: bridge.UserID(c.User)}, time.Hour)
	if err != nil {
		return cfg, nil, err
	}
	user, err := c.user(bearer)
	if err != nil {
		return cfg, nil, err
	}
	t = &tail{
		out: p.out, render: jsonLine, log: clientLog(p.err), bearer: bearer,
		server: e.url.Host, topic: settings.Topics.Status(user), since: c.Since, persistent: c.Persistent, count: c.Count,
		own: c.Token == "" && c.TokenFile == "", origin: c.origin(p), broken: make(chan error, 1),
	}
	if terminal(p.out) && !c.JSON {
		t.render = styleOf(p.out).show
	}
	cfg = autopaho.ClientConfig{
		ServerUrls:                    []*url.URL{e.url},
		TlsCfg:                        e.tls,
		KeepAlive:                     30,
		CleanStartOnInitialConnection: !c.Persistent,
		ReconnectBackoff:              backoff,
		ConnectPacketBuilder:          t.connect,
		OnConnectionUp:                t.up,
		OnConnectError:                t.refused,
		ClientConfig: paho.ClientConfig{
			ClientID:          c.ClientID,
			Session:           session{state.NewInMemory(), t},
			OnPublishReceived: []func(paho.PublishReceived) (bool, error){t.received},
		},
	}
	switch {
	case c.Persistent:
		cfg.SessionExpiryInterval = uint32(expiry / time.Second)
		if c.ClientID == "" {
			cfg.ClientID = "falconbridge-tail"
		}
	case c.ClientID == "":
		cfg.ClientID = "tail-" + rand.Text()[:12]
	}
	return cfg, t, nil
}

// backoff is the wait before connection attempt n, counted from 0.
func backoff(n int) time.Duration {
	if n == 0 {
		return 0
	}
	most := min(100*time.Millisecond<<min(n, 10), 10*time.Second)
	return most/2 + mathrand.N(most/2)
}

// user returns the user whose topic to subscribe to. It reads the token without
// verifying it, which is the server's part.
func (c tailCmd) user(bearer func() (string, error)) (bridge.UserID, error) {
	if c.User != "" {
		user, err := bridge.ParseUserID(c.User)
		if err != nil {
			return "", fmt.Errorf("--user: %w", err)
		}
		return user, nil
	}
	if c.Token == "" && c.TokenFile == "" {
		return "", errors.New("--user: is missing; name a user, or give a user's token")
	}
	raw, err := bearer()
	if err != nil {
		return "", err
	}
	var claims struct {
		Sub bridge.UserID `json:"sub"`
	}
	if parts := strings.Split(raw, "."); len(parts) == 3 {
		if b, err := base64.RawURLEncoding.DecodeString(parts[1]); err == nil && json.Unmarshal(b, &claims) == nil && claims.Sub != "" {
			return claims.Sub, nil
		}
	}
	return "", errors.New("--token: names no user; give --user as well")
}

// tail is the device of the tail command.
type tail struct {
	out        io.Writer
	render     func(item []byte) ([]byte, error) // what is printed of an item
	log        *slog.Logger
	bearer     func() (string, error)
	own        bool   // bearer signs a fresh token each time
	origin     string // for the error of a refused token; see client.origin
	server     string // where it connects, for the log
	topic      string
	persistent bool
	count      uint64 // notifications to print; 0: no end

	end    context.CancelCauseFunc
	ended  <-chan struct{}
	broken chan error // receives the error of an output that cannot be written

	connected atomic.Bool // once

	mu      sync.Mutex
	since   *uint64 // where the next subscription begins; nil: at the retained message
	epoch   string
	last    uint64 // highest seq printed in epoch
	printed uint64
}

// Reason codes of MQTT 5 after which reconnecting is useless.
const (
	codeBadToken      = 0x86
	codeNotAuthorized = 0x87
	codeTakenOver     = 0x8E
)

// connect puts a token into the CONNECT. A token that tail signs itself is a new one for
// each connection, so that it never expires before the reconnect.
func (t *tail) connect(c *paho.Connect, _ *url.URL) (*paho.Connect, error) {
	raw, err := t.bearer()
	c.Password, c.PasswordFlag = []byte(raw), true
	return c, err
}

// up subscribes after each connect. A resumed session is subscribed again, too, in case
// the last connection ended before its SUBACK; retain handling 1 keeps the retained
// message from being sent again to a session that has the subscription.
func (t *tail) up(m *autopaho.ConnectionManager, _ *paho.Connack) {
	t.connected.Store(true)
	s := &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: t.topic, QoS: 1}}}
	t.mu.Lock()
	if t.since != nil {
		s.Properties = &paho.SubscribeProperties{}
		s.Properties.User.Add("since", strconv.FormatUint(*t.since, 10))
	}
	if t.persistent {
		s.Subscriptions[0].RetainHandling = 1
		t.since = nil // only the first time; from here on the server keeps the cursor
	}
	t.mu.Unlock()
	go t.subscribe(m, s) // up must not block the client
}

// subscribe sends SUBSCRIBE until it succeeds, is refused or the connection ends.
func (t *tail) subscribe(m *autopaho.ConnectionManager, s *paho.Subscribe) {
	for {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		ack, err := m.Subscribe(ctx, s)
		cancel()
		switch {
		case ack != nil && len(ack.Reasons) == 1 && ack.Reasons[0] == codeNotAuthorized:
			t.end(errors.New("the token does not allow this user's notifications" + t.origin))
			return
		case err == nil:
			t.log.Info("subscribed", "topic", t.topic)
			return
		case ack == nil:
			return // the connection is lost: up is called after the next one
		}
		t.log.Warn("the server cannot subscribe now, trying again")
		select {
		case <-t.ended:
			return
		case <-time.After(time.Second):
		}
	}
}

// received prints one notification, which is acknowledged when it returns.
func (t *tail) received(r paho.PublishReceived) (bool, error) {
	if err := t.print(r.Packet); err != nil {
		t.broken <- err
		select {} // never acknowledged: the server sends it again
	}
	return true, nil
}

// print writes one notification, unless it printed that seq before: delivery at least
// once includes duplicates.
func (t *tail) print(p *paho.Publish) error {
	var item struct {
		Seq uint64 `json:"seq"`
	}
	if err := json.Unmarshal(p.Payload, &item); err != nil {
		return fmt.Errorf("the server sent something other than a notification: %w", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if epoch := p.Properties.User.Get("epoch"); epoch != t.epoch {
		t.epoch, t.last = epoch, 0
	}
	if item.Seq <= t.last {
		return nil
	}
	text, err := t.render(p.Payload)
	if err != nil {
		return fmt.Errorf("the server sent something other than a notification: %w", err)
	}
	if _, err := t.out.Write(text); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	t.last = item.Seq
	t.printed++
	if !t.persistent {
		t.since = &item.Seq // where the next connection continues
	}
	return nil
}

// session observes the MQTT session of a tail: the acknowledgements that were written,
// and the server's DISCONNECT.
type session struct {
	*state.State
	t *tail
}

// ConnectionLost passes on the DISCONNECT that ended the connection, if any. autopaho's
// OnServerDisconnect runs in a goroutine of its own, so that the next connection may be
// refused first, and its reason hide this one's. ConnectionLost is called before that.
func (s session) ConnectionLost(d *packets.Disconnect) error {
	if d != nil {
		s.t.disconnected(paho.DisconnectFromPacketDisconnect(d))
	}
	return s.State.ConnectionLost(d)
}

// Ack acknowledges, and ends the tail after its last one.
func (s session) Ack(p *packets.Publish) error {
	err := s.State.Ack(p)
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	if s.t.count > 0 && s.t.printed >= s.t.count {
		s.t.end(errDone)
	}
	return err
}

// refused is called after each attempt to connect that failed.
func (t *tail) refused(err error) {
	var c *autopaho.ConnackError
	if !errors.As(err, &c) {
		attrs := []any{"server", t.server, "error", cause(err)}
		if hint := foreign(err); hint != "" && !t.connected.Load() {
			attrs = append(attrs, "hint", hint)
		}
		t.log.Warn("cannot connect, trying again", attrs...)
		return
	}
	if c.ReasonCode == codeBadToken || c.ReasonCode == codeNotAuthorized {
		t.end(fmt.Errorf("the server refused the token: %s%s", c.Reason, t.origin))
		return
	}
	t.log.Warn("the server refuses connections, trying again", "code", c.ReasonCode, "reason", c.Reason)
}

// disconnected is called with the server's DISCONNECT.
func (t *tail) disconnected(d *paho.Disconnect) {
	reason := ""
	if d.Properties != nil {
		reason = d.Properties.ReasonString
	}
	switch {
	case d.ReasonCode == codeTakenOver:
		t.end(errors.New("another device connected under the same client id"))
	case d.ReasonCode == codeNotAuthorized && !t.own:
		t.end(fmt.Errorf("the server ended the connection: %s%s", reason, t.origin))
	default:
		t.log.Info("the server ended the connection, connecting again", "code", d.ReasonCode, "reason", reason)
	}
}
