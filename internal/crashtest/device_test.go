package crashtest

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/paho"
	mqtt3 "github.com/eclipse/paho.mqtt.golang"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/testserver"
)

// device is a persistent device that uses a public client library. The library reconnects by
// itself, to a random node.
type device struct {
	kind string // "3.1.1", "5"
	user bridge.UserID
	hop  func() // closes the connection without a DISCONNECT

	mu     sync.Mutex
	seen   map[bridge.Seq]int   // how often each seq was received
	last   bridge.Seq           // the highest seq received
	fault  string               // the first thing that was wrong
	noDUP  bool                 // repeats may lack DUP
	record func(payload []byte) // if set, receives each message, and seqs are not checked
	epoch  string               // of the last message; messages over 3.1.1 have none
}

// devices connects a device of each MQTT version for every user and waits until all of them are
// subscribed. dial connects to a node; nil means to a random one.
func (f *fleet) devices(users []bridge.UserID, dial func() (net.Conn, error)) []*device {
	f.t.Helper()
	if dial == nil {
		dial = f.dial
	}
	var all []*device
	for _, u := range users {
		all = append(all, connect5(f.t, u, sign(f.t, u, 0), dial), connect3(f.t, u, sign(f.t, u, 0), dial))
	}
	return all
}

func (f *fleet) dial() (net.Conn, error) {
	x, err := f.pick()
	if err != nil {
		return nil, err
	}
	return net.DialTimeout("tcp", x.mqtt, 2*time.Second)
}

// receive counts a message. If a seq is received for the first time and does not follow the last
// one, a notification was lost or reordered. A repeat must have DUP set.
func (d *device) receive(payload []byte, retained, dup bool) {
	var n struct {
		Seq       bridge.Seq
		CreatedBy bridge.UserID `json:"created_by"`
	}
	err := json.Unmarshal(payload, &n)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.record != nil {
		d.record(payload)
		return
	}
	fault := ""
	switch {
	case err != nil:
		fault = fmt.Sprintf("got an invalid payload: %v", err)
	case n.CreatedBy != d.user:
		fault = fmt.Sprintf("got a message of user %s", n.CreatedBy)
	case retained:
		return // retained messages are not in order
	case d.seen[n.Seq] > 0 && !dup && !d.noDUP:
		fault = fmt.Sprintf("got seq %d again without DUP", n.Seq)
	case d.seen[n.Seq] == 0 && n.Seq != d.last+1:
		fault = fmt.Sprintf("got seq %d after %d", n.Seq, d.last)
	}
	if d.fault == "" {
		d.fault = fault
	}
	d.seen[n.Seq]++
	d.last = max(d.last, n.Seq)
}

// state returns what the device has received so far.
func (d *device) state() (last bridge.Seq, repeats int, fault string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, n := range d.seen {
		repeats += n - 1
	}
	return d.last, repeats, d.fault
}

// cutter opens connections and can close the current one.
type cutter struct {
	dial func() (net.Conn, error)
	mu   sync.Mutex
	nc   net.Conn
}

func (c *cutter) open() (net.Conn, error) {
	nc, err := c.dial()
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nc = nc
	return nc, nil
}

func (c *cutter) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.nc != nil {
		_ = c.nc.Close()
	}
}

func newDevice(kind string, u bridge.UserID, c *cutter) *device {
	return &device{kind: kind, user: u, hop: c.cut, seen: make(map[bridge.Seq]int)}
}

// connect5 connects a device that uses paho.golang, which speaks MQTT 5.
func connect5(t *testing.T, u bridge.UserID, token string, dial func() (net.Conn, error)) *device {
	t.Helper()
	c := &cutter{dial: dial}
	d := newDevice("5", u, c)
	ctx, cancel := context.WithCancel(context.Background())
	subscribed := make(chan struct{})
	ready := sync.OnceFunc(func() { close(subscribed) })
	cm, err := autopaho.NewConnection(ctx, autopaho.ClientConfig{
		ServerUrls: []*url.URL{{Scheme: "mqtt", Host: "node:1883"}}, KeepAlive: 5, SessionExpiryInterval: 3600,
		ReconnectBackoff: autopaho.NewConstantBackoff(30 * time.Millisecond), ConnectTimeout: 3 * time.Second,
		ConnectUsername: "device", ConnectPassword: []byte(token),
		AttemptConnection: func(context.Context, autopaho.ClientConfig, *url.URL) (net.Conn, error) { return c.open() },
		OnConnectionUp: func(cm *autopaho.ConnectionManager, ack *paho.Connack) {
			if ack.SessionPresent && isClosed(subscribed) { // the session still has the subscription
				return
			}
			sub := paho.SubscribeOptions{Topic: bridge.Topics{}.Status(u), QoS: 1}
			if _, err := cm.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{sub}}); err == nil {
				ready()
			}
		},
		ClientConfig: paho.ClientConfig{ClientID: "phone5-" + rand.Text(), OnPublishReceived: []func(paho.PublishReceived) (bool, error){
			func(p paho.PublishReceived) (bool, error) {
				d.mu.Lock()
				d.epoch = p.Packet.Properties.User.Get("epoch")
				d.mu.Unlock()
				d.receive(p.Packet.Payload, p.Packet.Retain, p.Packet.Duplicate())
				return true, nil
			}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); <-cm.Done() })
	await(t, subscribed)
	return d
}

// connect3 connects a device that uses paho.mqtt.golang, which speaks 3.1.1.
func connect3(t *testing.T, u bridge.UserID, token string, dial func() (net.Conn, error)) *device {
	t.Helper()
	c := &cutter{dial: dial}
	d := newDevice("3.1.1", u, c)
	subscribed := make(chan struct{})
	ready := sync.OnceFunc(func() { close(subscribed) })
	o := mqtt3.NewClientOptions().AddBroker("tcp://node:1883").SetClientID("phone3-" + rand.Text()).SetProtocolVersion(4).
		SetUsername("device").SetPassword(token).SetCleanSession(false).SetKeepAlive(5 * time.Second).SetOrderMatters(true).
		SetAutoReconnect(true).SetConnectRetry(true).SetConnectRetryInterval(30 * time.Millisecond).
		SetMaxReconnectInterval(100 * time.Millisecond).SetConnectTimeout(3 * time.Second).
		SetCustomOpenConnectionFn(func(*url.URL, mqtt3.ClientOptions) (net.Conn, error) { return c.open() })
	o.SetDefaultPublishHandler(func(_ mqtt3.Client, m mqtt3.Message) { d.receive(m.Payload(), m.Retained(), m.Duplicate()) })
	o.SetOnConnectHandler(func(cl mqtt3.Client) {
		if isClosed(subscribed) {
			return
		}
		if s := cl.Subscribe(bridge.Topics{}.Status(u), 1, nil); s.WaitTimeout(waitLimit) && s.Error() == nil {
			ready()
		}
	})
	cl := mqtt3.NewClient(o)
	cl.Connect()
	t.Cleanup(func() { cl.Disconnect(0) })
	await(t, subscribed)
	return d
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func await(t *testing.T, c chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(waitLimit):
		t.Fatal("a device could not subscribe")
	}
}

// check waits until every device has received every notification whose post got a 201. It then
// compares the history and what each device received with the ledger.
func (f *fleet) check(l *ledger, ds []*device) {
	f.t.Helper()
	l.check(f.t)
	total, repeats := 0, 0
	for u, seqs := range l.seqs {
		total += len(seqs)
		got, err := f.history(u)
		if err != nil {
			f.t.Error(err)
		} else if len(got) != len(seqs) || len(got) > 0 && got[len(got)-1] != bridge.Seq(len(seqs)) {
			f.t.Errorf("user %s: %d notifications in the history, %d posts with 201", u, len(got), len(seqs))
		}
	}
	for _, d := range ds {
		want := bridge.Seq(len(l.seqs[d.user]))
		testserver.Eventually(f.t, waitLimit, func() error {
			if last, _, _ := d.state(); last < want {
				return fmt.Errorf("the %s device of user %s has %d of %d notifications", d.kind, d.user, last, want)
			}
			return nil
		})
		last, n, fault := d.state()
		repeats += n
		if fault != "" || last > want {
			f.t.Errorf("the %s device of user %s: %s (%d of %d)", d.kind, d.user, fault, last, want)
		}
	}
	f.t.Logf("%d notifications with 201 (and %d attempts without), %d devices, %d repeats", total, l.failures, len(ds), repeats)
}
