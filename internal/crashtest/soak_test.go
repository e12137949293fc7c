package crashtest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/paho"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/testserver"
)

// soakTime is how long TestEverythingAtOnceLosesNothing runs; make soak sets it to an hour.
var soakTime = flag.Duration("soak.time", 4*time.Second, "how long the test with everything on runs")

// The pauses of a soak.
const (
	soakPosts  = 30 * time.Millisecond  // between two posts
	soakHops   = 200 * time.Millisecond // between two connections cut by a device
	soakVisits = 500 * time.Millisecond // between two devices without a session
	soakKills  = time.Minute            // between two kills; at most a third of the run
)

// soak consists of two nodes with every feature on. Some users have two persistent devices each,
// which reconnect repeatedly. The others have none, so that their notifications are sent by Web Push
// and as webhooks. All notifications are relayed to an external broker.
type soak struct {
	*fleet
	*attempts
	admin     []string // each node's admin listener, host:port
	connected []bridge.UserID
	absent    []bridge.UserID
	devices   []*device
	relayed   *relayed
	ledger    *ledger
}

func newSoak(t *testing.T) *soak {
	t.Helper()
	pg, broker := testserver.NewPostgres(t), testserver.NewMosquitto(t, "allow_anonymous true\nmax_queued_messages 0")
	a, settings := newAttempts(t)
	s := &soak{attempts: a, relayed: newRelayed(t, broker.URL), ledger: newLedger()}
	settings = append(settings, "FALCON_PUSH_AFTER=2s", "FALCON_WEBHOOK_WHEN=unacknowledged 3s", "FALCON_RELAY_URL="+broker.URL)
	s.fleet = newFleet(t, 2, func(i int) []string {
		s.admin = append(s.admin, loopback(t))
		return slices.Concat(withDatabase(pg.URL)(i), settings, []string{"FALCON_ADMIN_ADDR=" + s.admin[i]})
	})
	all := users(40)
	s.connected, s.absent = all[:20], all[20:]
	s.devices = s.fleet.devices(s.connected, nil)
	for _, u := range s.absent {
		a.register(s.fleet, u)
	}
	return s
}

// relayed counts the notifications that a subscriber of the external broker receives.
type relayed struct {
	mu   sync.Mutex
	seen map[note]int
}

func newRelayed(t *testing.T, broker string) *relayed {
	t.Helper()
	u, err := url.Parse(broker)
	if err != nil {
		t.Fatal(err)
	}
	r := &relayed{seen: make(map[note]int)}
	subscribed := make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	cm, err := autopaho.NewConnection(ctx, autopaho.ClientConfig{ServerUrls: []*url.URL{u}, KeepAlive: 30, SessionExpiryInterval: 3600,
		OnConnectionUp: func(cm *autopaho.ConnectionManager, _ *paho.Connack) {
			sub := paho.SubscribeOptions{Topic: "users/+/reports/status", QoS: 1}
			if _, err := cm.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{sub}}); err == nil {
				close(subscribed)
			}
		},
		ClientConfig: paho.ClientConfig{ClientID: "soak", OnPublishReceived: []func(paho.PublishReceived) (bool, error){
			func(p paho.PublishReceived) (bool, error) { return true, r.count(p.Packet.Payload) }}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); <-cm.Done() })
	await(t, subscribed)
	return r
}

func (r *relayed) count(payload []byte) error {
	var n struct {
		Seq bridge.Seq
		To  bridge.UserID `json:"created_by"`
	}
	if err := json.Unmarshal(payload, &n); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen[note{n.To, n.Seq}]++
	return nil
}

// every calls f repeatedly until ctx ends, and pauses for about wait before each call.
func every(ctx context.Context, wait time.Duration, f func()) {
	for pause(ctx, int(wait.Milliseconds()/2), int(wait.Milliseconds()*3/2)) {
		f()
	}
}

// visit connects a device without a session, subscribes and cuts the connection.
func (s *soak) visit(ctx context.Context) {
	nc, err := s.dial()
	if err != nil {
		return
	}
	defer nc.Close()
	u := s.connected[mathrand.IntN(len(s.connected))]
	c := paho.NewClient(paho.ClientConfig{ClientID: "visitor-" + rand.Text(), Conn: nc, PacketTimeout: 3 * time.Second})
	if _, err := c.Connect(ctx, &paho.Connect{ClientID: c.ClientID(), CleanStart: true, KeepAlive: 30, UsernameFlag: true, Username: "device",
		PasswordFlag: true, Password: []byte(sign(s.fleet.t, u, 0))}); err == nil {
		_, _ = c.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: bridge.Topics{}.Status(u), QoS: 1}}})
	}
}

// run posts, reconnects and visits for a duration of d, and kills a node every soakKills. In the
// first half it kills the two nodes alternately. In the second half it kills only node 1, so that
// the figures of node 0 at the end are those of a process that has run for a while. run calls
// secondHalf before the first kill of the second half.
func (s *soak) run(d time.Duration, secondHalf func()) (kills int) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var wg sync.WaitGroup
	app, all := sign(s.fleet.t, "app", bridge.ScopeWrite), slices.Concat(s.connected, s.absent)
	wg.Go(func() { every(ctx, soakPosts, func() { s.post(s.ledger, app, pickUsers(all, 1)) }) })
	wg.Go(func() { every(ctx, 20*soakPosts, func() { s.post(s.ledger, app, pickUsers(all, 20)) }) })
	wg.Go(func() { every(ctx, soakHops, func() { s.devices[mathrand.IntN(len(s.devices))].hop() }) })
	wg.Go(func() { every(ctx, soakVisits, func() { s.visit(ctx) }) })

	bin, start := testserver.Binary(s.fleet.t), time.Now()
	tick := time.NewTicker(min(soakKills, d/3))
	defer tick.Stop()
	end := time.After(d)
	for first := true; ; kills++ {
		select {
		case <-end:
			cancel()
			wg.Wait()
			return kills
		case <-tick.C:
		}
		victim := s.nodes[1]
		if time.Since(start) < d/2 {
			victim = s.nodes[kills%2]
		} else if first {
			first = false
			secondHalf()
		}
		victim.end(syscall.SIGKILL)
		victim.start(s.fleet.t, bin)
		victim.ready(s.fleet.t)
	}
}

// channel counts the notifications that arrive in one way.
type channel struct {
	name                    string
	expected, lost, doubled int
}

// channels compares the posts whose response was 201 with what arrived.
func (s *soak) channels() []channel {
	s.ledger.mu.Lock()
	defer s.ledger.mu.Unlock()
	mqtt, relay := channel{name: "devices over MQTT"}, channel{name: "relay"}
	push, hook := channel{name: "Web Push, or in a summary"}, channel{name: "webhooks"}
	for _, d := range s.devices {
		want := len(s.ledger.seqs[d.user])
		last, repeats, _ := d.state()
		mqtt.expected += want
		mqtt.lost += max(0, want-int(last))
		mqtt.doubled += repeats
	}
	s.relayed.mu.Lock()
	defer s.relayed.mu.Unlock()
	s.attempts.mu.Lock()
	defer s.attempts.mu.Unlock()
	for u, seqs := range s.ledger.seqs {
		for _, seq := range seqs {
			n := note{u, seq}
			relay.count(s.relayed.seen[n])
			if slices.Contains(s.absent, u) {
				hook.count(len(s.posts[n]))
				if pushes := len(s.pushes[n]); pushes == 0 && s.summed[u] >= seq {
					push.count(1)
				} else {
					push.count(pushes)
				}
			}
		}
	}
	return []channel{mqtt, relay, push, hook}
}

// count counts a notification that arrived so many times.
func (c *channel) count(times int) {
	c.expected++
	if times == 0 {
		c.lost++
	} else {
		c.doubled += times - 1
	}
}

// figures are the resources that a node's process uses, after a garbage collection.
type figures struct{ heap, goroutines, files, resident float64 }

func (s *soak) figures(i int) (f figures) {
	s.fleet.t.Helper()
	for _, path := range []string{"/debug/pprof/heap?gc=1", "/metrics"} {
		resp, err := client.Get("http://" + s.admin[i] + path)
		if err != nil {
			s.fleet.t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		if err := errors.Join(err, resp.Body.Close()); err != nil {
			s.fleet.t.Fatal(err)
		}
		for lines := bufio.NewScanner(bytes.NewReader(b)); path == "/metrics" && lines.Scan(); {
			name, value, _ := strings.Cut(lines.Text(), " ")
			figure := map[string]*float64{"go_memstats_heap_alloc_bytes": &f.heap, "go_goroutines": &f.goroutines,
				"process_open_fds": &f.files, "process_resident_memory_bytes": &f.resident}[name]
			if figure == nil {
				continue
			}
			if _, err := fmt.Sscan(value, figure); err != nil {
				s.fleet.t.Fatal(err)
			}
		}
	}
	if f.goroutines == 0 || f.files == 0 || f.heap == 0 {
		s.fleet.t.Fatalf("the node has no figures: %+v", f)
	}
	return f
}

// With two nodes, the relay, pushes, webhooks, devices that come and go, and a kill every minute,
// no notification whose post got a 201 is lost on any channel, and a node that is not killed uses
// no more resources at the end than it did before.
func TestEverythingAtOnceLosesNothing(t *testing.T) {
	t.Parallel()
	s := newSoak(t)
	start, middle := s.figures(0), figures{}
	begun := time.Now()
	kills := s.run(*soakTime, func() { middle = s.figures(0) })
	var channels []channel
	for deadline := time.Now().Add(waitLimit); ; pause(context.Background(), 100, 101) {
		channels = s.channels()
		lost := 0
		for _, c := range channels {
			lost += c.lost
		}
		if lost == 0 || time.Now().After(deadline) {
			break
		}
	}
	end := s.figures(0)
	took := time.Since(begun).Round(time.Second)

	var table bytes.Buffer
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "channel\texpected\tlost\tdoubled\t")
	for _, x := range channels {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t\n", x.name, x.expected, x.lost, x.doubled)
		if x.lost > 0 {
			t.Errorf("%s: %d of %d lost", x.name, x.lost, x.expected)
		}
	}
	fmt.Fprintln(w, "\t\t\t\t\nnode 0\tstart\tmiddle\tend\t")
	for _, x := range []struct {
		name               string
		start, middle, end float64
	}{
		{"heap, MiB", start.heap / (1 << 20), middle.heap / (1 << 20), end.heap / (1 << 20)},
		{"resident, MiB", start.resident / (1 << 20), middle.resident / (1 << 20), end.resident / (1 << 20)},
		{"goroutines", start.goroutines, middle.goroutines, end.goroutines},
		{"file descriptors", start.files, middle.files, end.files},
	} {
		fmt.Fprintf(w, "%s\t%.0f\t%.0f\t%.0f\t\n", x.name, x.start, x.middle, x.end)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%v with everything on, %d kills, %d posts without a response at first:\n%s", took, kills, s.ledger.failures, &table)

	s.check(s.ledger, s.devices)
	for _, f := range s.faults {
		t.Error(f)
	}
	// The allowance is about one descriptor and two goroutines for each device. A leak would
	// exceed that, since each device reconnects every few seconds.
	if allowed := float64(len(s.devices)); end.goroutines > start.goroutines+2*allowed || end.files > start.files+allowed {
		t.Errorf("node 0 had %.0f goroutines and %.0f descriptors at the start, %.0f and %.0f at the end", start.goroutines, start.files, end.goroutines, end.files)
	}
}
