package broker

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/testserver"
)

// A flood of packets ends with MQTT 5's "message rate too high", 0x96, and delays no other
// client.

func TestPacketFloods(t *testing.T) {
	publish := func(version, qos byte) []byte {
		body := appendText(nil, topic7)
		if qos > 0 {
			body = append(body, 0, 1)
		}
		if version == 5 {
			body = append(body, 0)
		}
		return packet(0x30|qos<<1, append(body, "forged"...))
	}
	unsubscribe := func(version byte) []byte {
		body := []byte{0, 2}
		if version == 5 {
			body = append(body, 0)
		}
		return packet(0xA2, appendText(body, topic7))
	}
	for name, tt := range map[string]struct {
		one   func(version byte) []byte
		only5 bool
	}{
		"PING":                 {func(byte) []byte { return []byte{0xC0, 0} }, false},
		"SUBSCRIBE":            {func(v byte) []byte { return subscribe(v, 1, 1, nil, topic7) }, false},
		"SUBSCRIBE, refused":   {func(v byte) []byte { return subscribe(v, 1, 1, nil, "#") }, false},
		"UNSUBSCRIBE":          {unsubscribe, false},
		"both alternately":     {func(v byte) []byte { return append(subscribe(v, 1, 1, nil, topic7), unsubscribe(v)...) }, false},
		"PUBLISH, QoS 0":       {func(v byte) []byte { return publish(v, 0) }, false},
		"PUBLISH, QoS 1":       {func(v byte) []byte { return publish(v, 1) }, true}, // in 3.1.1 the first one ends the connection
		"PUBACK of nothing":    {func(byte) []byte { return []byte{0x40, 2, 0, 7} }, false},
		"PUBACK with a reason": {func(byte) []byte { return []byte{0x40, 3, 0, 7, 0x80} }, true},
		"PUBREL":               {func(byte) []byte { return []byte{0x62, 2, 0, 7} }, false},
		"AUTH, a good token":   {func(byte) []byte { return auth("7") }, true},
	} {
		t.Run(name, func(t *testing.T) {
			everywhere(t, Options{PacketRate: 10}, func(t *testing.T, w *world, at endpoint) { // 100 at once
				if tt.only5 && at.version != 5 {
					return
				}
				other := w.login(at, "other", "8")
				other.subscribe(1, []byte{1}, "users/8/reports/status")
				d := w.dial(at)
				d.send(connect{id: "flood", token: "7", clean: true, props: []byte{0x15, 0, 3, 'j', 'w', 't'}}.packet(at.version))
				d.expectConnack(0)
				one := tt.one(at.version)
				go func() {
					for range 150 {
						if _, err := d.nc.Write(d.framed(one)); err != nil {
							return
						}
					}
				}()
				last := d.last()
				if at.version == 5 && (len(last) < 3 || last[0] != 0xE0 || last[2] != codeTooFast) {
					t.Errorf("the last packet is % X, want DISCONNECT 0x96", last)
				}
				w.notify("8", "quick")
				other.ack(other.expectMessage())
				other.alive()
				if s := w.broker.Stats(); s.Limited[LimitPacketRate] != 1 {
					t.Errorf("limits %v", s.Limited)
				}
			})
		})
	}
}

// last reads until the connection ends, and returns the last packet.
func (d *device) last() (p []byte) {
	d.t.Helper()
	for {
		next, err := d.next(testTimeout)
		if err != nil {
			return p
		}
		p = next
	}
}

// framed returns MQTT bytes in the framing of the transport.
func (d *device) framed(b []byte) []byte {
	if d.ws {
		return clientFrame(0x82, b)
	}
	return b
}

// auth returns an AUTH packet that renews the token.
func auth(tok string) []byte {
	props := append([]byte{0x15}, appendText(nil, authMethod)...)
	props = append(append(props, 0x16), appendText(nil, tok)...)
	return packet(0xF0, append([]byte{0x19, byte(len(props))}, props...))
}

func TestWebSocketPingFlood(t *testing.T) {
	w := newWorld(t, Options{PacketRate: 10})
	for _, version := range []byte{4, 5} {
		d := w.login(endpoint{"ws", version}, "a", "7")
		before := w.dial(endpoint{"ws", version}) // the same, before its CONNECT
		for _, d := range []*device{d, before} {
			go func() {
				for range 150 {
					if _, err := d.nc.Write(clientFrame(0x89, []byte("ping"))); err != nil {
						return
					}
				}
			}()
			d.last()
		}
	}
	w.eventually("all ended", func(s Stats) bool { return s.Connections == 0 && s.Pending == 0 })
	if n := w.broker.Stats().Limited[LimitPacketRate]; n != 4 {
		t.Errorf("%d floods were counted", n)
	}
}

// Acknowledgements of messages do not count for the packet rate, however many they are.
func TestAcknowledgementsAreNotRateLimited(t *testing.T) {
	everywhere(t, Options{PacketRate: 1}, func(t *testing.T, w *world, at endpoint) {
		d := w.login(at, "a", "7")
		d.subscribe(1, []byte{1}, topic7)
		for i := range 60 {
			w.notify("7", fmt.Sprint(i))
			d.ack(d.expectMessage())
		}
		d.alive()
		if s := w.broker.Stats(); s.Limited[LimitPacketRate] != 0 {
			t.Errorf("limits %v", s.Limited)
		}
	})
}

func TestPacketRateAllowsBursts(t *testing.T) {
	begun := time.Now()
	c := &conn{b: &Broker{o: Options{PacketRate: 1000}, started: begun}}
	sent := 0
	for c.allowPacket() {
		if sent++; sent > 20_000 {
			t.Fatal("no end")
		}
	}
	most := 10_001 + int(time.Since(begun)/time.Millisecond)
	if sent < 10_000 || sent > most+1 {
		t.Errorf("%d packets at once were accepted, want those of ten seconds, at most %d", sent, most)
	}
	testserver.Eventually(t, testTimeout, func() error {
		if !c.allowPacket() {
			return fmt.Errorf("it never recovers")
		}
		return nil
	})
	if c.b.o.PacketRate = 0; !c.allowPacket() {
		t.Error("without a limit a packet is refused")
	}
}

func TestSubscriptionsOfOneConnectionAreBounded(t *testing.T) {
	everywhere(t, Options{}, func(t *testing.T, w *world, at endpoint) {
		d := w.login(at, "a", "7/notifications:read")
		d.subscribe(1, []byte{1}, topic7) // the own topic does not count
		for i := range 16 {
			d.subscribe(1, []byte{1}, fmt.Sprintf("users/%d/reports/status", 100+i))
		}
		code := map[byte]byte{4: codeUnspecified, 5: codeQuota}[at.version]
		d.subscribe(1, []byte{code}, "users/200/reports/status")
		d.subscribe(1, []byte{code}, "users/+/reports/status")
		d.subscribe(1, []byte{1}, "users/100/reports/status") // a topic that it has already
		if n := w.broker.Stats().Limited[LimitSubscriptions]; n != 2 {
			t.Errorf("%d refusals counted", n)
		}
		w.notify("200", "not for it")
		w.notify(bridge.UserID("100"), "for it")
		if m := d.expectMessage(); m.topic != "users/100/reports/status" {
			t.Errorf("got %+v", m)
		}
		d.alive()
	})
}

// Frames without MQTT bytes count as packets, too.
func TestFloodsOfEmptyFrames(t *testing.T) {
	for name, frame := range map[string][]byte{
		"ping":                         clientFrame(0x89, nil),
		"pong":                         clientFrame(0x8A, []byte("unsolicited")),
		"empty message":                clientFrame(0x82, nil),
		"empty fragments of a message": append(clientFrame(0x02, nil), clientFrame(0x80, nil)...),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, Options{PacketRate: 10}) // 100 at once
			d := w.login(endpoint{"ws", 5}, "a", "7")
			for range 20 {
				d.raw(frame)
			}
			d.alive()
			go func() {
				for range 150 {
					if _, err := d.nc.Write(frame); err != nil {
						return
					}
				}
			}()
			if last := d.last(); len(last) < 3 || last[0] != 0xE0 || last[2] != codeTooFast {
				t.Errorf("the last packet is % X, want DISCONNECT 0x96", last)
			}
		})
	}
}

func TestTLSHandshakesOfAnAddressAreRateLimited(t *testing.T) {
	w := newWorld(t, Options{ConnectRatePerIP: 0.25}) // one handshake a second
	refused := 0
	for range 20 {
		nc, err := net.Dial("tcp", w.tls)
		if err != nil {
			t.Fatal(err)
		}
		if tls.Client(nc, &tls.Config{InsecureSkipVerify: true}).Handshake() != nil {
			refused++
		}
		_ = nc.Close()
	}
	if refused == 0 || refused == 20 {
		t.Errorf("%d of 20 handshakes refused", refused)
	}
	w.eventually("counted", func(s Stats) bool { return s.Limited[LimitHandshakesPerAddress] == int64(refused) })
	if w.broker.AllowHandshake("127.0.0.1:5") {
		t.Error("an HTTPS listener has a rate of its own")
	}
	w.login(endpoint{"tcp", 5}, "a", "7").alive()
}

func TestUpgradesOfAnAddressAreRateLimited(t *testing.T) {
	w := newWorld(t, Options{ConnectRatePerIP: 0.25}) // one upgrade a second
	codes := map[int]int{}
	for range 20 {
		res, err := http.Get("http://" + w.ws + "/mqtt") // not an upgrade; it counts nevertheless
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if codes[res.StatusCode]++; res.StatusCode == http.StatusTooManyRequests && res.Header.Get("Retry-After") == "" {
			t.Error("429 without Retry-After")
		}
	}
	if codes[http.StatusUpgradeRequired] == 0 || codes[http.StatusTooManyRequests] == 0 {
		t.Errorf("the responses are %v", codes)
	}
	if n := w.broker.Stats().Limited[LimitUpgradesPerAddress]; n != int64(codes[http.StatusTooManyRequests]) {
		t.Errorf("%d were counted", n)
	}
}
