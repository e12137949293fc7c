package delivery

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/fakeclock"
)

var qos1 = SubscribeRequest{Subscription: bridge.Subscription{QoS: 1}}

func persistent(u bridge.UserID) ConnectRequest {
	return ConnectRequest{Device: bridge.Device{User: u, ClientID: "phone"}, Expiry: time.Hour}
}

// expect waits until nothing moves and compares what the device got.
func (w *world) expect(l *fakeLink, want string) []uint16 {
	w.t.Helper()
	synctest.Wait()
	got, ids := l.drain()
	if strings.Join(got, " ") != want {
		w.t.Fatalf("the device got %q, want %q", strings.Join(got, " "), want)
	}
	return ids
}

func TestDelivery(t *testing.T) {
	for name, run := range map[string]func(w *world){
		"a new subscription gets the latest as retained, then what comes live": func(w *world) {
			w.notify("7", "a", "b")
			c, l, _ := w.connect(ConnectRequest{Device: bridge.Device{User: "7", ClientID: "x"}})
			w.subscribe(c, qos1)
			w.expect(l, "2r")
			w.notify("7", "c", "d")
			w.expect(l, "3 4")
		},
		"retain handling 1 sends the copy only once, 2 never": func(w *world) {
			w.notify("7", "a")
			c, l, _ := w.connect(ConnectRequest{Device: bridge.Device{User: "7", ClientID: "x"}})
			w.subscribe(c, SubscribeRequest{RetainHandling: 2})
			w.expect(l, "")
			w.subscribe(c, SubscribeRequest{RetainHandling: 1})
			w.expect(l, "")
			w.subscribe(c, SubscribeRequest{RetainHandling: 0})
			w.expect(l, "1r")
		},
		"nothing is retained for a muted user, and nothing delivered": func(w *world) {
			w.notify("7", "a")
			w.log.setMuted("7", true)
			_, l := w.subscribed("7")
			w.notify("7", "b")
			w.expect(l, "")
			w.log.setMuted("7", false)
			w.notify("7", "c")
			w.expect(l, "3")
		},
		"what waits for a device that came while its user was muted comes once it is not": func(w *world) {
			first, _ := w.subscribed("7")
			first.Close()
			w.notify("7", "a")
			w.log.setMuted("7", true)
			c, l, _ := w.connect(persistent("7"))
			c.Resume()
			w.expect(l, "")
			w.log.setMuted("7", false)
			w.hub.Hint(bridge.Hint{Type: bridge.HintMuted, User: "7"})
			w.expect(l, "1")
		},
		"unacknowledged messages keep their room after an unsubscribe": func(w *world) {
			c, l, _ := w.connect(ConnectRequest{Device: bridge.Device{User: "7", ClientID: "x"}, ReceiveMaximum: 2})
			w.subscribe(c, qos1)
			w.notify("7", "a", "b")
			ids := w.expect(l, "1 2")
			if _, err := c.Unsubscribe(context.Background(), "users/7/reports/status"); err != nil {
				w.t.Fatal(err)
			}
			w.subscribe(c, SubscribeRequest{Subscription: bridge.Subscription{QoS: 1}, RetainHandling: 2})
			w.notify("7", "c", "d")
			w.expect(l, "")
			if !c.Awaits(ids[0]) || !c.Ack(ids[0]) || c.Awaits(ids[0]) {
				w.t.Error("what was sent before cannot be acknowledged")
			}
			w.expect(l, "3")
		},
		"a persistent device resumes after its cursor, with DUP and the same packet ids": func(w *world) {
			c, l, present := w.connect(persistent("7"))
			if present {
				w.t.Fatal("session present on the first connect")
			}
			w.subscribe(c, qos1)
			w.notify("7", "a", "b", "c")
			ids := w.expect(l, "1 2 3")
			c.Ack(ids[0])
			c.Close()
			w.notify("7", "d")
			c, l, present = w.connect(persistent("7"))
			if !present {
				w.t.Fatal("no session present on return")
			}
			again := w.expect(l, "2d 3d 4")
			if !slices.Equal(again[:2], ids[1:]) {
				w.t.Fatalf("resent under ids %v, first sent under %v", again[:2], ids[1:])
			}
			w.notify("7", "e")
			w.expect(l, "5")
			if c.own == nil {
				w.t.Fatal("the subscription does not stand")
			}
		},
		"acknowledgements out of order move the cursor only over a contiguous range": func(w *world) {
			c, l := w.subscribed("7")
			w.notify("7", "a", "b", "c")
			ids := w.expect(l, "1 2 3")
			c.Ack(ids[2])
			c.Ack(ids[1])
			c.Close()
			_, l, _ = w.connect(persistent("7"))
			w.expect(l, "1d 2d 3d")
		},
		"no more than the window is in flight": func(w *world) {
			r := persistent("7")
			r.ReceiveMaximum = 2
			c, l, _ := w.connect(r)
			w.subscribe(c, qos1)
			w.notify("7", "a", "b", "c", "d", "e")
			ids := w.expect(l, "1 2")
			c.Ack(ids[0])
			ids = append(ids, w.expect(l, "3")...)
			c.Ack(ids[1])
			c.Ack(ids[2])
			w.expect(l, "4 5")
		},
		"a retained copy never moves the cursor": func(w *world) {
			w.notify("7", "a")
			c, l := w.subscribed("7")
			w.expect(l, "1r")
			w.notify("7", "b")
			first := w.expect(l, "2")
			w.subscribe(c, qos1)
			copied := w.expect(l, "2r")
			if copied[0] <= ownIDs || first[0] > ownIDs {
				w.t.Fatalf("ids %v and %v share a range", first, copied)
			}
			c.Ack(copied[0])
			c.Close()
			_, l, _ = w.connect(persistent("7"))
			w.expect(l, "2d")
		},
		"since replays in place of the retained message": func(w *world) {
			w.notify("7", "a", "b", "c")
			since := bridge.Seq(1)
			c, l, _ := w.connect(ConnectRequest{Device: bridge.Device{User: "7", ClientID: "x"}})
			w.subscribe(c, SubscribeRequest{Subscription: bridge.Subscription{QoS: 1}}, since)
			w.expect(l, "2 3")
		},
		"since beyond the end counts as the end": func(w *world) {
			w.notify("7", "a")
			since := bridge.Seq(99)
			c, l, _ := w.connect(persistent("7"))
			w.subscribe(c, SubscribeRequest{Subscription: bridge.Subscription{QoS: 1}}, since)
			w.notify("7", "b")
			w.expect(l, "2")
		},
		"a QoS 0 subscription moves the cursor when written": func(w *world) {
			c, l, _ := w.connect(persistent("7"))
			w.subscribe(c, SubscribeRequest{})
			w.notify("7", "a")
			w.expect(l, "1")
			c.Close()
			_, l, _ = w.connect(persistent("7"))
			w.expect(l, "")
		},
		"a message over the Maximum Packet Size counts as delivered": func(w *world) {
			c, l, _ := w.connect(persistent("7"))
			l.refuse = 3
			w.subscribe(c, qos1)
			w.notify("7", "a", "much too long", "b")
			ids := w.expect(l, "1 3")
			for _, id := range ids {
				c.Ack(id)
			}
			c.Close()
			_, l, _ = w.connect(persistent("7"))
			w.expect(l, "")
		},
		"a deleted row is never sent, cached or not": func(w *world) {
			r := persistent("7")
			r.ReceiveMaximum = 1
			c, l, _ := w.connect(r)
			w.subscribe(c, qos1)
			w.notify("7", "a", "b", "c")
			ids := w.expect(l, "1")
			w.log.delete("7", 2)
			w.hub.Hint(bridge.Hint{Type: bridge.HintMuted, User: "7"})
			c.Ack(ids[0])
			w.expect(l, "3")
		},
		"a second connection of a device ends the first": func(w *world) {
			_, old, _ := w.connect(persistent("7"))
			_, young, _ := w.connect(persistent("7"))
			synctest.Wait()
			if r := old.reasons(); !slices.Equal(r, []bridge.EndReason{bridge.EndTakenOver}) || len(young.reasons()) > 0 {
				w.t.Fatalf("old ended with %v, young with %v", r, young.reasons())
			}
		},
		"another user with the same client id is another device": func(w *world) {
			_, one, _ := w.connect(persistent("7"))
			w.connect(persistent("8"))
			synctest.Wait()
			if r := one.reasons(); len(r) > 0 {
				w.t.Fatalf("ended with %v", r)
			}
		},
		"an expired token ends the connection within 5 s and receives nothing more": func(w *world) {
			r := persistent("7")
			r.Claims = bridge.Claims{User: "7", ExpiresAt: time.Now().Add(10 * time.Second)}
			c, l, _ := w.connect(r)
			w.subscribe(c, qos1)
			fakeclock.Advance(10 * time.Second) // fake time
			w.notify("7", "a")
			w.expect(l, "")
			fakeclock.Advance(5 * time.Second)
			if r := l.reasons(); !slices.Equal(r, []bridge.EndReason{bridge.EndExpired}) {
				w.t.Fatalf("ended with %v", r)
			}
		},
		"a silent device is disconnected and catches up": func(w *world) {
			c, l := w.subscribed("7")
			w.notify("7", "a")
			w.expect(l, "1")
			fakeclock.Advance(26 * time.Second)
			if r := l.reasons(); !slices.Equal(r, []bridge.EndReason{bridge.EndSilent}) {
				w.t.Fatalf("ended with %v", r)
			}
			c.Close()
			_, l, _ = w.connect(persistent("7"))
			w.expect(l, "1d")
		},
		"a lost hint is found by the sweep within 10 s": func(w *world) {
			_, l := w.subscribed("7")
			synctest.Wait()
			w.appendUnheard("7")
			w.expect(l, "")
			fakeclock.Advance(10 * time.Second)
			w.expect(l, "1")
		},
		"delivery resumes by itself when the database is available again": func(w *world) {
			_, l := w.subscribed("7")
			synctest.Wait()
			w.appendUnheard("7")
			w.log.setUnavailable(true)
			w.hub.Hint(bridge.Hint{Type: bridge.HintAppended, User: "7", Seq: 1})
			fakeclock.Advance(time.Minute)
			w.expect(l, "")
			w.log.setUnavailable(false)
			fakeclock.Advance(time.Second)
			w.expect(l, "1")
		},
		"an item older than a second is read from the log again": func(w *world) {
			_, l := w.subscribed("7")
			synctest.Wait()
			stale := bridge.Notification{ID: 1, Seq: 1, User: "7"}
			w.hub.Hint(bridge.Hint{Type: bridge.HintAppended, User: "7", Seq: 1, Items: []bridge.Notification{stale}, At: time.Now().Add(-2 * time.Second)})
			w.expect(l, "") // the log has no such row
		},
		"unsubscribing stops delivery": func(w *world) {
			c, l := w.subscribed("7")
			if existed, err := c.Unsubscribe(context.Background(), "users/7/reports/status"); !existed || err != nil {
				w.t.Fatalf("unsubscribe: %v, %v", existed, err)
			}
			w.notify("7", "a")
			w.expect(l, "")
		},
		"an operator gets a snapshot, then all users live": func(w *world) {
			w.notify("1", "a")
			w.notify("2", "b")
			r := ConnectRequest{Device: bridge.Device{User: "op", ClientID: "x"}, Claims: bridge.Claims{User: "op", Scope: bridge.ScopeRead, ExpiresAt: time.Now().Add(time.Hour)}}
			c, l, _ := w.connect(r)
			w.subscribe(c, SubscribeRequest{Filter: "users/+/reports/status"})
			w.expect(l, "1r 1r")
			w.notify("2", "c")
			w.notify("3", "d")
			w.expect(l, "2 1")
		},
		"topics of one connection share the window": func(w *world) {
			r := ConnectRequest{Device: bridge.Device{User: "op", ClientID: "x"}, ReceiveMaximum: 1,
				Claims: bridge.Claims{User: "op", Scope: bridge.ScopeRead, ExpiresAt: time.Now().Add(time.Hour)}}
			c, l, _ := w.connect(r)
			w.subscribe(c, SubscribeRequest{Filter: "users/op/reports/status", Subscription: bridge.Subscription{QoS: 1}})
			w.subscribe(c, SubscribeRequest{Filter: "users/8/reports/status", Subscription: bridge.Subscription{QoS: 1}})
			w.notify("op", "mine")
			ids := w.expect(l, "1")
			w.notify("8", "other")
			w.expect(l, "")
			c.Ack(ids[0])
			w.expect(l, "1")
		},
		"a device that never frees half its window is served nevertheless": func(w *world) {
			r := persistent("7")
			r.ReceiveMaximum = 5
			c, l, _ := w.connect(r)
			w.subscribe(c, qos1)
			w.notify("7", "a", "b", "c", "d", "e", "f", "g")
			ids := w.expect(l, "1 2 3 4 5")
			c.Ack(ids[0])
			fakeclock.Advance(2 * windowWait)
			w.expect(l, "6")
		},
		"the retained copy waits for a replay that reaches it": func(w *world) {
			r := persistent("7")
			r.ReceiveMaximum = 2
			first, _, _ := w.connect(r)
			w.subscribe(first, qos1)
			first.Close()
			w.notify("7", "a", "b", "c")
			c, l, _ := w.connect(r)
			w.subscribe(c, qos1)
			for _, want := range []string{"1 2", "3 3r"} {
				for _, id := range w.expect(l, want) {
					c.Ack(id)
				}
			}
		},
		"the cursor of a device is written at most once a second": func(w *world) {
			c, l := w.subscribed("7")
			for i := range 100 {
				w.notify("7", fmt.Sprint(i))
				for _, id := range w.expect(l, fmt.Sprint(i+1)) {
					c.Ack(id)
				}
			}
			fakeclock.Advance(2 * time.Second)
			if w.log.advances > 2 || w.log.acked(bridge.Device{User: "7", ClientID: "phone"}) != 100 {
				w.t.Fatalf("%d writes, cursor %d", w.log.advances, w.log.acked(bridge.Device{User: "7", ClientID: "phone"}))
			}
		},
		"beyond the replay cap only the newest are replayed": func(w *world) {
			c, _, _ := w.connect(persistent("7"))
			w.subscribe(c, SubscribeRequest{})
			synctest.Wait()
			c.Close()
			for range 1005 {
				w.notify("7", "x")
			}
			_, l, _ := w.connect(persistent("7"))
			synctest.Wait()
			got, _ := l.drain()
			if len(got) != 1000 || got[0] != "6" || got[999] != "1005" {
				w.t.Fatalf("%d replayed, from %s to %s", len(got), got[0], got[len(got)-1])
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { run(newWorld(t, Options{})) })
		})
	}
}
