package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
	"github.com/eclipse/paho.golang/paho/session/state"
)

// tail is the device behind the command of that name.
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
	broken chan error // the output cannot be written

	connected atomic.Bool // once

	mu      sync.Mutex
	since   *uint64 // where the next subscription begins; nil: at the retained message
	epoch   string
	last    uint64 // highest seq printed in epoch
	printed uint64
}

// Reason codes of MQTT 5 that connecting again does not mend.
const (
	codeBadToken      = 0x86
	codeNotAuthorized = 0x87
	codeTakenOver     = 0x8E
)

// connect puts a token into the CONNECT, a fresh one each time where it signs
// them itself.
func (t *tail) connect(c *paho.Connect, _ *url.URL) (*paho.Connect, error) {
	raw, err := t.bearer()
	c.Password, c.PasswordFlag = []byte(raw), true
	return c, err
}

// up subscribes. A resumed session is subscribed again, too, in case the former
// connection ended before it was; retain handling 1 makes that change nothing.
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
		t.since = nil // named once; from here on the server keeps the place
	}
	t.mu.Unlock()
	go t.subscribe(m, s) // up must not block the client
}

// subscribe asks until it is answered, refused or disconnected.
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
			return // the connection is gone: up is called again
		}
		t.log.Warn("the server cannot subscribe now, asking again")
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
		select {} // never acknowledged: it comes again
	}
	return true, nil
}

// print writes one notification, unless it printed that seq before: at least once means
// that some come twice.
func (t *tail) print(p *paho.Publish) error {
	var item struct {
		Seq uint64 `json:"seq"`
	}
	if err := json.Unmarshal(p.Payload, &item); err != nil {
		return fmt.Errorf("the server sent what is no notification: %w", err)
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
		return fmt.Errorf("the server sent what is no notification: %w", err)
	}
	if _, err := t.out.Write(text); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	t.last = item.Seq
	t.printed++
	if !t.persistent {
		t.since = &item.Seq // after a lost connection it goes on from here
	}
	return nil
}

// session tells the tail what happens to its MQTT session: acknowledgements that were
// written, and the server's DISCONNECT.
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

// refused is told of attempts to connect that failed.
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

// disconnected is told of a DISCONNECT of the server.
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
