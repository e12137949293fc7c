package broker

import (
	"slices"
	"strings"
	"testing"
)

// badTexts are strings that are not UTF-8 as MQTT requires, or have characters that a server
// may refuse and this one does.
var badTexts = map[string]string{
	"U+0000":                "61 00",
	"the surrogate U+D800":  "ED A0 80",
	"the surrogate U+DFFF":  "ED BF BF",
	"an overlong NUL":       "C0 80",
	"an overlong slash":     "E0 80 AF",
	"half a character":      "E2 82",
	"past U+10FFFF":         "F4 90 80 80",
	"a byte that is none":   "FF",
	"a lone continuation":   "61 80",
	"the control U+0001":    "61 01 61",
	"the control U+001F":    "1F",
	"the control U+007F":    "7F",
	"the control U+009F":    "C2 9F",
	"a newline, for a log":  "61 0A 61",
	"an escape for console": "1B 5B 32 4A",
}

// The strings that a device sends, each in its packet in both versions, with _ for the
// string. "": not in 3.1.1.
var texts = []struct{ name, v5, v4 string }{
	{"a client id", "10 'MQTT' 05 02 0000 00 _", "10 'MQTT' 04 02 0000 _"},
	{"a username", "10 'MQTT' 05 82 0000 00 'a' _", "10 'MQTT' 04 82 0000 'a' _"},
	{"a will topic", "10 'MQTT' 05 06 0000 00 'a' 00 _ 'p'", "10 'MQTT' 04 06 0000 'a' _ 'p'"},
	{"a topic", "30 _ 00", "30 _"},
	{"a filter", "82 0001 00 _ 00", "82 0001 _ 00"},
	{"a second filter", "82 0001 00 'a' 00 _ 00", "82 0001 'a' 00 _ 00"},
	{"a filter to leave", "A2 0001 00 _", "A2 0001 _"},
}

// textProperties are the property blocks of MQTT 5 with strings, with _ for the string.
var textProperties = []struct {
	letter      byte
	name, props string
}{
	{'C', "an authentication method", "15 _"},
	{'C', "a user property's name", "26 _ 'v'"},
	{'C', "a user property's value", "26 'k' _"},
	{'W', "a will's content type", "03 _"},
	{'W', "a will's response topic", "08 _"},
	{'P', "a content type", "03 _"},
	{'P', "a response topic", "08 _"},
	{'4', "a reason string", "1F _"},
	{'S', "a user property of SUBSCRIBE", "26 'since' _"},
	{'D', "the reason string of DISCONNECT", "1F _"},
}

// fill reads hex in which _ stands for text.
func fill(t *testing.T, s, text string) []byte {
	t.Helper()
	before, after, _ := strings.Cut(s, "_")
	return slices.Concat(bytesOf(t, before), appendText(nil, string(bytesOf(t, text))), bytesOf(t, after))
}

func TestTextThatIsNotUTF8(t *testing.T) {
	for name, bad := range badTexts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, Options{})
			for _, tt := range texts {
				t.Log(tt.name) // the last one logged is the one that failed
				for version, s := range map[byte]string{4: tt.v4, 5: tt.v5} {
					b := fill(t, s, bad)
					before := b[0] == 0x10
					for _, transport := range []string{"tcp", "ws"} {
						at := endpoint{transport, version}
						d := w.dial(at)
						if !before {
							d.send(connect{id: "a", token: "7", clean: true}.packet(version))
							d.expectConnack(0)
						}
						d.send(packet(b[0], b[1:]))
						switch {
						case version == 4: // closed without a packet
						case !before:
							d.expect("E0 01 81")
						case tt.name == "a client id":
							d.expect("20 03 00 85 00")
						default:
							d.expect("20 03 00 81 00")
						}
						d.expectEnd(0)
						_ = d.nc.Close()
					}
				}
			}
			for _, tt := range textProperties {
				t.Log(tt.name)
				carriers[tt.letter].offer(w, tt.letter, fill(t, tt.props, bad), codeMalformed)
			}
		})
	}
}

// A byte order mark is a character like any other ([MQTT-1.5.4-3], in 3.1.1
// [MQTT-1.5.3-3]), and nothing is normalized ([MQTT-4.7.3-4]).
func TestTextIsNotNormalized(t *testing.T) {
	everywhere(t, Options{}, func(t *testing.T, w *world, at endpoint) {
		refused := map[byte]byte{4: codeUnspecified, 5: codeNotAuthorized}[at.version]
		composed, apart := "users/\u00e9/reports/status", "users/e\u0301/reports/status"
		plain := w.login(at, "phone", "7")
		marked := w.login(at, "\ufeffphone", "7") // another device: there is no takeover
		plain.subscribe(1, []byte{1, refused, refused, refused}, topic7, "\ufeff"+topic7, composed, apart)
		marked.subscribe(1, []byte{refused, 1}, topic7+"\ufeff", topic7)
		w.notify("7", "once each")
		plain.ack(plain.expectMessage())
		marked.ack(marked.expectMessage())
		marked.send(packet(0xA2, appendText(map[byte][]byte{4: {0, 9}, 5: {0, 9, 0}}[at.version], "\ufeff"+topic7)))
		marked.expect(map[byte]string{4: "B0 02 00 09", 5: "B0 04 00 09 00 11"}[at.version])
		w.notify("7", "still subscribed")
		marked.ack(marked.expectMessage())
		plain.ack(plain.expectMessage())
		rare := append(appendText(nil, "\U0002a6d4"), map[byte][]byte{5: {0}}[at.version]...)
		marked.send(packet(0x30, rare)) // dropped, as every PUBLISH of QoS 0
		marked.alive()
	})
}
