package broker

import (
	"encoding/hex"
	"strings"
	"testing"
)

// bytesOf reads hex. A quoted 'text' is a string, which is preceded by its length.
func bytesOf(t *testing.T, s string) []byte {
	t.Helper()
	var b []byte
	for word := range strings.FieldsSeq(s) {
		if text, ok := strings.CutPrefix(word, "'"); ok {
			b = appendText(b, strings.TrimSuffix(text, "'"))
			continue
		}
		x, err := hex.DecodeString(word)
		if err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		b = append(b, x...)
	}
	return b
}

// packetOf reads a packet as bytesOf does: its first byte, and then the rest without the
// remaining length.
func packetOf(t *testing.T, s string) []byte {
	b := bytesOf(t, s)
	return packet(b[0], b[1:])
}

// After login: MQTT 5 requires a DISCONNECT with the reason code, 3.1.1 only closes the
// connection.
// rest5 has the property length that 3.1.1 has not.
func TestMalformedPacketsEndWithTheirCode(t *testing.T) {
	for name, tt := range map[string]struct {
		v5   string // first byte and body
		v4   string // "": does not exist in 3.1.1
		code byte
	}{
		"PUBLISH of QoS 3":                          {"36 't' 0001 00", "36 't' 0001", codeMalformed},
		"PUBLISH of QoS 0 with DUP":                 {"38 't' 00", "38 't'", codeMalformed},
		"PUBLISH of QoS 1 without a packet id":      {"32 't'", "32 't'", codeMalformed},
		"PUBLISH with packet id 0":                  {"32 't' 0000 00", "32 't' 0000", codeProtocolError},
		"PUBLISH to a wildcard":                     {"30 'a/+' 00", "30 'a/#'", codeMalformed},
		"PUBLISH to no topic":                       {"30 0000 00", "30 0000", codeMalformed},
		"PUBLISH with a NUL in the topic":           {"30 0001 00 00", "30 0001 00", codeMalformed},
		"PUBLISH with a surrogate in the topic":     {"30 0003 EDA080 00", "30 0003 EDA080", codeMalformed},
		"PUBLISH with a control character":          {"30 0001 1F 00", "30 0002 C285", codeMalformed},
		"PUBLISH with a topic alias":                {"30 't' 03 23 0001", "", codeTopicAlias},
		"PUBLISH with an alias twice":               {"30 't' 06 23 0001 23 0001", "", codeProtocolError},
		"PUBLISH with an alias and no topic":        {"30 0000 03 23 0001", "", codeTopicAlias},
		"PUBLISH with a subscription identifier":    {"30 't' 02 0B 01", "", codeProtocolError},
		"PUBLISH with payload format 2":             {"30 't' 02 01 02", "", codeProtocolError},
		"PUBLISH with a property twice":             {"30 't' 04 0101 0101", "", codeProtocolError},
		"PUBLISH with a property cut short":         {"30 't' 01 02 00000001", "", codeMalformed},
		"PUBLISH with an unknown property":          {"30 't' 02 04 01", "", codeMalformed},
		"PUBLISH with a property id of two bytes":   {"30 't' 03 8001 01", "", codeMalformed},
		"PUBLISH with a reason string":              {"30 't' 04 1F 'p'", "", codeProtocolError},
		"PUBLISH with properties past its end":      {"30 't' 7F", "", codeMalformed},
		"PUBLISH with a wildcard response topic":    {"30 't' 04 08 '+'", "", codeProtocolError},
		"PUBLISH of QoS 2, over the Maximum QoS":    {"34 't' 0001 00", "34 't' 0001", codeQoSNotSupported},
		"PUBACK with flags":                         {"42 0001", "42 0001", codeMalformed},
		"PUBACK with packet id 0":                   {"40 0000", "40 0000", codeProtocolError},
		"PUBACK too short":                          {"40 00", "40 00", codeMalformed},
		"PUBACK too long":                           {"40 0001 00 00 00", "40 0001 00", codeMalformed},
		"PUBACK with an unknown reason":             {"40 0001 FF", "", codeProtocolError},
		"PUBREL without its flags":                  {"60 0001", "60 0001", codeMalformed},
		"SUBSCRIBE without its flags":               {"80 0001 00 'a' 00", "80 0001 'a' 00", codeMalformed},
		"SUBSCRIBE with DUP":                        {"8A 0001 00 'a' 00", "8A 0001 'a' 00", codeMalformed},
		"SUBSCRIBE with packet id 0":                {"82 0000 00 'a' 00", "82 0000 'a' 00", codeMalformed},
		"SUBSCRIBE to nothing":                      {"82 0001 00", "82 0001", codeMalformed},
		"SUBSCRIBE without options, the crash":      {"82 0001 00 'a'", "82 0001 'a'", codeMalformed},
		"SUBSCRIBE to an empty filter":              {"82 0001 00 0000 00", "82 0001 0000 00", codeMalformed},
		"SUBSCRIBE to an empty filter at the end":   {"82 0001 00 'a' 00 0000 00", "82 0001 'a' 00 0000 00", codeMalformed},
		"SUBSCRIBE to a # that is not last":         {"82 0001 00 'a/#/b' 00", "82 0001 '#/b' 00", codeMalformed},
		"SUBSCRIBE to a + that is not alone":        {"82 0001 00 'a+/b' 00", "82 0001 'a/+b' 00", codeMalformed},
		"SUBSCRIBE of QoS 3":                        {"82 0001 00 'a' 03", "82 0001 'a' 03", codeMalformed},
		"SUBSCRIBE with retain handling 3":          {"82 0001 00 'a' 30", "82 0001 'a' 30", codeMalformed},
		"SUBSCRIBE with reserved options":           {"82 0001 00 'a' 40", "82 0001 'a' 80", codeMalformed},
		"SUBSCRIBE with subscription identifier 0":  {"82 0001 02 0B00 'a' 00", "", codeMalformed},
		"SUBSCRIBE with two identifiers":            {"82 0001 04 0B01 0B02 'a' 00", "", codeProtocolError},
		"SUBSCRIBE with a long form of identifier":  {"82 0001 03 0B8000 'a' 00", "", codeMalformed},
		"SUBSCRIBE shared, with No Local":           {"82 0001 00 '$share/g/a' 04", "", codeProtocolError},
		"SUBSCRIBE shared, without a filter":        {"82 0001 00 '$share/g' 00", "", codeProtocolError},
		"SUBSCRIBE shared, to an empty filter":      {"82 0001 00 '$share/g/' 00", "", codeProtocolError},
		"SUBSCRIBE shared, by a wildcard":           {"82 0001 00 '$share/+/a' 00", "", codeProtocolError},
		"UNSUBSCRIBE from nothing":                  {"A2 0001 00", "A2 0001", codeMalformed},
		"UNSUBSCRIBE with packet id 0":              {"A2 0000 00 'a'", "A2 0000 'a'", codeMalformed},
		"UNSUBSCRIBE with an empty filter":          {"A2 0001 00 'a' 0000", "A2 0001 'a' 0000", codeMalformed},
		"PINGREQ with a body":                       {"C0 00", "C0 00", codeMalformed},
		"PINGREQ with flags":                        {"C1", "C1", codeMalformed},
		"DISCONNECT with flags":                     {"E1", "E1", codeMalformed},
		"DISCONNECT with a body":                    {"E0 00 01 11", "E0 00", codeMalformed},
		"DISCONNECT with an expiry, where none was": {"E0 00 05 11 00000001", "", codeProtocolError},
		"DISCONNECT with an expiry twice":           {"E0 00 0A 1100000000 1100000000", "", codeProtocolError},
		"AUTH where CONNECT named no method":        {"F0 19 06 15 'jwt'", "F0 19", codeProtocolError},
		"a second CONNECT":                          {"10 'MQTT' 05 02 0000 00 'x'", "10 'MQTT' 04 02 0000 'x'", codeProtocolError},
		"CONNACK":                                   {"20 00 00 00", "20 00 00", codeProtocolError},
		"SUBACK":                                    {"90 0001 00 00", "90 0001 00", codeProtocolError},
		"UNSUBACK":                                  {"B0 0001 00 00", "B0 0001", codeProtocolError},
		"PINGRESP":                                  {"D0", "D0", codeProtocolError},
		"CONNACK with flags":                        {"21 00 00 00", "21 00 00", codeProtocolError},
		"SUBACK with flags":                         {"92 0001 00 00", "92 0001 00", codeMalformed},
		"UNSUBACK with flags":                       {"B8 0001 00 00", "B8 0001", codeMalformed},
		"PINGRESP with flags":                       {"D4", "D4", codeMalformed},
		"packet type 0":                             {"00", "0A", codeProtocolError},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, Options{})
			for _, transport := range []string{"tcp", "ws"} {
				d := w.login(endpoint{transport, 5}, "a", "7")
				d.send(packetOf(t, tt.v5))
				if p := d.expect("E0 01 .."); p[2] != tt.code {
					t.Errorf("%s: DISCONNECT %#x, want %#x", transport, p[2], tt.code)
				}
				d.expectEnd(0)
				if tt.v4 != "" {
					d = w.login(endpoint{transport, 4}, "b", "7")
					d.send(packetOf(t, tt.v4))
					d.expectEnd(0)
				}
			}
			if n := w.broker.Stats().Panics; n != 0 {
				t.Errorf("the decoder panicked %d times", n)
			}
		})
	}
}

func TestLengths(t *testing.T) {
	everywhere(t, Options{MaxPacketSize: 1024}, func(t *testing.T, w *world, at endpoint) {
		for name, tt := range map[string]struct {
			send string
			code byte
		}{
			"a length of five bytes":          {"C0 FF FF FF FF 01", codeMalformed},
			"a length in more bytes than due": {"C0 80 00", codeMalformed},
			"the largest length there is":     {"30 FF FF FF 7F", codeTooLarge},
			"one byte past the limit":         {"30 FE 07", codeTooLarge},
		} {
			d := w.login(at, "a", "7")
			d.send(bytesOf(t, tt.send))
			if at.version == 5 {
				if p := d.expect("E0 01 .."); p[2] != tt.code {
					t.Errorf("%s: DISCONNECT %#x, want %#x", name, p[2], tt.code)
				}
			}
			d.expectEnd(0)
		}
		d := w.login(at, "a", "7")
		fits := packet(0x30, append(appendText(nil, "t"), make([]byte, 1024-3-3)...))
		if at.version == 4 {
			d.send(fits)
			d.alive()
		}
	})
}

// Valid packets that get a fixed response, or none.
func TestRequestsAreAnsweredByTheirResponses(t *testing.T) {
	everywhere(t, Options{}, func(t *testing.T, w *world, at endpoint) {
		d := w.login(at, "a", "7")
		d.alive()
		for _, tt := range []struct{ v4, v5, want4, want5 string }{
			{"62 0001", "62 0001 92", "70 02 00 01", "70 02 00 01"},
			{"50 0001", "50 0001", "62 02 00 01", "62 02 00 01"},
			{"A2 0007 'a'", "A2 0007 00 'a'", "B0 02 00 07", "B0 04 00 07 00 11"},
			{"82 0001 'a' 00 '#' 01", "82 0001 00 'a' 00 '#' 01", "90 04 00 01 80 80", "90 05 00 01 00 87 87"},
		} {
			if at.version == 4 {
				d.send(packetOf(t, tt.v4))
				d.expect(tt.want4)
			} else {
				d.send(packetOf(t, tt.v5))
				d.expect(tt.want5)
			}
		}
		for _, silent := range []string{"40 0777", "70 0001", "30 'other'"} {
			if at.version == 5 && silent[0] == '3' {
				silent += " 00"
			}
			d.send(packetOf(t, silent))
		}
		d.alive()
		d.send([]byte{0xE0, 0})
		d.expectEnd(0)
	})
}
