package crashtest

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/paho"
	"github.com/uptrace/bun/driver/pgdriver"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/testserver"
)

// inbox is what a client shows: its notifications by id.
type inbox map[int64]shown

// shown is a notification in an inbox.
type shown struct {
	seq  bridge.Seq
	read bool
}

func (b inbox) String() string {
	text := ""
	for _, id := range slices.Sorted(maps.Keys(b)) {
		text += fmt.Sprintf(" %d", id)
		if !b[id].read {
			text += "*"
		}
	}
	return "[" + text + " ]"
}

// mirror is a device that follows the state of its inbox as the documentation describes. It
// applies notifications and state messages, and uses REST only if a state message requires it to
// fetch the list again.
type mirror struct {
	f     *fleet
	name  string
	user  bridge.UserID
	token string
	cut   func() // closes the connection without a DISCONNECT
	since bool   // whether it has no session and subscribes with the user property since

	mu      sync.Mutex // one message at a time
	shows   inbox
	rev     bridge.Rev
	last    bridge.Seq // the highest seq received
	settled bridge.Seq // the fetched list contains notifications up to this seq, so their deliveries are ignored
	client  *paho.Client
	former  map[*paho.Client]bool // clients of earlier connections, whose last messages may still arrive
	fetched int                   // how often the list was fetched
	fault   string
}

// follow connects a mirror of u's inbox through dial. With since it has no session.
func (f *fleet) follow(name string, u bridge.UserID, since bool, dial func() (net.Conn, error)) *mirror {
	f.t.Helper()
	c := &cutter{dial: dial}
	m := &mirror{f: f, name: name, user: u, token: sign(f.t, u, 0), cut: c.cut, since: since, shows: inbox{}, former: make(map[*paho.Client]bool)}
	ctx, cancel := context.WithCancel(context.Background())
	subscribed := make(chan struct{})
	ready := sync.OnceFunc(func() { close(subscribed) })
	expiry := uint32(3600)
	if since {
		expiry = 0
	}
	cm, err := autopaho.NewConnection(ctx, autopaho.ClientConfig{
		ServerUrls: []*url.URL{{Scheme: "mqtt", Host: "node:1883"}}, KeepAlive: 5, SessionExpiryInterval: expiry,
		ReconnectBackoff: autopaho.NewConstantBackoff(30 * time.Millisecond), ConnectTimeout: 3 * time.Second,
		ConnectUsername: "device", ConnectPassword: []byte(m.token),
		AttemptConnection: func(context.Context, autopaho.ClientConfig, *url.URL) (net.Conn, error) { return c.open() },
		OnConnectionUp: func(cm *autopaho.ConnectionManager, _ *paho.Connack) {
			if _, err := cm.Subscribe(ctx, m.subscribe()); err == nil {
				ready()
			} else {
				c.cut() // and try again
			}
		},
		ClientConfig: paho.ClientConfig{ClientID: name + "-" + rand.Text(), OnPublishReceived: []func(paho.PublishReceived) (bool, error){
			func(p paho.PublishReceived) (bool, error) { m.receive(ctx, p); return true, nil }}},
	})
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { cancel(); <-cm.Done() })
	await(f.t, subscribed)
	return m
}

func (m *mirror) subscribe() *paho.Subscribe {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := &paho.SubscribeProperties{}
	p.User.Add("state", strconv.FormatInt(int64(m.rev), 10))
	if m.since {
		p.User.Add("since", strconv.FormatInt(int64(m.last), 10))
	}
	return &paho.Subscribe{Properties: p, Subscriptions: []paho.SubscribeOptions{{Topic: bridge.Topics{}.Status(m.user), QoS: 1, RetainHandling: 1}}}
}

func (m *mirror) receive(ctx context.Context, p paho.PublishReceived) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.former[p.Client] {
		return
	}
	if m.client != nil && m.client != p.Client {
		m.former[m.client] = true
	}
	m.client = p.Client
	var err error
	if p.Packet.Properties.User.Get("type") == "state" {
		var s bridge.State
		if err = json.Unmarshal(p.Packet.Payload, &s); err == nil {
			m.apply(ctx, s, p.Packet.Retain)
		}
	} else {
		var n item
		if err = json.Unmarshal(p.Packet.Payload, &n); err == nil && n.Seq > m.settled {
			m.shows[n.ID] = shown{n.Seq, n.ReadAt != nil}
		}
		m.last = max(m.last, n.Seq)
	}
	if err != nil {
		m.fault = err.Error()
	}
}

func (m *mirror) apply(ctx context.Context, s bridge.State, retained bool) {
	switch {
	case retained:
		m.fault = "a state message is retained"
	case s.From == nil:
		m.fetch(ctx, s.Rev)
		return
	case s.Rev <= m.rev && m.rev > 0:
		return // the list was fetched at this rev or a later one
	case *s.From > m.rev:
		m.fault = fmt.Sprintf("a state message from rev %d to %d arrived at rev %d", *s.From, s.Rev, m.rev)
	}
	for id, n := range m.shows {
		if n.seq <= s.ReadUpTo {
			m.mark(id, true)
		}
	}
	for _, id := range s.Read {
		m.mark(id, true)
	}
	for _, id := range s.UnreadIDs {
		m.mark(id, false)
	}
	for _, id := range s.Deleted {
		delete(m.shows, id)
	}
	m.rev = s.Rev
}

func (m *mirror) mark(id int64, read bool) {
	if n, ok := m.shows[id]; ok {
		m.shows[id] = shown{n.seq, read}
	}
}

// fetch replaces the inbox with the list, once that is at rev or later.
func (m *mirror) fetch(ctx context.Context, rev bridge.Rev) {
	m.fetched++
	for ctx.Err() == nil {
		l, err := m.f.list(m.user, m.token)
		if err == nil && l.rev >= rev {
			m.shows, m.rev, m.settled, m.last = l.shows, l.rev, l.last, max(m.last, l.last)
			return
		}
		<-time.After(20 * time.Millisecond)
	}
}

// snapshot returns what the mirror shows.
func (m *mirror) snapshot() (inbox, bridge.Rev, string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.shows), m.rev, m.fault
}

// item is a notification as REST and MQTT present it.
type item struct {
	ID     int64
	Seq    bridge.Seq
	ReadAt *string `json:"read_at"`
}

// list is the inbox as REST returns it.
type list struct {
	shows inbox
	rev   bridge.Rev
	last  bridge.Seq
}

// call sends a request to a random node and returns the response with its body.
func (f *fleet) call(method, path, token, body string) (*http.Response, []byte, error) {
	x, err := f.pick()
	if err != nil {
		return nil, nil, err
	}
	req, err := http.NewRequest(method, "http://"+x.http+path, bytes.NewReader([]byte(body)))
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp, b, err
}

// list returns u's inbox as REST lists it. It fails if the list does not fit one page.
func (f *fleet) list(u bridge.UserID, token string) (l list, err error) {
	resp, b, err := f.call(http.MethodGet, "/notifications?limit=200", token, "")
	if err != nil {
		return l, err
	}
	var items []item
	if err := json.Unmarshal(b, &items); err != nil || resp.StatusCode != http.StatusOK || resp.Header.Get("Link") != "" {
		return l, fmt.Errorf("the list of %s: %s, %w", u, resp.Status, err)
	}
	l.shows = inbox{}
	for _, n := range items {
		l.shows[n.ID] = shown{n.Seq, n.ReadAt != nil}
	}
	rev, err := strconv.ParseInt(resp.Header.Get("X-Rev"), 10, 64)
	last, err2 := strconv.ParseInt(resp.Header.Get("X-Last-Seq"), 10, 64)
	l.rev, l.last = bridge.Rev(rev), bridge.Seq(last)
	return l, errors.Join(err, err2)
}

// agree waits until all mirrors show what REST lists, at the same rev.
func (f *fleet) agree(u bridge.UserID, ms ...*mirror) {
	f.t.Helper()
	token := sign(f.t, u, 0)
	testserver.Eventually(f.t, waitLimit, func() error {
		want, err := f.list(u, token)
		if err != nil {
			return err
		}
		for _, m := range ms {
			got, rev, fault := m.snapshot()
			if fault != "" || !maps.Equal(got, want.shows) || rev != want.rev {
				return fmt.Errorf("%s shows %v at rev %d, REST lists %v at rev %d; fault: %q", m.name, got, rev, want.shows, want.rev, fault)
			}
		}
		return nil
	})
}

// changes makes random changes of an inbox. Its calls may fail while a node is down.
type changes struct {
	f        *fleet
	r        *mathrand.Rand
	user     bridge.UserID
	own, app string // tokens
}

// change makes a random change.
func (c *changes) change() {
	id, seq := c.pick()
	kinds := []string{"news", "alarm", "message"}
	kind := kinds[c.r.IntN(len(kinds))]
	switch n := c.r.IntN(20); {
	case n < 7:
		extra := ""
		if c.r.IntN(3) == 0 {
			extra = fmt.Sprintf(`,"replaces":"key-%d"`, c.r.IntN(2))
		}
		if c.r.IntN(6) == 0 {
			extra += `,"expires_in":1`
		}
		c.do(http.MethodPost, "/notifications", c.app, fmt.Sprintf(`{"title":"t","message":"m","created_by":"%s","kind":"%s"%s}`, c.user, kind, extra))
	case n < 10:
		c.do(http.MethodPost, fmt.Sprintf("/notifications/%d/read", id), c.own, "")
	case n < 12:
		c.do(http.MethodPost, fmt.Sprintf("/notifications/%d/unread", id), c.own, "")
	case n < 14:
		c.do(http.MethodDelete, fmt.Sprintf("/notifications/%d", id), c.own, "")
	case n < 15:
		c.do(http.MethodPost, "/notifications/read", c.own, fmt.Sprintf(`{"up_to":%d}`, seq))
	case n < 16:
		c.do(http.MethodDelete, "/notifications/read", c.own, "")
	case n < 17:
		c.do(http.MethodDelete, fmt.Sprintf("/notifications?user=%s&replaces=key-%d", c.user, c.r.IntN(2)), c.app, "")
	case n < 18:
		c.do(http.MethodPatch, "/settings", c.own, fmt.Sprintf(`{"kinds":{"%s":%d}}`, kind, c.r.IntN(2)))
	case n < 19:
		c.do(http.MethodPatch, "/settings", c.own, fmt.Sprintf(`{"is_review_enabled":%d}`, c.r.IntN(2)))
	}
}

// do makes a call. Any failure but a missing notification or an unavailable node fails the test.
func (c *changes) do(method, path, token, body string) {
	if resp, b, err := c.f.call(method, path, token, body); err == nil && resp.StatusCode >= 400 &&
		resp.StatusCode != http.StatusNotFound && resp.StatusCode != http.StatusServiceUnavailable {
		c.f.t.Errorf("%s %s: %s %s", method, path, resp.Status, b)
	}
}

// pick returns the id and the seq of a random notification in the list.
func (c *changes) pick() (int64, bridge.Seq) {
	l, err := c.f.list(c.user, c.own)
	if err != nil || len(l.shows) == 0 {
		return 1, 1
	}
	ids := slices.Sorted(maps.Keys(l.shows))
	id := ids[c.r.IntN(len(ids))]
	return id, l.shows[id].seq
}

// An inbox is changed at random over REST while two devices follow it, connections drop and nodes
// are killed. Whenever the changes stop, both devices show what REST lists.
func TestInboxesAgreeAtRest(t *testing.T) {
	for name, env := range map[string]func(t *testing.T) (nodes int, env func(int) []string){
		"SQLite":              func(*testing.T) (int, func(int) []string) { return 1, func(int) []string { return nil } },
		"Postgres, two nodes": func(t *testing.T) (int, func(int) []string) { return 2, withDatabase(testserver.Postgres(t)) },
	} {
		t.Run(name, func(t *testing.T) {
			nodes, nodeEnv := env(t)
			f := newFleet(t, nodes, nodeEnv)
			seed := mathrand.Uint64()
			t.Logf("seed %d", seed)
			r := mathrand.New(mathrand.NewPCG(seed, 0))
			bin := testserver.Binary(t)
			for round := range kills(t, 6) {
				u := bridge.UserID(fmt.Sprint("u", round))
				c := &changes{f: f, r: r, user: u, own: sign(t, u, 0), app: sign(t, "app", bridge.ScopeWrite)}
				a, b := f.follow("with a session", u, false, f.dial), f.follow("with since", u, true, f.dial)
				for range 3 {
					for range 15 {
						c.change()
						switch r.IntN(12) {
						case 0:
							a.cut()
						case 1:
							b.cut()
						}
					}
					f.agree(u, a, b)
				}
				x := f.nodes[r.IntN(len(f.nodes))]
				x.end(syscall.SIGKILL)
				for range 5 {
					c.change() // on the nodes that are left
				}
				x.start(t, bin)
				x.join()
				for range 10 {
					c.change()
				}
				x.ready(t)
				f.agree(u, a, b)
				if fetched := a.fetched + b.fetched; fetched > 40 {
					t.Errorf("the lists were fetched %d times: too many state messages lack the changes", fetched)
				}
			}
		})
	}
}

// Every kind of change reaches devices at both nodes, whichever node made it, and no device has to
// fetch the list again.
func TestDevicesOfTwoNodesAgree(t *testing.T) {
	for name, env := range map[string]func(t *testing.T, raw string) func(int) []string{
		"Postgres": func(_ *testing.T, raw string) func(int) []string { return withDatabase(raw) },
		"Redis": func(t *testing.T, raw string) func(int) []string {
			redis := testserver.NewRedis(t)
			return func(i int) []string { return append(withDatabase(raw)(i), "FALCON_BUS="+redis.URL) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			raw := testserver.Postgres(t)
			f := newFleet(t, 2, env(t, raw))
			dialer := func(x *node) func() (net.Conn, error) {
				return func() (net.Conn, error) { return net.DialTimeout("tcp", x.mqtt, 2*time.Second) }
			}
			u := bridge.UserID("ana")
			a, b := f.follow("on the first node", u, false, dialer(f.nodes[0])), f.follow("on the second node", u, false, dialer(f.nodes[1]))
			own, app := sign(t, u, 0), sign(t, "app", bridge.ScopeWrite)
			post := func(extra string) {
				t.Helper()
				if resp, _, err := f.call(http.MethodPost, "/notifications", app, `{"title":"t","message":"m","created_by":"ana"`+extra+`}`); err != nil || resp.StatusCode != http.StatusCreated {
					t.Fatalf("%v, %v", resp, err)
				}
			}
			for range 4 {
				post("")
			}
			f.agree(u, a, b)
			db := sql.OpenDB(pgdriver.NewConnector(pgdriver.WithDSN(raw)))
			defer db.Close()
			for _, change := range []func() error{
				func() error { return f.act(http.MethodPost, "/notifications/1/read", own) },
				func() error { return f.act(http.MethodPost, "/notifications/read", own) },
				func() error { return f.act(http.MethodPost, "/notifications/2/unread", own) },
				func() error { return f.act(http.MethodDelete, "/notifications/1", own) },
				func() error { post(`,"replaces":"key"`); post(`,"replaces":"key"`); return nil },
				func() error { return f.act(http.MethodDelete, "/notifications?user=ana&replaces=key", app) },
				func() error { post(`,"expires_in":1`); return nil },
				func() error { return f.act(http.MethodDelete, "/notifications/read", own) },
				func() error {
					for range 2 {
						if _, err := db.ExecContext(t.Context(), "SELECT falcon_notify('ana', 'title', 'message', replaces => 'sql')"); err != nil {
							return err
						}
					}
					return nil
				},
			} {
				if err := change(); err != nil {
					t.Fatal(err)
				}
				f.agree(u, a, b)
			}
			testserver.Eventually(t, waitLimit, func() error { // until the expiring notification is gone
				if shows, _, _ := a.snapshot(); len(shows) != 2 {
					return fmt.Errorf("shows %v", shows)
				}
				return nil
			})
			f.agree(u, a, b)
			if a.fetched+b.fetched > 0 {
				t.Errorf("the lists were fetched %d times", a.fetched+b.fetched)
			}
		})
	}
}

// act sends a request without a body and returns an error unless it succeeds.
func (f *fleet) act(method, path, token string) error {
	resp, b, err := f.call(method, path, token, "")
	if err == nil && resp.StatusCode >= 300 {
		err = fmt.Errorf("%s %s: %s %s", method, path, resp.Status, b)
	}
	return err
}

// A device shows the retained message until the notification is deleted or withdrawn. The device is
// notified of that only by a state message, since no other message is sent.
func TestARetainedMessageIsCorrectedByTheState(t *testing.T) {
	f := newFleet(t, 1, func(int) []string { return nil })
	u := bridge.UserID("ana")
	own, app := sign(t, u, 0), sign(t, "app", bridge.ScopeWrite)
	shows := func(m *mirror, want ...int64) {
		t.Helper()
		testserver.Eventually(t, waitLimit, func() error {
			got, _, fault := m.snapshot()
			if ids := slices.Sorted(maps.Keys(got)); fault != "" || !slices.Equal(ids, want) {
				return fmt.Errorf("%s shows %v, want %v: %s", m.name, ids, want, fault)
			}
			return nil
		})
	}
	for i, change := range []func() error{
		func() error { return f.act(http.MethodDelete, "/notifications/1", own) },
		func() error { return f.act(http.MethodDelete, "/notifications?user=ana&replaces=key", app) },
	} {
		if resp, _, err := f.call(http.MethodPost, "/notifications", app, `{"title":"t","message":"m","created_by":"ana","replaces":"key"}`); err != nil || resp.StatusCode != http.StatusCreated {
			t.Fatalf("%v, %v", resp, err)
		}
		m := f.follow(fmt.Sprint("phone ", i), u, false, f.dial) // its first message is the retained one
		shows(m, int64(i+1))
		if err := change(); err != nil {
			t.Fatal(err)
		}
		shows(m)
	}
}
