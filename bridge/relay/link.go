package relay

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/paho"

	"github.com/falconalert/falconbridge/bridge"
)

// message is a message to publish on a user's topic. If item is nil, it clears the retained
// message.
type message struct {
	user bridge.UserID
	item *bridge.Notification
}

// link is one connection to the external broker. It never reconnects. Instead the next term makes a
// new link. Thus a node that has lost the lease cannot take the client id over from the node that
// holds the lease.
type link struct {
	cm        *autopaho.ConnectionManager
	maxPacket atomic.Uint32 // the broker's Maximum Packet Size; 0 means no limit
	down      chan struct{} // closed when the connection ends
	stop      context.CancelFunc
}

const connectWait = 10 * time.Second

func (r *Relay) connect(ctx context.Context) (*link, error) {
	ctx, stop := context.WithCancel(ctx)
	l := &link{down: make(chan struct{}), stop: stop}
	var once sync.Once
	end := func() { once.Do(func() { close(l.down) }) }
	refused := make(chan error, 1)
	server := *r.o.URL
	server.User = nil
	password, _ := r.o.URL.User.Password()
	cm, err := autopaho.NewConnection(ctx, autopaho.ClientConfig{
		ServerUrls:                    []*url.URL{&server},
		TlsCfg:                        &tls.Config{MinVersion: tls.VersionTLS12},
		KeepAlive:                     10,
		CleanStartOnInitialConnection: true, // no session is needed: the state is in the database
		ConnectTimeout:                connectWait,
		ReconnectBackoff:              autopaho.NewConstantBackoff(time.Second),
		ConnectUsername:               r.o.URL.User.Username(),
		ConnectPassword:               []byte(password),
		OnConnectionUp: func(_ *autopaho.ConnectionManager, c *paho.Connack) {
			if c.Properties != nil && c.Properties.MaximumPacketSize != nil {
				l.maxPacket.Store(*c.Properties.MaximumPacketSize)
			}
		},
		OnConnectionDown: func() bool { end(); return false },
		OnConnectError: func(err error) {
			select {
			case refused <- err:
			default:
			}
		},
		ClientConfig: paho.ClientConfig{
			ClientID:           r.o.ClientID,
			OnServerDisconnect: func(*paho.Disconnect) { end() },
			OnClientError:      func(error) { end() },
		},
	})
	if err != nil {
		stop()
		return nil, fmt.Errorf("connect to the external broker: %w", err)
	}
	l.cm = cm
	up := make(chan error, 1)
	go func() { up <- cm.AwaitConnection(ctx) }()
	select {
	case err = <-up:
	case err = <-refused:
	}
	if err != nil {
		l.close()
		return nil, fmt.Errorf("connect to the external broker: %w", err)
	}
	return l, nil
}

// close disconnects and waits until the connection's goroutines have ended.
func (l *link) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = l.cm.Disconnect(ctx)
	l.stop()
	<-l.cm.Done()
}

// publish publishes ms and waits for all PUBACKs. The messages of one user are published one after
// the other, so that neither the network nor a retry reorders them. Different users are published
// to in parallel, at most Options.Window at once.
func (t *term) publish(ctx context.Context, ms []message) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	byUser := make(map[bridge.UserID][]message)
	var order []bridge.UserID
	for _, m := range ms {
		if byUser[m.user] == nil {
			order = append(order, m.user)
		}
		byUser[m.user] = append(byUser[m.user], m)
	}
	work := make(chan []message)
	errs := make(chan error, t.r.o.Window)
	var wg sync.WaitGroup
	for range min(t.r.o.Window, len(order)) {
		wg.Go(func() {
			for ofUser := range work {
				for _, m := range ofUser {
					if err := t.send(ctx, m); err != nil {
						cancel()
						errs <- err
						return
					}
				}
			}
		})
	}
	for _, u := range order {
		select {
		case work <- byUser[u]:
			continue
		case <-ctx.Done():
		case <-t.link.down:
			cancel()
		}
		break
	}
	close(work)
	wg.Wait()
	select {
	case err := <-errs:
		return err
	default:
		return ctx.Err()
	}
}

// send publishes one message and waits for its PUBACK.
func (t *term) send(ctx context.Context, m message) error {
	if !t.held() {
		return errLost
	}
	if m.item != nil && m.item.Expired(t.r.o.Now()) {
		return nil // it has expired since it was read, and its removal will correct the retained message
	}
	p := &paho.Publish{Topic: t.r.o.Topics.Status(m.user), QoS: 1, Retain: true}
	if m.item != nil {
		format := byte(1)
		p.Payload = m.item.Item()
		p.Properties = &paho.PublishProperties{ContentType: "application/json", PayloadFormat: &format}
		if life := m.item.Life(t.r.o.Now); life > 0 {
			p.Properties.MessageExpiry = &life
		}
		p.Properties.User.Add("id", strconv.FormatInt(m.item.ID, 10))
		p.Properties.User.Add("seq", strconv.FormatInt(int64(m.item.Seq), 10))
		p.Properties.User.Add("kind", string(m.item.Kind))
		if t.r.o.Epoch != nil {
			p.Properties.User.Add("epoch", t.r.o.Epoch())
		}
	}
	if limit := t.link.maxPacket.Load(); limit > 0 && packetSize(p) > int(limit) {
		t.r.stats.oversize.Add(1) // counts as delivered (MQTT 5 §3.2.2.3.6)
		return nil
	}
	ack, err := t.link.cm.Publish(ctx, p)
	switch {
	case err == nil:
		return nil
	case ack != nil && ack.ReasonCode >= 0x80 && !errors.Is(err, context.Canceled):
		return fmt.Errorf("the external broker refused a message of %s with reason 0x%02X", m.user, ack.ReasonCode)
	}
	return fmt.Errorf("publish to the external broker: %w", err)
}

// packetSize returns an upper bound of p's size on the wire.
func packetSize(p *paho.Publish) int {
	n := 16 + len(p.Topic) + len(p.Payload)
	if p.Properties != nil {
		n += 13 + len(p.Properties.ContentType)
		for _, u := range p.Properties.User {
			n += 5 + len(u.Key) + len(u.Value)
		}
	}
	return n
}
