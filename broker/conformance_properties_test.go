package broker

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
)

// field is one property of table 2-4 of MQTT 5, as a device writes it, with the packets
// from a device that may have it.
type field struct {
	value []byte
	in    string // see carriers
}

func pair(key, value string) []byte { return appendText(appendText(nil, key), value) }

var fields = map[byte]field{
	0x01: {[]byte{1}, "PW"},
	0x02: {[]byte{0, 0, 0, 1}, "PW"},
	0x03: {appendText(nil, "t"), "PW"},
	0x08: {appendText(nil, "t"), "PW"},
	0x09: {appendText(nil, "c"), "PW"},
	0x0B: {[]byte{1}, "S"},
	0x11: {[]byte{0, 0, 0, 0}, "CD"},
	0x12: {appendText(nil, "i"), ""},
	0x13: {[]byte{0, 1}, ""},
	0x15: {appendText(nil, "jwt"), "CF"},
	0x16: {appendText(nil, "7"), "CF"},
	0x17: {[]byte{1}, "C"},
	0x18: {[]byte{0, 0, 0, 1}, "W"},
	0x19: {[]byte{1}, "C"},
	0x1A: {appendText(nil, "r"), ""},
	0x1C: {appendText(nil, "s"), "D"},
	0x1F: {appendText(nil, "r"), "4567DF"},
	0x21: {[]byte{0, 9}, "C"},
	0x22: {[]byte{0, 9}, "C"},
	0x23: {[]byte{0, 1}, "P"},
	0x24: {[]byte{1}, ""},
	0x25: {[]byte{1}, ""},
	0x26: {pair("k", "v"), "CWP4567SUDF"},
	0x27: {[]byte{0, 1, 0, 0}, "C"},
	0x28: {[]byte{1}, ""},
	0x29: {[]byte{1}, ""},
	0x2A: {[]byte{1}, ""},
}

// carrier is a packet that may have properties, and the response to a valid one.
type carrier struct {
	name   string
	packet func(props []byte) []byte
	answer string
}

// block returns a packet with that first byte, and its properties between head and tail.
func block(first byte, head, tail []byte) func([]byte) []byte {
	return func(props []byte) []byte {
		return packet(first, slices.Concat(appendVarint(bytes.Clone(head), len(props)), props, tail))
	}
}

var carriers = map[byte]carrier{
	'C': {"CONNECT", func(props []byte) []byte { return connect{id: "a", token: "7", clean: true, props: props}.packet(5) }, ""},
	'W': {"a will", func(props []byte) []byte {
		return connect{id: "a", token: "7", clean: true, will: slices.Concat(appendVarint(nil, len(props)), props, []byte{0, 1, 't', 0, 0})}.packet(5)
	}, ""},
	'P': {"PUBLISH", block(0x30, appendText(nil, "t"), []byte("payload")), ""},
	'4': {"PUBACK", block(0x40, []byte{0, 9, 0}, nil), ""},
	'5': {"PUBREC", block(0x50, []byte{0, 9, 0}, nil), "62 02 00 09"},
	'6': {"PUBREL", block(0x62, []byte{0, 9, 0}, nil), "70 02 00 09"},
	'7': {"PUBCOMP", block(0x70, []byte{0, 9, 0}, nil), ""},
	'S': {"SUBSCRIBE", block(0x82, []byte{0, 9}, append(appendText(nil, topic7), 1)), "90 04 00 09 00 01"},
	'U': {"UNSUBSCRIBE", block(0xA2, []byte{0, 9}, appendText(nil, "a")), "B0 04 00 09 00 11"},
	'D': {"DISCONNECT", block(0xE0, []byte{0}, nil), ""},
	'F': {"AUTH", block(0xF0, []byte{codeReauthenticate}, nil), "F0 08 00 06 15 00 03 6A 77 74"},
}

// offer sends the packet on a connection of its own, and expects that it ends with code, or
// with 0 that the packet is accepted.
func (c carrier) offer(w *world, letter byte, props []byte, code byte) {
	w.Helper()
	d := w.dial(endpoint{"tcp", 5})
	defer d.nc.Close()
	if letter == 'C' || letter == 'W' {
		d.send(c.packet(props))
		d.expectConnack(code)
		return
	}
	hello := connect{id: "a", token: "7", clean: true}
	if letter == 'F' {
		hello.props = method
	}
	d.send(hello.packet(5))
	d.expectConnack(0)
	d.send(append(c.packet(props), 0xC0, 0))
	switch {
	case code != 0:
		d.expect(fmt.Sprintf("E0 01 %02X", code))
		d.expectEnd(0)
	case letter == 'D':
		d.expectEnd(0)
	default:
		if c.answer != "" {
			d.expect(c.answer)
		}
		d.expect("D0 00")
	}
}

var method = append([]byte{propAuthMethod}, appendText(nil, "jwt")...)

// A property is accepted once in the packets that it belongs to. Otherwise the connection
// ends with the reason code of the fault (§2.2.2.2).
func TestPropertiesAreAllowedInTheirPacketsOnly(t *testing.T) {
	for letter, c := range carriers {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, Options{})
			misplaced := byte(codeProtocolError)
			if letter == 'S' || letter == 'U' {
				misplaced = codeMalformed
			}
			try := func(what string, props []byte, code byte) {
				t.Log(what) // the last one logged is the one that failed
				c.offer(w, letter, props, code)
			}
			for id := range byte(0x80) {
				f, known := fields[id]
				one := append([]byte{id}, f.value...)
				var need []byte // what it requires
				if letter == 'F' || letter == 'C' && id == propAuthData {
					need = method
				}
				if letter == 'F' && id != propAuthData {
					need = slices.Concat(need, []byte{propAuthData}, appendText(nil, "7"))
				}
				if letter == 'F' && id == propAuthMethod {
					need = need[len(method):]
				}
				name := fmt.Sprintf("property 0x%02X", id)
				switch {
				case !known:
					try(name+", which is none", []byte{id, 1}, codeMalformed)
				case !bytes.Contains([]byte(f.in), []byte{letter}):
					try(name+", misplaced", one, misplaced)
				case id == 0x23:
					try(name+", which CONNACK did not offer", one, codeTopicAlias)
					try(name+" twice", slices.Concat(one, one), codeProtocolError)
				case id == propUser:
					try(name, slices.Concat(need, one), 0)
					try(name+" twice", slices.Concat(need, one, one), 0)
					try(name+" with nothing in it", slices.Concat(need, []byte{id, 0, 0, 0, 0}), 0)
				default:
					try(name, slices.Concat(need, one), 0)
					try(name+" twice", slices.Concat(need, one, one), codeProtocolError)
				}
				for n := 1; known && n < len(one); n++ {
					try(fmt.Sprintf("%d bytes of %s", n, name), one[:n], codeMalformed)
				}
			}
			try("an id of two bytes", []byte{0x80, 1, 1}, codeMalformed)
			try("an id in more bytes than due", []byte{0xA6, 0, 0, 0, 0, 0}, codeMalformed)
			try("an id of five bytes", []byte{0x80, 0x80, 0x80, 0x80, 1, 1}, codeMalformed)
		})
	}
}

// Values that the standard does not allow.
func TestPropertyValuesThatAreNotAllowed(t *testing.T) {
	w := newWorld(t, Options{})
	for _, tt := range []struct {
		letter byte
		props  string
		code   byte
	}{
		{'C', "17 02", codeProtocolError},
		{'C', "19 02", codeProtocolError},
		{'C', "21 0000", codeProtocolError},
		{'C', "27 00000000", codeProtocolError},
		{'C', "22 0000", 0}, // no aliases: allowed
		{'C', "27 FFFFFFFF", 0},
		{'C', "11 FFFFFFFF", 0},
		{'C', "16 'x'", codeProtocolError}, // data without a method
		{'W', "01 02", codeProtocolError},
		{'W', "08 'a/+'", codeProtocolError},
		{'W', "08 0000", codeProtocolError},
		{'P', "01 02", codeProtocolError},
		{'P', "08 '#'", codeProtocolError},
		{'P', "08 0000", codeProtocolError},
		{'P', "23 0000", codeTopicAlias},
		{'P', "03 0000", 0},
		{'P', "09 0000", 0},
		{'P', "02 00000000", 0},
		{'S', "0B 00", codeMalformed},
		{'S', "0B 7F", 0},
		{'S', "0B 8001", 0},
		{'S', "0B FFFFFF7F", 0},
		{'S', "0B 8000", codeMalformed},
		{'S', "0B 8080808001", codeMalformed},
		{'D', "11 00000001", codeProtocolError}, // CONNECT had none
		{'4', "1F 0000", 0},
		{'F', "16 '7'", codeProtocolError}, // no method
	} {
		t.Logf("%s with %s", carriers[tt.letter].name, tt.props)
		carriers[tt.letter].offer(w, tt.letter, bytesOf(t, tt.props), tt.code)
	}
}
