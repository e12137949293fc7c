package broker

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/delivery"
)

// persistentConnect returns the CONNECT of a device with a persistent session.
func persistentConnect(version byte, props ...byte) connect {
	c := connect{id: "kept", token: "7"}
	if version == 5 {
		c.props = append(props, 0x11, 0, 0, 1, 0)
	}
	return c
}

func (w *world) loginAs(at endpoint, c connect) *device {
	w.Helper()
	d := w.dial(at)
	d.send(c.packet(at.version))
	d.expectConnack(0)
	return d
}

// Only a PUBACK completes a QoS 1 message ([MQTT-4.3.2-3]).
func TestQoS2PacketsForAQoS1Message(t *testing.T) {
	everywhere(t, Options{}, func(t *testing.T, w *world, at endpoint) {
		for user, first := range map[string]byte{"5": 0x50, "6": 0x70} { // PUBREC, PUBCOMP
			for _, what := range []string{"live", "retained"} {
				d := w.login(at, "a", user)
				d.subscribe(1, []byte{1}, "users/"+user+"/reports/status")
				if what == "live" {
					w.notify(bridge.UserID(user), "x")
				}
				m := d.expectMessage()
				d.send([]byte{first, 2, byte(m.id >> 8), byte(m.id)})
				d.expectEnd(codeProtocolError)
			}
		}
	})
}

// Any reason code acknowledges a message; a refused one is not sent again
// ([MQTT-4.4.0-2]).
func TestRefusedMessagesAreNotSentAgain(t *testing.T) {
	for _, transport := range []string{"tcp", "ws"} {
		w := newWorld(t, Options{})
		at := endpoint{transport, 5}
		d := w.loginAs(at, persistentConnect(5))
		d.subscribe(1, []byte{1}, topic7)
		w.notify("7", "a", "b")
		for _, reason := range []byte{0x80, 0x97} {
			m := d.expectMessage()
			d.send([]byte{0x40, 4, byte(m.id >> 8), byte(m.id), reason, 0})
		}
		d.alive()
		_ = d.nc.Close()
		w.eventually("it has ended", func(s Stats) bool { return s.Connections == 0 })
		w.loginAs(at, persistentConnect(5)).alive() // receives nothing before the PINGRESP
	}
}

// Unacknowledged messages are sent again when the device reconnects, in their order,
// under its packet ids and with DUP, and at no other time ([MQTT-4.4.0-1]
// [MQTT-4.6.0-5] [MQTT-3.3.1-1]).
func TestResendsAfterReconnectOnly(t *testing.T) {
	everywhere(t, Options{}, func(t *testing.T, w *world, at endpoint) {
		d := w.loginAs(at, persistentConnect(at.version))
		d.subscribe(1, []byte{1}, topic7)
		w.notify("7", "1", "2", "3", "4")
		var first []message
		for range 4 {
			first = append(first, d.expectMessage())
		}
		d.ack(first[1]) // out of order: the cursor waits for 1
		if p, err := d.next(300 * time.Millisecond); err == nil {
			t.Fatalf("% X came within the connection", p)
		}
		_ = d.nc.Close()
		w.eventually("it has ended", func(s Stats) bool { return s.Connections == 0 })
		w.notify("7", "5")
		d = w.loginAs(at, persistentConnect(at.version))
		for i := range 4 {
			m := d.expectMessage()
			if m.head != 0x3A || m.id != first[i].id || m.body != first[i].body {
				t.Fatalf("resend %d is %+v, first was %+v", i, m, first[i])
			}
		}
		if m := d.expectMessage(); m.head != 0x32 || !strings.Contains(m.body, `"title":"5"`) {
			t.Fatalf("the new one is %+v", m)
		}
		d.alive()
	})
}

// Messages of QoS 0 have no packet id and no DUP and are in order ([MQTT-3.3.1-2]
// [MQTT-4.3.1-1]), and an acknowledgement that is not awaited changes nothing.
func TestQoS0(t *testing.T) {
	everywhere(t, Options{}, func(t *testing.T, w *world, at endpoint) {
		d := w.login(at, "a", "7")
		d.subscribe(0, []byte{0}, topic7)
		var titles []string
		for i := range 100 { // more than any window
			titles = append(titles, fmt.Sprint("title ", i))
		}
		w.notify("7", titles...)
		for i := range titles {
			if m := d.expectMessage(); m.head != 0x30 || m.id != 0 || !strings.Contains(m.body, `"`+titles[i]+`"`) {
				t.Fatalf("message %d is %+v", i, m)
			}
		}
		d.send([]byte{0x40, 2, 0, 1})
		d.alive()
	})
}

// A full window delays only messages ([MQTT-3.3.4-9]
// [MQTT-3.3.4-10] [MQTT-4.9.0-2] [MQTT-4.9.0-3]), and leaving the topic and coming
// back does not widen it.
func TestFullWindowHoldsBackMessagesOnly(t *testing.T) {
	for _, transport := range []string{"tcp", "ws"} {
		w := newWorld(t, Options{})
		at := endpoint{transport, 5}
		d := w.loginAs(at, persistentConnect(5, 0x21, 0, 2))
		d.subscribe(1, []byte{1}, topic7)
		w.notify("7", "a", "b", "c")
		a, b := d.expectMessage(), d.expectMessage()
		d.alive()
		d.subscribe(1, []byte{codeNotAuthorized}, "#")
		d.send(packet(0xA2, appendText([]byte{0, 9, 0}, topic7)))
		d.expect("B0 04 00 09 00 00")
		d.send(subscribe(5, 9, 0x21, nil, topic7)) // no retained copy
		d.expect("90 04 00 09 00 01")
		w.notify("7", "d")
		d.alive() // the two unacknowledged ones still fill it
		d.ack(a)
		m := d.expectMessage()
		if !strings.Contains(m.body, `"title":"d"`) {
			t.Fatalf("after the first acknowledgement came %+v", m)
		}
		d.ack(b) // a delivery begun before the UNSUBSCRIBE is completed ([MQTT-3.10.4-3])
		d.ack(m)
		w.notify("7", "e", "f")
		d.expectMessage()
		d.expectMessage()
		d.alive()
	}
}

// Packet ids are never 0, and none is used again while it is in flight ([MQTT-2.2.1-4], in
// 3.1.1 [MQTT-2.3.1-4]).
func TestPacketIDsInFlightDiffer(t *testing.T) {
	everywhere(t, Options{}, func(t *testing.T, w *world, at endpoint) {
		w.notify("7", "before")
		w.notify("8", "before")
		d := w.login(at, "a", "7/notifications:read")
		d.subscribe(1, []byte{1, 1}, topic7, "users/8/reports/status")
		ids := map[int]bool{}
		more := func(n int) {
			t.Helper()
			for range n {
				m := d.expectMessage()
				if m.id == 0 || ids[m.id] {
					t.Fatalf("packet id %d is none, or in use", m.id)
				}
				ids[m.id] = true
			}
		}
		more(2) // the retained copies
		w.notify("7", "x", "y")
		w.notify("8", "x", "y")
		more(4)
		for id := range ids {
			d.ack(message{id: id})
		}
		d.alive()
	})
}

// The same SUBSCRIBE again replaces the subscription, repeats the retained copy and
// loses nothing ([MQTT-3.8.4-3] [MQTT-3.8.4-4]).
func TestSubscribingAgainReplaces(t *testing.T) {
	everywhere(t, Options{}, func(t *testing.T, w *world, at endpoint) {
		w.notify("7", "first")
		d := w.login(at, "a", "7")
		d.subscribe(1, []byte{1}, topic7)
		if m := d.expectMessage(); m.head != 0x33 {
			t.Fatalf("the copy is %+v", m)
		} else {
			d.ack(m)
		}
		w.notify("7", "second")
		d.ack(d.expectMessage())
		d.subscribe(0, []byte{0}, topic7)
		if m := d.expectMessage(); m.head != 0x31 || !strings.Contains(m.body, `"second"`) {
			t.Fatalf("the second copy is %+v", m)
		}
		w.notify("7", "third")
		if m := d.expectMessage(); m.head != 0x30 || !strings.Contains(m.body, `"third"`) {
			t.Fatalf("live came %+v", m)
		}
		d.alive() // once
	})
}

// Several filters have the effect of several packets, with one response ([MQTT-3.8.4-5]
// [MQTT-3.9.3-1] [MQTT-3.10.4-6] [MQTT-3.11.3-1]), under the packet id of the request.
func TestReasonCodesKeepTheOrderOfTheFilters(t *testing.T) {
	everywhere(t, Options{}, func(t *testing.T, w *world, at endpoint) {
		no := map[byte]byte{4: codeUnspecified, 5: codeNotAuthorized}[at.version]
		d := w.login(at, "a", "7")
		filters := appendText(map[byte][]byte{4: {0xAB, 0xCD}, 5: {0xAB, 0xCD, 0}}[at.version], "#")
		filters = append(append(append(filters, 2), appendText(nil, topic7)...), 2)
		filters = append(append(append(filters, appendText(nil, "users/8/reports/status")...), 0), appendText(nil, topic7)...)
		d.send(packet(0x82, append(filters, 0)))
		want := slices.Concat(map[byte][]byte{4: {0xAB, 0xCD}, 5: {0xAB, 0xCD, 0}}[at.version], []byte{no, 1, no, 0})
		d.expect(fmt.Sprintf("% X", packet(0x90, want)))
		w.notify("7", "by the last of the two")
		if m := d.expectMessage(); m.head != 0x30 {
			t.Errorf("delivered as %+v", m)
		}
		leave := map[byte][]byte{4: {0xAB, 0xCE}, 5: {0xAB, 0xCE, 0}}[at.version]
		for _, f := range []string{"#", topic7, topic7} {
			leave = appendText(leave, f)
		}
		d.send(packet(0xA2, leave))
		d.expect(map[byte]string{4: "B0 02 AB CE", 5: "B0 06 AB CE 00 11 00 11"}[at.version])
	})
}

// After a DISCONNECT of either side nothing more is sent or processed ([MQTT-3.14.4-1]). A
// refused CONNECT ends the connection ([MQTT-3.2.2-7], in 3.1.1 [MQTT-3.2.2-5]).
func TestNothingFollowsADisconnect(t *testing.T) {
	everywhere(t, Options{}, func(t *testing.T, w *world, at endpoint) {
		d := w.login(at, "a", "7")
		d.send([]byte{0xE0, 0, 0xC0, 0})
		d.expectEnd(0)
		d = w.login(at, "a", "7")
		d.send([]byte{0xC1, 0, 0xC0, 0, 0xE0, 0})
		d.expectEnd(codeMalformed)
		d = w.dial(at)
		d.send(slices.Concat(connect{id: "a", token: "bad"}.packet(at.version), []byte{0xC0, 0}, subscribe(at.version, 1, 0, nil, topic7)))
		if p := d.expectConnack(map[byte]byte{4: 4, 5: codeBadToken}[at.version]); p[2] != 0 {
			t.Errorf("session present in the refusal % X", p)
		}
		d.expectEnd(0)
	})
}

// A session outlives the connection if the device asked for it, and a DISCONNECT may change
// that ([MQTT-3.1.2-23] [MQTT-4.1.0-2]).
func TestDisconnectReplacesTheSessionExpiry(t *testing.T) {
	for _, transport := range []string{"tcp", "ws"} {
		w := newWorldHub(t, Options{SessionTTL: time.Hour}, delivery.Options{SessionTTL: time.Hour})
		at := endpoint{transport, 5}
		present := func(want byte, disconnect ...byte) {
			t.Helper()
			d := w.dial(at)
			d.send(persistentConnect(5).packet(5))
			if p := d.expectConnack(0); p[2] != want {
				t.Errorf("session present %d, want %d", p[2], want)
			}
			d.send(packet(0xE0, disconnect))
			d.expectEnd(0)
			w.eventually("it has ended", func(s Stats) bool { return s.Connections == 0 })
		}
		present(0)
		present(1, 0, 5, 0x11, 0, 0, 0, 9) // another expiry
		present(1, 4)                      // Disconnect with Will Message, though there is none
		present(1, 0, 5, 0x11, 0, 0, 0, 0) // no expiry
		present(0)
	}
}

// No packet exceeds the device's Maximum Packet Size ([MQTT-3.1.2-24]): reason strings are
// left out ([MQTT-3.9.2-1] [MQTT-3.14.2-3]).
func TestReasonsFitTheMaximumPacketSize(t *testing.T) {
	w := newWorld(t, Options{})
	for _, transport := range []string{"tcp", "ws"} {
		at := endpoint{transport, 5}
		small := connect{id: "a", token: "7", clean: true, keepAlive: 50, props: []byte{propMaxPacket, 0, 0, 0, 15}}
		d := w.loginAs(at, small) // the CONNACK has exactly that size
		d.send(subscribe(5, 1, 1, sinceProperty("x"), topic7))
		d.expect("90 04 00 01 00 83")
		d.alive()
		w.loginAs(at, small)
		d.expect("E0 01 8E")
		d.expectEnd(0)
	}
}

// The server sends no topic aliases, even if the device accepts them ([MQTT-3.1.2-26]
// [MQTT-3.1.2-27]).
func TestNoTopicAliasesAreSent(t *testing.T) {
	w := newWorld(t, Options{})
	for _, maximum := range [][]byte{nil, {0x22, 0, 0}, {0x22, 0, 10}} {
		d := w.loginAs(endpoint{"tcp", 5}, connect{id: "a", token: "7", clean: true, props: maximum})
		d.send(subscribe(5, 9, 0x20, nil, topic7)) // QoS 0, no retained copy
		d.expect("90 04 00 09 00 00")
		w.notify("7", "one", "two")
		for range 2 {
			m := d.expectMessage()
			s := scan{b: append(appendVarint(nil, len(m.props)), m.props...)}
			seen := s.properties(packets.Publish)
			if s.err != nil || seen&(1<<propTopicAlias) != 0 || seen&(1<<propUser) == 0 || m.topic != topic7 {
				t.Errorf("topic %q, properties %q, %v", m.topic, m.props, s.err)
			}
		}
	}
}
