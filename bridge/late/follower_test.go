package late_test

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/late"
	"github.com/falconalert/falconbridge/db"
	"github.com/falconalert/falconbridge/internal/testserver"
)

// call is one call of a sender.
type call struct {
	id   string // of a webhook, or the device
	rule late.Rule
	seqs []bridge.Seq
}

// recorder is a Pusher and a Poster that records calls.
type recorder struct {
	calls chan call

	mu      sync.Mutex
	results []late.Outcome // of the next calls; after them Sent
}

func newRecorder(results ...late.Outcome) *recorder {
	return &recorder{calls: make(chan call, 1000), results: results}
}

func (r *recorder) next(c call) late.Outcome {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls <- c
	if len(r.results) == 0 {
		return late.Outcome{Result: late.Sent, Status: 201}
	}
	o := r.results[0]
	r.results = r.results[1:]
	return o
}

type pusher struct{ *recorder }

func (p pusher) Send(_ context.Context, r bridge.Registration, ns []bridge.Notification) late.Outcome {
	c := call{id: r.Device.ClientID}
	for _, n := range ns {
		c.seqs = append(c.seqs, n.Seq)
	}
	return p.next(c)
}

type poster struct{ *recorder }

func (p poster) Send(_ context.Context, id string, rule late.Rule, n *bridge.Notification) late.Outcome {
	return p.next(call{id, rule, []bridge.Seq{n.Seq}})
}

// want waits for the next call.
func (r *recorder) want(t *testing.T) call {
	t.Helper()
	select {
	case c := <-r.calls:
		return c
	case <-time.After(30 * time.Second):
		t.Fatal("nothing was sent")
		return call{}
	}
}

type world struct {
	t *testing.T
	d *db.DB
}

func each(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	for name, url := range map[string]func() string{
		"SQLite":   func() string { return filepath.Join(t.TempDir(), "falcon.db") },
		"Postgres": func() string { return testserver.Postgres(t) },
	} {
		t.Run(name, func(t *testing.T) {
			d, err := db.Open(t.Context(), db.Options{URL: url(), Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = d.Close() })
			if _, err := d.Up(t.Context()); err != nil {
				t.Fatal(err)
			}
			f(t, &world{t, d})
		})
	}
}

// follow runs a follower until the test or stop ends it.
func (w *world) follow(o late.Options) (stop func()) {
	w.t.Helper()
	o.Store, o.Logger = w.d, slog.New(slog.DiscardHandler)
	if o.Node == "" {
		o.Node = "n"
	}
	o.PushAfter = time.Second
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- late.New(o).Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
	})
	w.t.Cleanup(stop)
	for state := ""; state == ""; { // from now on it follows
		if _, held, err := w.d.LeaseLate(w.t.Context(), "probe", time.Millisecond); err != nil {
			w.t.Fatal(err)
		} else if held {
			if err := w.d.ReleaseLate(w.t.Context(), "probe"); err != nil {
				w.t.Fatal(err)
			}
			continue
		}
		return stop
	}
	return stop
}

func (w *world) register(u bridge.UserID, client string) {
	w.t.Helper()
	err := w.d.RegisterDevice(w.t.Context(), bridge.Registration{Device: bridge.Device{User: u, ClientID: client}, Endpoint: fmt.Sprint("https://push.example/", u, client)})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) notify(u bridge.UserID, n int) {
	w.t.Helper()
	var drafts []bridge.Draft
	for range n {
		drafts = append(drafts, bridge.Draft{User: u, Kind: bridge.KindMessage, Title: "t", Message: "m"})
	}
	if _, err := w.d.Append(w.t.Context(), bridge.Command{Drafts: drafts}); err != nil {
		w.t.Fatal(err)
	}
}

// settle waits until the follower has read the log for the first time: what is appended before
// that is not followed.
func (w *world) settle(r *recorder, u bridge.UserID) {
	w.t.Helper()
	w.register(u, "settle")
	deadline := time.After(30 * time.Second)
	for {
		w.notify(u, 1)
		select {
		case <-r.calls:
		case <-deadline:
			w.t.Fatal("the follower has not read the log")
		case <-time.After(1500 * time.Millisecond):
			continue
		}
		break
	}
	if err := w.d.RemoveDevice(w.t.Context(), bridge.Device{User: u, ClientID: "settle"}); err != nil {
		w.t.Fatal(err)
	}
	for len(r.calls) > 0 {
		<-r.calls
	}
}

func TestALateNotificationIsPushedOnceAndManyAsOne(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		r := newRecorder()
		w.follow(late.Options{Pusher: pusher{r}})
		w.settle(r, "settler")
		w.register("1", "phone")
		w.register("2", "tablet")
		w.notify("1", 2)
		got := []call{r.want(t), r.want(t)}
		slices.SortFunc(got, func(a, b call) int { return int(a.seqs[0] - b.seqs[0]) })
		if fmt.Sprint(got[0].seqs, got[1].seqs) != "[1] [2]" || got[0].id != "phone" {
			t.Errorf("sent %+v", got)
		}
		w.notify("2", 6)
		if c := r.want(t); len(c.seqs) != 6 || c.id != "tablet" {
			t.Errorf("six due at once: %+v", c)
		}
		if push, _, err := w.d.Waiting(t.Context(), 10); err != nil || push.Count > 0 && len(r.calls) > 0 {
			t.Errorf("waiting %+v, %v", push, err)
		}
	})
}

func TestAFailedWebhookIsRepeatedUnderItsID(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		p, h := newRecorder(), newRecorder(late.Outcome{Result: late.Limited}, late.Outcome{Result: late.Limited})
		w.follow(late.Options{Pusher: pusher{p}, Poster: poster{h}, Rules: []late.Rule{{When: late.Unread, After: time.Second}}})
		w.settle(p, "settler")
		first := h.want(t)
		second := h.want(t)
		for second.seqs[0] != first.seqs[0] {
			second = h.want(t)
		}
		if first.id != second.id || first.rule.When != late.Unread || len(first.id) != len(late.WebhookPrefix)+32 {
			t.Errorf("first %+v, then %+v", first, second)
		}
	})
}

func TestARegistrationThatIsGoneIsRemoved(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		r := newRecorder()
		w.follow(late.Options{Pusher: pusher{r}})
		w.settle(r, "settler")
		r.mu.Lock()
		r.results = []late.Outcome{{Result: late.Gone, Status: 410}}
		r.mu.Unlock()
		w.register("1", "phone")
		w.notify("1", 1)
		r.want(t)
		for deadline := time.Now().Add(30 * time.Second); ; {
			devices, err := w.d.Devices(t.Context(), "1")
			if err != nil {
				t.Fatal(err)
			}
			if len(devices) == 0 {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("devices %+v", devices)
			}
		}
	})
}

// The first node stops. The other one continues where it was, and repeats nothing whose result
// was stored.
func TestAnotherNodeTakesOver(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		r := newRecorder()
		stop := w.follow(late.Options{Pusher: pusher{r}, Node: "a", Lease: 2 * time.Second})
		w.settle(r, "settler")
		w.follow(late.Options{Pusher: pusher{r}, Node: "b", Lease: 2 * time.Second})
		w.register("1", "phone")
		w.notify("1", 1)
		r.want(t)
		w.notify("1", 1)
		stop()
		if c := r.want(t); fmt.Sprint(c.seqs) != "[2]" {
			t.Errorf("after the takeover: %+v", c)
		}
	})
}

// stuck is a push service that responds for users called slow… only once it is released.
type stuck struct {
	pusher
	free chan struct{}
}

func (s stuck) Send(ctx context.Context, r bridge.Registration, ns []bridge.Notification) late.Outcome {
	if !strings.HasPrefix(string(r.Device.User), "slow") {
		return s.pusher.Send(ctx, r, ns)
	}
	select {
	case <-s.free:
	case <-ctx.Done():
	}
	return late.Outcome{Result: late.Sent, Status: 201}
}

// Users whose endpoints never respond have registered more devices than are sent to
// concurrently, and theirs are due first. They only use their own slots.
func TestUsersWithSlowEndpointsDoNotDelayOthers(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		r := newRecorder()
		s := stuck{pusher{r}, make(chan struct{})}
		w.follow(late.Options{Pusher: s, Pushes: 4, PerUser: 1})
		t.Cleanup(func() { close(s.free) })
		w.settle(r, "settler")
		for u := range 3 {
			slow := bridge.UserID(fmt.Sprint("slow", u))
			for d := range 6 {
				w.register(slow, fmt.Sprint("d", d))
			}
			w.notify(slow, 1)
		}
		w.register("1", "phone")
		w.notify("1", 1)
		if c := r.want(t); c.id != "phone" {
			t.Errorf("pushed to %+v", c)
		}
	})
}
