package broker

import (
	"strings"
	"testing"

	"github.com/falconalert/falconbridge/bridge"
)

func sinceProperty(v string) []byte {
	return append([]byte{propUser}, appendText(appendText(nil, "since"), v)...)
}

func TestSince(t *testing.T) {
	for name, tt := range map[string]struct {
		props []byte
		code  byte
		first int // seq of the first message; 0: none
	}{
		"replays what came after it":           {sinceProperty("1"), 1, 2},
		"0 replays everything":                 {sinceProperty("0"), 1, 1},
		"the last one replays nothing":         {sinceProperty("3"), 1, 0},
		"over the last one counts as the last": {sinceProperty("9007199254740991"), 1, 0},
		"over 2^53-1 is malformed":             {sinceProperty("9007199254740992"), codeImplementation, 0},
		"a negative is malformed":              {sinceProperty("-1"), codeImplementation, 0},
		"a sign is malformed":                  {sinceProperty("+1"), codeImplementation, 0},
		"an empty value is malformed":          {sinceProperty(""), codeImplementation, 0},
		"words are malformed":                  {sinceProperty("yesterday"), codeImplementation, 0},
		"two of them are malformed":            {append(sinceProperty("1"), sinceProperty("2")...), codeImplementation, 0},
		"another property is ignored":          {append([]byte{propUser}, appendText(appendText(nil, "Since"), "x")...), 1, 3},
	} {
		t.Run(name, func(t *testing.T) {
			for _, transport := range []string{"tcp", "ws"} {
				w := newWorld(t, Options{})
				w.notify("7", "one", "two", "three")
				d := w.login(endpoint{transport, 5}, "a", "7")
				d.send(subscribe(5, 1, 1, tt.props, topic7))
				p := d.expect("90 ..")
				if p[len(p)-1] != tt.code {
					t.Fatalf("SUBACK % X, want %#x", p, tt.code)
				}
				if has := strings.Contains(string(p), errSince.Error()); has != (tt.code == codeImplementation) {
					t.Errorf("SUBACK %q carries a reason: %v", p, has)
				}
				for seq := tt.first; seq > 0 && seq <= 3; seq++ {
					m := d.expectMessage()
					retained := m.head&1 == 1
					if !strings.Contains(m.props, "seq\x00\x01"+string(rune('0'+seq))) || retained != (seq == tt.first && tt.props[3] == 'S') {
						t.Fatalf("message %d is %+v", seq, m)
					}
				}
				d.alive()
			}
		})
	}
	t.Run("a device that wants no problem information gets no reason", func(t *testing.T) {
		w := newWorld(t, Options{})
		d := w.dial(endpoint{"tcp", 5})
		d.send(connect{id: "a", token: "7", clean: true, props: []byte{propProblemInfo, 0}}.packet(5))
		d.expectConnack(0)
		d.send(subscribe(5, 1, 1, sinceProperty("x"), topic7))
		d.expect("90 04 00 01 00 83")
	})
}

func TestSubscriptionOptions(t *testing.T) {
	for name, tt := range map[string]struct {
		options  byte
		retained byte // first byte of the retained copy; 0: there is none
		again    byte // of the retained copy after the same SUBSCRIBE again
		live     byte
	}{
		"QoS 0":                        {0x00, 0x31, 0x31, 0x30},
		"QoS 1":                        {0x01, 0x33, 0x33, 0x32},
		"QoS 2 is granted as 1":        {0x02, 0x33, 0x33, 0x32},
		"Retain As Published":          {0x09, 0x33, 0x33, 0x33},
		"No Local changes nothing":     {0x05, 0x33, 0x33, 0x32},
		"Retain Handling 1, only once": {0x11, 0x33, 0, 0x32},
		"Retain Handling 2, never":     {0x21, 0, 0, 0x32},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, Options{})
			w.notify("7", "before")
			for _, transport := range []string{"tcp", "ws"} {
				d := w.login(endpoint{transport, 5}, transport, "7")
				id := []byte{propSubID, 0xE9, 7} // 1001
				for _, retained := range []byte{tt.retained, tt.again} {
					d.send(subscribe(5, 1, tt.options, id, topic7))
					d.expect("90 04 00 01 00 " + map[bool]string{true: "00", false: "01"}[tt.options&3 == 0])
					if retained == 0 {
						d.alive()
						continue
					}
					m := d.expectMessage()
					if m.head != retained || !strings.Contains(m.props, string(id)) {
						t.Fatalf("the retained copy is %+v", m)
					}
					if m.id > 0 {
						d.ack(m)
					}
				}
				w.notify("7", "live")
				if m := d.expectMessage(); m.head != tt.live || !strings.Contains(m.props, string(id)) {
					t.Fatalf("the live message is %+v", m)
				}
			}
		})
	}
}

func TestUnsubscribe(t *testing.T) {
	everywhere(t, Options{}, func(t *testing.T, w *world, at endpoint) {
		d := w.login(at, "a", "7")
		d.subscribe(1, []byte{1}, topic7)
		body, want := []byte{0, 9}, "B0 02 00 09"
		if at.version == 5 {
			body, want = append(body, 0), "B0 05 00 09 00 00 11"
		}
		d.send(packet(0xA2, appendText(appendText(body, topic7), "other")))
		d.expect(want)
		w.notify("7", "unheard")
		d.alive()
	})
}

func TestScopes(t *testing.T) {
	everywhere(t, Options{}, func(t *testing.T, w *world, at endpoint) {
		no := map[byte]byte{4: codeUnspecified, 5: codeNotAuthorized}[at.version]
		w.notify("8", "somebody's")
		d := w.login(at, "operator", "1/notifications:read")
		d.subscribe(1, []byte{1, no, no}, "users/8/reports/status", "#", "users/+/reports/+")
		if m := d.expectMessage(); m.topic != "users/8/reports/status" || m.head != 0x33 {
			t.Fatalf("got %+v", m)
		}
		d.subscribe(1, []byte{1}, "users/+/reports/status")
		d = w.login(at, "writer", "1/notifications:write")
		d.subscribe(1, []byte{no, no}, "users/8/reports/status", "users/+/reports/status")
	})
}

func TestConnectionsSurviveADatabaseOutage(t *testing.T) {
	everywhere(t, Options{}, func(t *testing.T, w *world, at endpoint) {
		d := w.login(at, "a", "7")
		w.log.setUnavailable(true)
		d.alive() // the connection stays
		refused := map[byte]byte{4: codeUnspecified, 5: codeImplementation}[at.version]
		d.subscribe(1, []byte{refused, map[byte]byte{4: codeUnspecified, 5: codeNotAuthorized}[at.version]}, topic7, "#")
		late := w.dial(at)
		late.send(connect{id: "b", token: "7"}.packet(at.version))
		late.expectConnack(map[byte]byte{4: 3, 5: codeUnavailable}[at.version])
		late.expectEnd(0)
		w.log.setUnavailable(false)
		d.subscribe(1, []byte{1}, topic7)
		w.notify("7", "back")
		d.ack(d.expectMessage())
		w.login(at, "b", "7").alive()

		d.send(connect{}.packet(at.version)) // to end the connection
		d.expectEnd(codeProtocolError)
		kept := w.dial(at)
		kept.send(connect{id: "kept", token: "7", props: []byte{0x11, 0, 0, 1, 0}}.packet(at.version))
		kept.expectConnack(0)
		kept.send(subscribe(at.version, 1, 0x01, nil, topic7))
		kept.expect("90 ..")
		kept.ack(kept.expectMessage())
		w.log.setUnavailable(true)
		body := []byte{0, 9}
		if at.version == 5 {
			kept.send(packet(0xA2, appendText(append(body, 0), topic7)))
			kept.expect("B0 04 00 09 00 83")
			kept.alive()
		} else { // the UNSUBACK has no codes
			kept.send(packet(0xA2, appendText(body, topic7)))
			kept.expectEnd(0)
		}
		w.log.setUnavailable(false)
	})
}

func TestLongestTopic(t *testing.T) {
	user := bridge.UserID(strings.Repeat("u", 128))
	everywhere(t, Options{}, func(t *testing.T, w *world, at endpoint) {
		d := w.login(at, "a", string(user))
		d.subscribe(1, []byte{1}, "users/"+string(user)+"/reports/status")
		w.notify(user, strings.Repeat("é", 255))
		if m := d.expectMessage(); !strings.Contains(m.body, strings.Repeat("é", 255)) {
			t.Errorf("got %+v", m)
		}
	})
}
