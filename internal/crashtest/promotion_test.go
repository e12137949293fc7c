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

// The primary dies under load and its standby, which follows without being waited for,
// is promoted. It may lack what was answered last: seqs begin again, so a device is
// judged by the texts it has. It must have all that the promoted server has, from
// before and from after, and a new epoch says that known seqs mean nothing any more.
func TestAPromotedStandbyDeliversAllItHas(t *testing.T) {
	primary := testserver.NewPostgres(t)
	standby := primary.Standby(t)
	f := newFleet(t, 2, on(fmt.Sprintf("postgres://falcon@127.0.0.1:%d,127.0.0.1:%d/falcon?sslmode=disable&target_session_attrs=read-write",
		primary.Port, standby.Port)))
	us := users(4)
	heard := listen(f.devices(us, nil))
	before := f.epoch()
	answered, stop := f.unique(us)
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
	f.heardAll(us, heard)
}

// listen notes the messages of the devices' notifications, by user.
func listen(ds []*device) map[bridge.UserID]*texts {
	heard := make(map[bridge.UserID]*texts)
	for _, d := range ds {
		if heard[d.user] == nil {
			heard[d.user] = &texts{}
		}
		d.mu.Lock()
		d.heard = heard[d.user].device()
		d.mu.Unlock()
	}
	return heard
}

// heardAll waits until every device has all that the server has, and returns that.
func (f *fleet) heardAll(users []bridge.UserID, heard map[bridge.UserID]*texts) map[bridge.UserID][]string {
	f.t.Helper()
	all := make(map[bridge.UserID][]string)
	for _, u := range users {
		want, err := f.texts(u)
		if err != nil || len(want) == 0 {
			f.t.Fatalf("user %s has %d notifications: %v", u, len(want), err)
		}
		testserver.Eventually(f.t, patience, func() error { return heard[u].missing(want) })
		all[u] = want
	}
	return all
}

// texts are the messages that each device of a user received.
type texts struct {
	mu sync.Mutex
	of []map[string]bool
}

// device returns what notes the messages of one more device; its calls do not overlap.
func (x *texts) device() func(payload []byte) {
	x.mu.Lock()
	defer x.mu.Unlock()
	have := make(map[string]bool)
	x.of = append(x.of, have)
	return func(payload []byte) {
		var n struct{ Message string }
		_ = json.Unmarshal(payload, &n)
		x.mu.Lock()
		defer x.mu.Unlock()
		have[n.Message] = true
	}
}

func (x *texts) missing(want []string) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	for i, have := range x.of {
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

// messages are those of the notifications answered with 201, by user.
type messages struct {
	mu sync.Mutex
	of map[bridge.UserID][]string
	n  int
}

func (m *messages) add(u bridge.UserID, message string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.of[u] = append(m.of[u], message)
	m.n++
}

func (m *messages) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.n
}

// grow waits until n more were answered.
func (m *messages) grow(t *testing.T, n int) {
	t.Helper()
	want := m.count() + n
	testserver.Eventually(t, patience, func() error {
		if got := m.count(); got < want {
			return fmt.Errorf("%d of %d posts were answered", got, want)
		}
		return nil
	})
}

// all are those answered so far.
func (m *messages) all() map[bridge.UserID][]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make(map[bridge.UserID][]string)
	for u, list := range m.of {
		all[u] = slices.Clone(list)
	}
	return all
}

// unique posts notifications of which no two have the same message, until stopped.
func (f *fleet) unique(users []bridge.UserID) (answered *messages, stop func()) {
	answered = &messages{of: make(map[bridge.UserID][]string)}
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

// epoch asks a node for the epoch, once the database answers it.
func (f *fleet) epoch() (epoch string) {
	f.t.Helper()
	testserver.Eventually(f.t, patience, func() error {
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

// get reads as an operator from a node; any answer but 200 is an error.
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
		return nil, fmt.Errorf("%s answers %s", path, resp.Status)
	}
	return resp, err
}
