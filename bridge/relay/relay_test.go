package relay_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/paho"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/relay"
	"github.com/falconalert/falconbridge/internal/testserver"
)

const waitLimit = 20 * time.Second

const open = "allow_anonymous true"

// device is a client of the external broker that records what it receives.
type device struct {
	mu  sync.Mutex
	got map[string][]string // by topic: the seq, or "" for an empty payload, with the prefix "r:" if retained
}

// subscribe connects a device and waits for its SUBACK.
func subscribe(t *testing.T, server string) *device {
	t.Helper()
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	d := &device{got: make(map[string][]string)}
	ctx, cancel := context.WithCancel(context.Background())
	ready := make(chan error, 8)
	cm, err := autopaho.NewConnection(ctx, autopaho.ClientConfig{
		ServerUrls: []*url.URL{u}, KeepAlive: 10, SessionExpiryInterval: 600,
		ReconnectBackoff: autopaho.NewConstantBackoff(50 * time.Millisecond),
		OnConnectionUp: func(cm *autopaho.ConnectionManager, _ *paho.Connack) {
			_, err := cm.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: "users/+/reports/status", QoS: 1}}})
			ready <- err
		},
		ClientConfig: paho.ClientConfig{ClientID: rand.Text(), OnPublishReceived: []func(paho.PublishReceived) (bool, error){
			func(p paho.PublishReceived) (bool, error) { d.receive(p.Packet); return true, nil }}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); <-cm.Done() })
	select {
	case err := <-ready:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(waitLimit):
		t.Fatal("no SUBACK")
	}
	return d
}

func (d *device) receive(p *paho.Publish) {
	d.mu.Lock()
	defer d.mu.Unlock()
	entry := ""
	if p.Properties != nil && len(p.Payload) > 0 {
		entry = p.Properties.User.Get("seq")
	}
	if p.Retain {
		entry = "r:" + entry
	}
	d.got[p.Topic] = append(d.got[p.Topic], entry)
}

func (d *device) received(u bridge.UserID) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]string(nil), d.got[bridge.Topics{}.Status(u)]...)
}

// run starts a relay that runs until the test ends or stop is called.
func run(t *testing.T, server, node string, b *fakeStore) (stop func()) {
	t.Helper()
	return runWith(t, server, b, relay.Options{Node: node})
}

func runWith(t *testing.T, server string, b *fakeStore, o relay.Options) (stop func()) {
	t.Helper()
	_, stop = start(t, server, b, o)
	return stop
}

func start(t *testing.T, server string, b *fakeStore, o relay.Options) (r *relay.Relay, stop func()) {
	t.Helper()
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	o.URL, o.Feed, o.Store, o.Lease, o.Poll = u, b, b, 2*time.Second, 20*time.Millisecond
	r, err = relay.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the relay ended with %v", err)
		}
	})
	t.Cleanup(stop)
	return r, stop
}

// awaitStart waits until the relay has stored where it starts.
func awaitStart(t *testing.T, b *fakeStore) {
	t.Helper()
	testserver.Eventually(t, waitLimit, func() error {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.saves == 0 {
			return errors.New("nothing is saved yet")
		}
		return nil
	})
}

// eventually waits until the device's messages of u satisfy ok.
func (d *device) eventually(t *testing.T, u bridge.UserID, want string, ok func([]string) bool) {
	t.Helper()
	testserver.Eventually(t, waitLimit, func() error {
		if got := d.received(u); !ok(got) {
			return fmt.Errorf("user %s got %q, want %s", u, got, want)
		}
		return nil
	})
}

// complete reports whether a device that drops repeats by seq has received all of 1 to n in order.
func complete(n int) func([]string) bool {
	return func(got []string) bool {
		next := 1
		for _, w := range got {
			switch seq, err := strconv.Atoi(w); {
			case err == nil && seq > next:
				return false
			case err == nil && seq == next:
				next++
			}
		}
		return next > n
	}
}

// last reports whether the last message is entry.
func last(entry string) func([]string) bool {
	return func(got []string) bool { return len(got) > 0 && got[len(got)-1] == entry }
}

func TestEveryNotificationIsPublishedInOrder(t *testing.T) {
	server := testserver.NewMosquitto(t, open)
	d := subscribe(t, server.URL)
	b := &fakeStore{}
	run(t, server.URL, "a", b)
	awaitStart(t, b)
	b.add("7", 20)
	b.add("8", 20)
	d.eventually(t, "7", "1 to 20", complete(20))
	d.eventually(t, "8", "1 to 20", complete(20))
}

func TestRetainedMessagesFromBeforeTheRelayArePublished(t *testing.T) {
	server := testserver.NewMosquitto(t, open)
	b := &fakeStore{}
	for i := range 1200 { // more than a page
		b.add(bridge.UserID(fmt.Sprint("u", i)), 1)
	}
	b.add("u7", 1)
	r, _ := start(t, server.URL, b, relay.Options{Node: "a"})
	d := subscribe(t, server.URL)
	d.eventually(t, "u7", "its latest", func(got []string) bool { return last("2")(got) || last("r:2")(got) })
	for i := range 1200 {
		u := bridge.UserID(fmt.Sprint("u", i))
		d.eventually(t, u, "something", func(got []string) bool { return len(got) > 0 })
	}
	testserver.Eventually(t, 10*time.Second, func() error { // the device may receive a message before its PUBACK is counted
		if n := r.Stats().Published; n < 1200 {
			return fmt.Errorf("%d messages are counted as published", n)
		}
		return nil
	})
}

func TestMuteAndDeleteClearTheRetainedMessage(t *testing.T) {
	server := testserver.NewMosquitto(t, open)
	d := subscribe(t, server.URL)
	b := &fakeStore{}
	run(t, server.URL, "a", b)
	b.add("7", 2)
	d.eventually(t, "7", "2 last", last("2"))
	b.hide("7")
	d.eventually(t, "7", "a clear last", last(""))
	late := subscribe(t, server.URL)
	late.eventually(t, "7", "nothing", func(got []string) bool { return len(got) == 0 })
}

// One of a user's older notifications is deleted while the relay has a backlog. If the relay
// published the newest one right away, the device would drop the ones before it as repeats.
func TestADeleteDoesNotOvertakeTheBacklog(t *testing.T) {
	server := testserver.NewMosquitto(t, open)
	d := subscribe(t, server.URL)
	b := &fakeStore{}
	runWith(t, server.URL, b, relay.Options{Node: "a", Batch: 1})
	awaitStart(t, b)
	b.add("7", 2)
	d.eventually(t, "7", "1 2", complete(2))
	for seq := range bridge.Seq(2) {
		b.addAndDelete("7", 20, seq+1)
	}
	d.eventually(t, "7", "1 to 42", complete(42))
}

func TestADeleteRetainsTheLatestThatIsLeft(t *testing.T) {
	server := testserver.NewMosquitto(t, open)
	d := subscribe(t, server.URL)
	b := &fakeStore{}
	run(t, server.URL, "a", b)
	awaitStart(t, b)
	b.add("7", 3)
	d.eventually(t, "7", "1 to 3", complete(3))
	b.addAndDelete("7", 0, 3)
	d.eventually(t, "7", "2 last", last("2"))
	b.addAndDelete("7", 0, 2)
	d.eventually(t, "7", "1 last", last("1"))
	b.addAndDelete("7", 0, 1)
	d.eventually(t, "7", "a clear last", last(""))
}

func TestTheRelayContinuesAfterTheExternalBrokerWasKilled(t *testing.T) {
	server := testserver.NewMosquitto(t, open)
	d := subscribe(t, server.URL)
	b := &fakeStore{}
	run(t, server.URL, "a", b)
	for i := range 3 {
		b.add("7", 50)
		if i == 1 {
			if err := server.Kill(); err != nil {
				t.Fatal(err)
			}
			b.add("7", 50)
			if err := server.Start(); err != nil {
				t.Fatal(err)
			}
		}
	}
	// A killed mosquitto forgets the device's subscription. The last message is retained there,
	// which shows that the relay continued.
	d.eventually(t, "7", "200 last", func(got []string) bool { return last("200")(got) || last("r:200")(got) })
}

func TestTheRelayContinuesAfterTheDatabaseWasUnavailable(t *testing.T) {
	server := testserver.NewMosquitto(t, open)
	d := subscribe(t, server.URL)
	b := &fakeStore{}
	run(t, server.URL, "a", b)
	awaitStart(t, b)
	b.add("7", 1)
	d.eventually(t, "7", "1", complete(1))
	b.setUnavailable(true)
	b.add("7", 5)
	testserver.Eventually(t, waitLimit, func() error { // until the lease is over
		b.mu.Lock()
		defer b.mu.Unlock()
		if time.Now().Before(b.until) {
			return fmt.Errorf("the lease lasts until %v", b.until)
		}
		return nil
	})
	b.setUnavailable(false)
	d.eventually(t, "7", "1 to 6", complete(6))
}

func TestOneNodeRelaysAtATimeAndTheOtherTakesOver(t *testing.T) {
	server := testserver.NewMosquitto(t, open)
	d := subscribe(t, server.URL)
	b := &fakeStore{}
	stop := run(t, server.URL, "a", b)
	awaitStart(t, b)
	b.add("7", 10)
	d.eventually(t, "7", "1 to 10", complete(10))
	run(t, server.URL, "b", b)
	b.add("7", 10)
	d.eventually(t, "7", "1 to 20", complete(20))
	if b.heldBy() != "a" {
		t.Fatalf("%q holds the lease while a is running", b.heldBy())
	}
	stop()
	b.add("7", 10)
	d.eventually(t, "7", "1 to 30", complete(30))
	if got := d.received("7"); len(got) != 30 || b.heldBy() != "b" {
		t.Errorf("%d messages, want 30: an orderly handover repeats nothing; %q holds the lease", len(got), b.heldBy())
	}
}

func TestAURLThatIsNotABrokersIsRefused(t *testing.T) {
	for _, raw := range []string{"http://x:1", "mqtt://", "mqtt://x:1/path", "mqtt://x:1?q=1", "ws://x:1"} {
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		if relay.CheckURL(u) == nil {
			t.Errorf("%s was accepted", raw)
		}
	}
}
