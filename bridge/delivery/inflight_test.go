package delivery

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/fakeclock"
)

// operator returns the CONNECT of an operator, who may subscribe to other users' topics.
func operator(receiveMaximum int) ConnectRequest {
	return ConnectRequest{Device: bridge.Device{User: "op", ClientID: "x"}, ReceiveMaximum: receiveMaximum,
		Claims: bridge.Claims{User: "op", Scope: bridge.ScopeRead, ExpiresAt: time.Now().Add(time.Hour)}}
}

func topic(filter string) SubscribeRequest {
	return SubscribeRequest{Filter: filter, Subscription: bridge.Subscription{QoS: 1}}
}

// all acknowledges all of ids.
func (c *Conn) all(ids []uint16) {
	for _, id := range ids {
		c.Ack(id)
	}
}

// Both pumps find room for one message and read the log at the same time, so only one of them
// may send.
func TestConcurrentPumpsStayWithinTheReceiveMaximum(t *testing.T) {
	for name, second := range map[string]string{"another user's topic": "users/8/reports/status", "everybody's": "users/+/reports/status"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, Options{Sweep: time.Hour})
				c, l, _ := w.connect(operator(1))
				w.subscribe(c, topic("users/op/reports/status"))
				w.subscribe(c, topic(second))
				synctest.Wait()
				w.log.setPace(time.Second) // a read takes as long
				w.appendUnheard("op")
				w.appendUnheard("8")
				w.hub.Hint(bridge.Hint{Type: bridge.HintAppended, User: "op", Seq: 1})
				w.hub.Hint(bridge.Hint{Type: bridge.HintAppended, User: "8", Seq: 1})
				fakeclock.Advance(10 * time.Second)
				ids := w.expect(l, "1")
				c.all(ids)
				fakeclock.Advance(10 * time.Second)
				w.expect(l, "1")
			})
		})
	}
}

// Messages that were sent before a SUBSCRIBE with since still take room in the window, and are
// not sent again before they are acknowledged ([MQTT-4.4.0-1]).
func TestSinceCountsUnacknowledgedMessages(t *testing.T) {
	for name, r := range map[string]ConnectRequest{"persistent": persistent("7"), "not persistent": {Device: bridge.Device{User: "7", ClientID: "x"}}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, Options{})
				r.ReceiveMaximum = 2
				c, l, _ := w.connect(r)
				w.subscribe(c, qos1)
				w.notify("7", "a", "b", "c")
				first := w.expect(l, "1 2")
				w.subscribe(c, qos1, 0)
				fakeclock.Advance(time.Second)
				w.expect(l, "")
				c.Ack(first[1])
				fakeclock.Advance(time.Second)
				w.expect(l, "") // the packet id of seq 1 is still in flight
				c.Ack(first[0])
				c.all(w.expect(l, "1d 2d"))
				w.expect(l, "3")
			})
		})
	}
}

// A replay waits for the acknowledgement of a message in flight, unless the notification was
// deleted.
func TestAReplayContinuesWhenTheMessageItWaitsForIsDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Options{})
		c, l := w.subscribed("7")
		w.notify("7", "a", "b")
		w.expect(l, "1 2")
		w.subscribe(c, qos1, 0)
		w.expect(l, "")
		w.log.delete("7", 1)
		w.log.delete("7", 2)
		w.notify("7", "c")
		w.expect(l, "")
		w.hub.Hint(bridge.Hint{Type: bridge.HintMuted, User: "7"})
		w.expect(l, "3")
	})
}

// When since takes the cursor back, an earlier cursor is still to be written.
func TestAnEarlierCursorDoesNotUndoSince(t *testing.T) {
	for name, unsubscribes := range map[string]bool{"subscribed again": false, "unsubscribed in between": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, Options{})
				c, l := w.subscribed("7")
				w.notify("7", "a", "b")
				c.all(w.expect(l, "1 2"))
				if unsubscribes {
					if _, err := c.Unsubscribe(context.Background(), w.hub.o.Topics.Status("7")); err != nil {
						t.Fatal(err)
					}
				}
				w.subscribe(c, qos1, 0)
				synctest.Wait()
				fakeclock.Advance(5 * time.Second) // the cursors are written
				c.Close()
				_, l, _ = w.connect(persistent("7"))
				w.expect(l, "1d 2d")
			})
		})
	}
}

func TestAnOversizeMessageFreesItsRoomForOtherTopics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Options{Sweep: time.Hour})
		c, l, _ := w.connect(operator(1))
		w.subscribe(c, topic("users/op/reports/status"))
		w.subscribe(c, topic("users/8/reports/status"))
		l.refuse, l.pace = 3, time.Second
		w.notify("op", "much too long")
		synctest.Wait() // it is being written
		w.notify("8", "b")
		fakeclock.Advance(10 * time.Second)
		w.expect(l, "1")
	})
}

func TestADeviceWithNothingToAcknowledgeIsNotSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Options{})
		c, l, _ := w.connect(persistent("7"))
		l.refuse = 3
		w.subscribe(c, qos1)
		w.notify("7", "much too long")
		fakeclock.Advance(time.Minute)
		if got := l.reasons(); len(got) > 0 {
			t.Errorf("ended with %v", got)
		}
	})
}

// The database fails after the session was opened and before the replay starts. The session
// remains as it was, including how far it was sent.
func TestAFailedConnectKeepsWhatWasSentBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Options{})
		c, l := w.subscribed("7")
		w.notify("7", "a", "b")
		w.expect(l, "1 2")
		c.Close()
		w.log.noSkip = true
		if _, _, err := w.hub.Connect(context.Background(), persistent("7"), &fakeLink{}); !errors.Is(err, bridge.ErrUnavailable) {
			t.Fatalf("connected: %v", err)
		}
		synctest.Wait() // the session is closed again
		w.log.noSkip = false
		_, l, _ = w.connect(persistent("7"))
		w.expect(l, "1d 2d")
	})
}

// A CONNECT that its device has given up is processed late, on another node, and takes the
// session over from the connection that the device has by now. That connection continues to
// send until its node hears of the takeover.
func TestMessagesSentAfterATakeoverElsewhereAreResentWithDup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Options{})
		c, l := w.subscribed("7")
		other := NewHub(Options{Log: w.log, Sessions: w.log, Feed: w.log, Cluster: singleNode{}, Epoch: w.hub.o.Epoch})
		late, _, err := other.Connect(context.Background(), persistent("7"), &fakeLink{})
		if err != nil {
			t.Fatal(err)
		}
		w.notify("7", "a")
		w.expect(l, "1")
		late.Close()
		if err := other.cursors.flush(context.Background(), false); err != nil {
			t.Fatal(err)
		}
		c.Close()
		c, l, _ = w.connect(persistent("7"))
		w.expect(l, "1d")
		w.notify("7", "b")
		w.expect(l, "2")
		c.Close()
		w.notify("7", "c")
		_, l, _ = w.connect(persistent("7"))
		w.expect(l, "1d 2d 3")
	})
}
