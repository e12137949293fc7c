package delivery

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/fakeclock"
)

// post appends one notification with fields of d in addition to its texts.
func (w *world) post(d bridge.Draft) {
	w.t.Helper()
	d.User, d.Title, d.Message = "7", "t", "m"
	if _, err := w.svc.Notify(context.Background(), d, nil); err != nil {
		w.t.Fatalf("notify: %v", err)
	}
}

// expiries waits until nothing changes any more and returns the received message expiries.
func (f *fakeLink) expiries() (out []uint32) {
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range f.got {
		out = append(out, m.Expiry)
	}
	f.got = nil
	return out
}

func TestExpiryAndSupersession(t *testing.T) {
	one := persistent("7")
	one.ReceiveMaximum = 1
	for name, run := range map[string]func(w *world){
		"a device that was offline does not get what expired meanwhile": func(w *world) {
			c, _ := w.subscribed("7")
			c.Close()
			w.post(bridge.Draft{ExpiresIn: time.Minute})
			w.post(bridge.Draft{})
			fakeclock.Advance(time.Minute)
			_, l, _ := w.connect(persistent("7"))
			w.expect(l, "2")
		},
		"what a hint carried is not delivered once it has expired": func(w *world) {
			_, l := w.subscribed("7")
			l.pace = time.Second
			w.post(bridge.Draft{})
			synctest.Wait() // the first is being written, and the others are cached from hints
			w.post(bridge.Draft{ExpiresIn: time.Second})
			w.post(bridge.Draft{})
			fakeclock.Advance(3 * time.Second)
			w.expect(l, "1 3")
		},
		"the cursor passes expired notifications": func(w *world) {
			c, _ := w.subscribed("7")
			c.Close()
			w.post(bridge.Draft{ExpiresIn: time.Second})
			w.post(bridge.Draft{})
			fakeclock.Advance(time.Second)
			c, l, _ := w.connect(persistent("7"))
			c.Ack(w.expect(l, "2")[0])
			c.Close()
			_, l, _ = w.connect(persistent("7"))
			w.expect(l, "")
		},
		"a delivery has the remaining life as message expiry, rounded up": func(w *world) {
			c, l := w.subscribed("7")
			w.post(bridge.Draft{ExpiresIn: 10 * time.Second})
			w.post(bridge.Draft{})
			if got := l.expiries(); len(got) != 2 || got[0] != 10 || got[1] != 0 {
				w.t.Errorf("lives of %d s, want 10 and none", got)
			}
			c.Close()
			fakeclock.Advance(8500 * time.Millisecond)
			_, l, _ = w.connect(persistent("7"))
			if got := l.expiries(); len(got) != 2 || got[0] != 2 {
				w.t.Errorf("lives of %d s, want 2 first", got)
			}
		},
		"the retained copy is the latest that has not expired, with its message expiry": func(w *world) {
			w.post(bridge.Draft{ExpiresIn: time.Minute})
			w.post(bridge.Draft{ExpiresIn: time.Second})
			fakeclock.Advance(1500 * time.Millisecond)
			c, l, _ := w.connect(ConnectRequest{Device: bridge.Device{User: "7", ClientID: "x"}})
			w.subscribe(c, SubscribeRequest{})
			if got := l.expiries(); len(got) != 1 || got[0] != 59 {
				w.t.Errorf("lives of %d s, want 59", got)
			}
			fakeclock.Advance(time.Minute)
			w.subscribe(c, SubscribeRequest{})
			w.expect(l, "")
		},
		"a retained copy that expires while it waits for the window is not sent": func(w *world) {
			c, l, _ := w.connect(one)
			w.subscribe(c, qos1)
			w.post(bridge.Draft{ExpiresIn: time.Second})
			ids := w.expect(l, "1")
			w.subscribe(c, qos1)
			fakeclock.Advance(time.Second)
			c.Ack(ids[0])
			w.expect(l, "")
		},
		"a device that was offline gets only the last one of a key": func(w *world) {
			c, _ := w.subscribed("7")
			c.Close()
			for range 3 {
				w.post(bridge.Draft{Replaces: "k"})
			}
			_, l, _ := w.connect(persistent("7"))
			w.expect(l, "3")
		},
		"a retained copy that is superseded while it waits for the window is not sent": func(w *world) {
			c, l, _ := w.connect(one)
			w.subscribe(c, qos1)
			w.post(bridge.Draft{Replaces: "k"})
			ids := w.expect(l, "1")
			w.subscribe(c, qos1)
			w.post(bridge.Draft{Replaces: "k"})
			c.Ack(ids[0])
			c.Ack(w.expect(l, "2")[0])
			w.expect(l, "2r")
		},
		"a notification that waits for the window is superseded": func(w *world) {
			c, l, _ := w.connect(one)
			w.subscribe(c, qos1)
			w.post(bridge.Draft{})
			ids := w.expect(l, "1")
			w.post(bridge.Draft{Replaces: "k"})
			w.post(bridge.Draft{Replaces: "k"})
			c.Ack(ids[0])
			c.Ack(w.expect(l, "3")[0])
			w.expect(l, "")
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { run(newWorld(t, Options{})) })
		})
	}
}
