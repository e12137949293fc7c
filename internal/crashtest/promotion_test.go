package crashtest

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	mathrand "math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/testserver"
)

// The primary crashes under load and its asynchronous standby is promoted. The standby may lack the
// latest notifications whose posts got a 201, and assigns their seqs to others. Therefore the test
// compares the texts that devices received. Every device must receive all notifications of the
// promoted server, from before and after the promotion, and the server must have a new epoch, which
// shows devices that the seqs they stored are invalid.
func TestAPromotedStandbyDeliversAllItHas(t *testing.T) {
	primary := testserver.NewPostgres(t)
	standby := primary.Standby(t)
	f := newFleet(t, 2, withDatabase(fmt.Sprintf("postgres://falcon@127.0.0.1:%d,127.0.0.1:%d/falcon?sslmode=disable&target_session_attrs=read-write",
		primary.Port, standby.Port)))
	us := users(4)
	received := record(f.devices(us, nil))
	before := f.epoch()
	answered, stop := f.postUnique(us)
	answered.grow(t, 300)
	if err := primary.Kill(); err != nil {
		t.Fatal(err)
	}
	standby.Promote(t)
	answered.grow(t, 300)
	stop()
	if after := f.epoch(); after == before {
		t.Errorf("the epoch is still %s", after)
	}
	f.receivedAll(us, received)
}

// record makes the devices record the texts that they receive, and returns them by user.
func record(ds []*device) map[bridge.UserID]*texts {
	received := make(map[bridge.UserID]*texts)
	for _, d := range ds {
		if received[d.user] == nil {
			received[d.user] = &texts{}
		}
		d.mu.Lock()
		d.record = received[d.user].addDevice()
		d.mu.Unlock()
	}
	return received
}

// receivedAll waits until every device has received everything that the server has, and returns
// the server's texts by user.
func (f *fleet) receivedAll(users []bridge.UserID, received map[bridge.UserID]*texts) map[bridge.UserID][]string {
	f.t.Helper()
	all := make(map[bridge.UserID][]string)
	for _, u := range users {
		want, err := f.texts(u)
		if err != nil || len(want) == 0 {
			f.t.Fatalf("user %s has %d notifications: %v", u, len(want), err)
		}
		testserver.Eventually(f.t, waitLimit, func() error { return received[u].missing(want) })
		all[u] = want
	}
	return all
}

// texts are the message texts that each device of a user has received.
type texts struct {
	mu       sync.Mutex
	byDevice []map[string]bool
}

// addDevice adds a device and returns the function that records its payloads.
func (x *texts) addDevice() func(payload []byte) {
	x.mu.Lock()
	defer x.mu.Unlock()
	have := make(map[string]bool)
	x.byDevice = append(x.byDevice, have)
	return func(payload []byte) {
		var n struct{ Message string }
		_ = json.Unmarshal(payload, &n)
		x.mu.Lock()
		defer x.mu.Unlock()
		have[n.Message] = true
	}
}

// missing returns an error if a device lacks any of the texts in want.
func (x *texts) missing(want []string) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	for i, have := range x.byDevice {
		n := 0
		for _, w := range want {
			if !have[w] {
				n++
			}
		}
		if n > 0 {
			return fmt.Errorf("device %d lacks %d of %d notifications", i, n, len(want))
		}
	}
	return nil
}

// messages are the texts of the notifications whose post got a 201, by user.
type messages struct {
	mu     sync.Mutex
	byUser map[bridge.UserID][]string
	n      int
}

func (m *messages) add(u bridge.UserID, message string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.byUser[u] = append(m.byUser[u], message)
	m.n++
}

func (m *messages) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.n
}

// grow waits until n more posts have got a 201.
func (m *messages) grow(t *testing.T, n int) {
	t.Helper()
	want := m.count() + n
	testserver.Eventually(t, waitLimit, func() error {
		if got := m.count(); got < want {
			return fmt.Errorf("%d of %d posts got a 201", got, want)
		}
		return nil
	})
}

// all returns the messages so far.
func (m *messages) all() map[bridge.UserID][]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make(map[bridge.UserID][]string)
	for u, list := range m.byUser {
		all[u] = slices.Clone(list)
	}
	return all
}

// postUnique posts notifications, no two of which have the same message, until stop is called.
func (f *fleet) postUnique(users []bridge.UserID) (answered *messages, stop func()) {
	answered = &messages{byUser: make(map[bridge.UserID][]string)}
	app := sign(f.t, "app", bridge.ScopeWrite)
	end := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				b := body{"title", rand.Text(), users[mathrand.IntN(len(users))]}
				text, err := json.Marshal(b)
				if err != nil {
					f.t.Error(err)
					return
				}
				for key, status := rand.Text(), 0; status != http.StatusCreated; {
					select {
					case <-end:
						return
					case <-time.After(time.Duration(2+mathrand.IntN(8)) * time.Millisecond):
					}
					status, _, _ = f.send("/notifications", app, key, text)
				}
				answered.add(b.To, b.Message)
			}
		})
	}
	return answered, sync.OnceFunc(func() { close(end); wg.Wait() })
}

// epoch returns the epoch that a node reports, once the database is available.
func (f *fleet) epoch() (epoch string) {
	f.t.Helper()
	testserver.Eventually(f.t, waitLimit, func() error {
		resp, err := f.get("/users/1/notifications?limit=1")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		epoch = resp.Header.Get("X-Epoch")
		return nil
	})
	return epoch
}

// texts reads the messages of all notifications of u over REST.
func (f *fleet) texts(u bridge.UserID) (all []string, err error) {
	for after := bridge.Seq(0); ; {
		resp, err := f.get(fmt.Sprintf("/users/%s/notifications?limit=200&after=%d", u, after))
		if err != nil {
			return nil, err
		}
		var page []struct {
			Seq     bridge.Seq
			Message string
		}
		err = json.NewDecoder(resp.Body).Decode(&page)
		_ = resp.Body.Close()
		if err != nil || len(page) == 0 {
			return all, err
		}
		for _, n := range page {
			all, after = append(all, n.Message), n.Seq
		}
	}
}

// get sends a GET with an operator's token to a random node. Any status but 200 is an error.
func (f *fleet) get(path string) (*http.Response, error) {
	x, err := f.pick()
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequest(http.MethodGet, "http://"+x.http+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+sign(f.t, "reader", bridge.ScopeRead))
	resp, err := client.Do(req)
	if err == nil && resp.StatusCode != http.StatusOK {
		_ = resp.Body.Close()
		return nil, fmt.Errorf("%s returns %s", path, resp.Status)
	}
	return resp, err
}
