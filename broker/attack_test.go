package broker

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/delivery"
)

// Attacks by unauthenticated or hostile clients, one test each.

func TestSubscribeWithoutOptionsDoesNotCrash(t *testing.T) {
	everywhere(t, Options{}, func(t *testing.T, w *world, at endpoint) {
		other := w.login(at, "other", "8")
		d := w.login(at, "a", "7")
		d.send(crashPacket)
		d.expectEnd(codeMalformed)
		other.alive()
	})
}

func TestSilentAndHalfSentConnectsAreClosed(t *testing.T) {
	everywhere(t, Options{ConnectTimeout: 200 * time.Millisecond, MaxPending: 8}, func(t *testing.T, w *world, at endpoint) {
		whole := connect{id: "a", token: "7", clean: true}.packet(at.version)
		for _, sent := range []int{0, 1, 2, 7, len(whole) - 1} {
			d := w.dial(at)
			if sent > 0 {
				d.send(whole[:sent])
			}
			d.expectEnd(0)
		}
		w.eventually("they have ended", func(s Stats) bool { return s.Pending == 0 })
		oldest := w.dial(at)
		for range 7 {
			w.dial(at)
		}
		w.eventually("the table of pending connections full", func(s Stats) bool { return s.Pending == 8 })
		w.dial(at)
		oldest.expectEnd(0) // evicted at once by the newest
		w.eventually("the silent ones ended", func(s Stats) bool { return s.Pending == 0 })
		w.login(at, "a", "7").alive()
	})
}

func TestTrickledConnectIsClosed(t *testing.T) {
	everywhere(t, Options{ConnectTimeout: 200 * time.Millisecond}, func(t *testing.T, w *world, at endpoint) {
		d := w.dial(at)
		begun := time.Now()
		for _, b := range (connect{id: strings.Repeat("x", 200), token: "7", user: "u"}).packet(at.version) {
			if _, err := d.nc.Write(d.framed([]byte{b})); err != nil {
				break
			}
			<-time.After(5 * time.Millisecond)
		}
		d.expectEnd(0)
		if took := time.Since(begun); took > 4*time.Second {
			t.Errorf("the trickled CONNECT was read for %v", took)
		}
		if s := w.broker.Stats(); s.Logins != 0 || s.Limited[LimitConnectTime] != 1 {
			t.Errorf("%d logins, limits %v", s.Logins, s.Limited)
		}
	})
}

func TestHugeLengthBeforeLoginCostsNothing(t *testing.T) {
	everywhere(t, Options{}, func(t *testing.T, w *world, at endpoint) {
		d := w.dial(at)
		d.send([]byte{0x10, 0xFF, 0xFF, 0xFF, 0x7F})
		d.expectEnd(0)
		d = w.dial(at) // long enough to have the version: MQTT 5 gets the reason code
		d.send(append([]byte{0x10, 0xFF, 0xFF, 0xFF, 0x7F}, append(appendText(nil, "MQTT"), at.version, 2)...))
		if at.version == 5 {
			d.expect("20 03 00 95 00")
		}
		d.expectEnd(0)
	})
}

func TestFirstPacketMustBeConnect(t *testing.T) {
	everywhere(t, Options{}, func(t *testing.T, w *world, at endpoint) {
		for _, first := range [][]byte{{0xC0, 0}, {0x30, 3, 0, 1, 't'}, subscribe(at.version, 1, 1, nil, topic7), {0, 0}, {0x20, 2, 0, 0}, []byte("GET / HTTP/1.1\r\n")} {
			d := w.dial(at)
			d.send(first)
			d.expectEnd(0)
		}
	})
}

func TestWillIsDiscarded(t *testing.T) {
	everywhere(t, Options{}, func(t *testing.T, w *world, at endpoint) {
		victim := w.login(at, "victim", "7")
		victim.subscribe(1, []byte{1}, topic7)
		forged := appendText(appendText(nil, topic7), `{"id":1}`)
		if at.version == 5 {
			forged = append([]byte{0}, forged...)
		}
		d := w.dial(at)
		d.send(connect{id: "a", token: "8", clean: true, will: forged, willFlags: 0x28}.packet(at.version)) // QoS 1, retain
		d.expectConnack(0)
		_ = d.nc.Close() // without a DISCONNECT, so that the will would be published
		w.eventually("the forger disconnected", func(s Stats) bool { return s.Connections == 1 })
		victim.alive()
		late := w.login(at, "late", "7")
		late.subscribe(1, []byte{1}, topic7)
		late.alive() // nothing is retained
	})
}

func TestClientIDOfAnotherUserGivesNoAccess(t *testing.T) {
	everywhere(t, Options{}, func(t *testing.T, w *world, at endpoint) {
		victim := connect{id: "phone", token: "7", props: []byte{0x11, 0, 0, 1, 0}}
		d := w.dial(at)
		d.send(victim.packet(at.version))
		d.expectConnack(0)
		d.subscribe(1, []byte{1}, topic7)

		thief := w.dial(at)
		victim.token = "8"
		thief.send(victim.packet(at.version))
		if p := thief.expectConnack(0); p[2] != 0 {
			t.Error("the thief resumed the session")
		}
		w.notify("7", "secret")
		if m := d.expectMessage(); !strings.Contains(m.body, "secret") {
			t.Errorf("the victim got %+v", m)
		}
		thief.alive() // it receives nothing before the PINGRESP
		d.alive()
	})
}

func TestFiltersBeyondTheTokenAreRefused(t *testing.T) {
	filters := []string{"#", "+/+/+/+", "users/#", "users/+/reports/status", "users/8/reports/status", "users/7/reports/+", "users/7/#",
		"users/7/reports/status/", "/users/7/reports/status", "Users/7/reports/status", "users/07/reports/status", "users//reports/status",
		"$SYS/#", "$SYS/broker/version", "$share/g/users/7/reports/status", "$SHARE/g/users/7/reports/status", "$share/g/#", "$queue/users/7/reports/status", "inline"}
	everywhere(t, Options{}, func(t *testing.T, w *world, at endpoint) {
		w.notify("7", "secret")
		w.notify("8", "secret")
		d := w.login(at, "a", "7")
		code := byte(codeNotAuthorized)
		if at.version == 4 {
			code = codeUnspecified
		}
		d.subscribe(1, bytes.Repeat([]byte{code}, len(filters)), filters...)
		w.notify("7", "secret")
		w.notify("8", "secret")
		d.alive()
	})
}

func TestTenThousandFiltersAreRefusedUndecoded(t *testing.T) {
	everywhere(t, Options{MaxPacketSize: 1 << 20}, func(t *testing.T, w *world, at endpoint) {
		d := w.login(at, "a", "7")
		filters := make([]string, 10_000)
		for i := range filters {
			filters[i] = topic7
		}
		code := byte(codeQuota)
		if at.version == 4 {
			code = codeUnspecified
		}
		decoded := atomic.LoadInt64(&w.broker.mochi.Info.PacketsReceived)
		d.subscribe(1, bytes.Repeat([]byte{code}, len(filters)), filters...)
		d.alive()
		if n := atomic.LoadInt64(&w.broker.mochi.Info.PacketsReceived) - decoded; n > 2 { // mochi counts the PINGREQ when it is read and when it is processed
			t.Errorf("mochi decoded %d packets", n)
		}
		d.subscribe(1, []byte{1, 1, 1}, topic7, topic7, topic7) // one subscription, three reason codes
		w.notify("7", "once")
		d.ack(d.expectMessage())
		d.alive()
		body := []byte{0, 9}
		if at.version == 5 {
			body = append(body, 0)
		}
		for _, f := range filters {
			body = appendText(body, f)
		}
		d.send(packet(0xA2, body))
		if at.version == 4 { // its UNSUBACK could not report that they are still subscribed
			d.expectEnd(0)
			return
		}
		if p, err := d.next(testTimeout); err != nil || p[0] != 0xB0 || !bytes.HasSuffix(p, bytes.Repeat([]byte{codeImplementation}, len(filters))) {
			t.Errorf("UNSUBACK % .20X of %d bytes, %v", p, len(p), err)
		}
		w.notify("7", "still")
		d.ack(d.expectMessage())
	})
}

func TestARefusalOfManyFiltersFitsTheMaximumPacketSize(t *testing.T) {
	for _, transport := range []string{"tcp", "ws"} {
		w := newWorld(t, Options{})
		d := w.dial(endpoint{transport, 5})
		d.send(connect{id: "a", token: "7", clean: true, props: []byte{0x27, 0, 0, 0, 100}}.packet(5))
		d.expectConnack(0)
		d.send(subscribe(5, 1, 1, nil, slices.Repeat([]string{topic7}, 200)...))
		d.expectEnd(codeQuota)
	}
}

func TestPublishIsRefused(t *testing.T) {
	everywhere(t, Options{}, func(t *testing.T, w *world, at endpoint) {
		victim := w.login(at, "victim", "7")
		victim.subscribe(1, []byte{1}, topic7)
		for _, topic := range []string{topic7, "users/8/reports/status", "$SYS/broker/uptime", "a"} {
			body := appendText(nil, topic)
			if at.version == 5 {
				body = append(body, 0)
			}
			d := w.login(at, "a", "8/admin")
			d.send(packet(0x31, append(body, "forged"...))) // QoS 0, retain
			d.alive()
			body = append(appendText(nil, topic), 0, 5)
			if at.version == 5 {
				body = append(body, 0)
			}
			d.send(packet(0x33, append(body, "forged"...))) // QoS 1, retain
			if at.version == 5 {
				d.expect("40 03 00 05 87")
				d.alive()
			} else {
				d.expectEnd(0)
			}
		}
		victim.alive()
		late := w.login(at, "late", "7")
		late.subscribe(1, []byte{1}, topic7)
		late.alive()
	})
}

func TestPublishFloodIsAnsweredInOrder(t *testing.T) {
	w := newWorld(t, Options{})
	d := w.login(endpoint{"tcp", 5}, "a", "7")
	var flood, want []byte
	for id := 1; id <= 200; id++ { // more than the Receive Maximum: each is refused before the next is read
		flood = append(flood, packet(0x32, append(appendText(nil, "t"), 0, byte(id), 0))...)
		want = append(want, 0x40, 3, 0, byte(id), codeNotAuthorized)
	}
	d.send(flood)
	for i := 0; i < len(want); i += 5 {
		d.expect(fmt.Sprintf("% X", want[i:i+5]))
	}
	d.alive()
}

func TestSecondConnectIsAProtocolError(t *testing.T) {
	everywhere(t, Options{}, func(t *testing.T, w *world, at endpoint) {
		d := w.login(at, "a", "7")
		d.send(connect{id: "a", token: "8"}.packet(at.version))
		d.expectEnd(codeProtocolError)
	})
}

func TestClientIDInlineIsAnOrdinaryOne(t *testing.T) {
	everywhere(t, Options{}, func(t *testing.T, w *world, at endpoint) {
		w.notify("7", "x")
		d := w.login(at, "inline", "7")
		d.subscribe(0, []byte{map[byte]byte{4: 0x80, 5: 0x87}[at.version]}, "#")
		d.subscribe(0, []byte{0}, topic7)
		d.expectMessage()
		d.alive()
	})
}

func TestSubscribeUnderAnOutboundPacketID(t *testing.T) {
	everywhere(t, Options{}, func(t *testing.T, w *world, at endpoint) {
		d := w.login(at, "a", "7")
		d.subscribe(1, []byte{1}, topic7)
		w.notify("7", "in flight under id 1")
		m := d.expectMessage()
		d.send(subscribe(at.version, m.id, 1, nil, "users/8/reports/status"))
		d.expect("90 ..")
		d.send(packet(0xA2, append(appendUint16(nil, m.id), bytesOf(t, map[byte]string{4: "'b'", 5: "00 'b'"}[at.version])...)))
		d.expect("B0 ..")
		d.ack(m)
		d.alive()
	})
}

func TestHalfSentPacketTimesOut(t *testing.T) {
	everywhere(t, Options{PacketTimeout: 200 * time.Millisecond}, func(t *testing.T, w *world, at endpoint) {
		d := w.login(at, "a", "7")
		d.send([]byte{0x30, 100, 0, 1})
		d.expectEnd(codeKeepAlive)
	})
}

func TestReceiveMaximumIsRespected(t *testing.T) {
	w := newWorld(t, Options{})
	for _, transport := range []string{"tcp", "ws"} {
		d := w.dial(endpoint{transport, 5})
		d.send(connect{id: transport, token: "7", clean: true, props: []byte{0x21, 0, 2}}.packet(5))
		d.expectConnack(0)
		d.send(subscribe(5, 1, 0x21, nil, topic7)) // QoS 1, no retained copy
		d.expect("90 ..")
		w.notify("7", "a", "b", "c", "d", "e")
		first, second := d.expectMessage(), d.expectMessage()
		d.alive() // a third is not sent
		d.ack(first)
		third := d.expectMessage()
		d.alive()
		d.ack(second)
		d.ack(third)
		if m := d.expectMessage(); !strings.Contains(m.body, `"title":"d"`) {
			t.Errorf("the fourth is %s", m.body)
		}
		d.expectMessage()
	}
}

func TestStalledReaderDelaysNoOtherDevice(t *testing.T) {
	w := newWorldHub(t, Options{WriteTimeout: 500 * time.Millisecond}, delivery.Options{})
	at := endpoint{"tcp", 5}
	for i := range 4 { // subscribed with QoS 0, never reading
		d := w.login(at, fmt.Sprint("stalled", i), "7")
		d.subscribe(0, []byte{0}, topic7)
	}
	other := w.login(at, "other", "8")
	other.subscribe(1, []byte{1}, "users/8/reports/status")
	big := strings.Repeat("x", 4000)
	go func() {
		for range 3000 {
			if _, err := w.svc.Notify(t.Context(), bridge.Draft{User: "7", Title: "big", Message: big}, nil); err != nil {
				return
			}
		}
	}()
	for range 20 {
		begun := time.Now()
		w.notify("8", "quick")
		other.ack(other.expectMessage())
		if took := time.Since(begun); took > time.Second {
			t.Fatalf("another user's message took %v", took)
		}
	}
	w.eventually("the stalled devices disconnected", func(s Stats) bool { return s.Connections == 1 })
	begun := time.Now()
	w.login(at, "stalled0", "7").alive() // its client id can be used at once
	if took := time.Since(begun); took > time.Second {
		t.Errorf("a new login took %v", took)
	}
}

func TestOversizeMessageIsSkippedAndCountsAsDelivered(t *testing.T) {
	w := newWorld(t, Options{})
	d := w.dial(endpoint{"tcp", 5})
	d.send(connect{id: "a", token: "7", clean: true, props: []byte{0x27, 0, 0, 2, 0}}.packet(5)) // 512 bytes
	d.expectConnack(0)
	d.send(subscribe(5, 1, 0x21, nil, topic7))
	d.expect("90 ..")
	w.notify("7", strings.Repeat("long", 60), "short")
	if m := d.expectMessage(); !strings.Contains(m.body, `"title":"short"`) {
		t.Errorf("got %s", m.body)
	}
	d.alive()
}
