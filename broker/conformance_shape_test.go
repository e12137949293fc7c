package broker

import (
	"fmt"
	"strconv"
	"testing"
)

// bodies are valid bodies of each packet type.
var bodies = [16]struct{ v5, v4 string }{
	1:  {"'MQTT' 05 02 0000 00 'a'", "'MQTT' 04 02 0000 'a'"},
	2:  {"00 00 00", "00 00"},
	3:  {"'t' 00", "'t'"},
	4:  {"0009 00", "0009"},
	5:  {"0009 00", "0009"},
	6:  {"0009 00", "0009"},
	7:  {"0009 00", "0009"},
	8:  {"0009 00 'a' 00", "0009 'a' 00"},
	9:  {"0009 00 00", "0009 00"},
	10: {"0009 00 'a'", "0009 'a'"},
	11: {"0009 00 00", "0009"},
	15: {"19 06 15 'jwt'", ""},
}

// firstByte returns the response of MQTT 5 to a packet with that first byte: the code of the
// DISCONNECT, or the first byte of the response; 0: none.
func firstByte(b byte) (code, answer byte) {
	kind, flags := b>>4, b&0x0F
	switch kind {
	case 0, 1, 2, 15: // reserved, a second CONNECT, CONNACK, and AUTH without a method in CONNECT
		return codeProtocolError, 0
	case 3:
		switch flags >> 1 & 3 {
		case 0:
			if flags&8 == 0 {
				return 0, 0
			}
			return codeMalformed, 0
		case 3:
			return codeMalformed, 0
		case 2:
			return codeQoSNotSupported, 0
		}
		return 0, 0x40
	case 6, 8, 10:
		flags ^= 2
	}
	switch {
	case flags != 0:
		return codeMalformed, 0
	case kind == 9, kind == 11, kind == 13:
		return codeProtocolError, 0
	}
	return 0, [16]byte{5: 0x62, 6: 0x70, 8: 0x90, 10: 0xB0, 12: 0xD0}[kind]
}

// Packet types that a client must not send, and invalid flags ([MQTT-2.1.3-1]; in 3.1.1
// [MQTT-2.2.2-2]).
func TestEveryFirstByte(t *testing.T) {
	for _, version := range []byte{4, 5} {
		t.Run(fmt.Sprint("MQTT ", version), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, Options{})
			for first := range 256 {
				t.Logf("%02X", first) // the last one logged is the one that failed
				d := w.login(endpoint{"tcp", version}, "a", strconv.Itoa(first+1))
				body := bodies[first>>4].v5
				if version == 4 {
					body = bodies[first>>4].v4
				}
				if first&0xF6 == 0x32 || first&0xF6 == 0x34 { // QoS 1 and 2 have a packet id
					body = "'t' 0009"
					if version == 5 {
						body += " 00"
					}
				}
				d.send(append(packet(byte(first), bytesOf(t, body)), 0xC0, 0))
				code, answer := firstByte(byte(first))
				if version == 4 && first>>4 == 3 && first&6 != 0 { // 3.1.1 has no other way to refuse it ([MQTT-3.3.5-2])
					code = codeNotAuthorized
				}
				switch {
				case code != 0 && version == 5:
					d.expect(fmt.Sprintf("E0 01 %02X", code))
					d.expectEnd(0)
				case code != 0, first == 0xE0:
					d.expectEnd(0)
				default:
					if answer != 0 {
						d.expect(fmt.Sprintf("%02X ..", answer))
					}
					d.expect("D0 00")
				}
				_ = d.nc.Close()
			}
		})
	}
}

// A packet that is cut off at any byte is malformed.
func TestPacketsCutShort(t *testing.T) {
	for name, tt := range map[string]struct {
		v5, v4 string
		whole  map[int]bool // lengths of the body that are valid in MQTT 5
	}{
		"PUBLISH":     {"32 't' 0009 07 26 'k' 'v'", "32 't' 0009", nil},
		"PUBACK":      {"40 0009 00 04 1F 'r'", "40 0009", map[int]bool{2: true, 3: true}},
		"PUBREC":      {"50 0009 00 04 1F 'r'", "50 0009", map[int]bool{2: true, 3: true}},
		"PUBREL":      {"62 0009 00 04 1F 'r'", "62 0009", map[int]bool{2: true, 3: true}},
		"PUBCOMP":     {"70 0009 00 04 1F 'r'", "70 0009", map[int]bool{2: true, 3: true}},
		"SUBSCRIBE":   {"82 0009 02 0B 01 'ab' 00", "82 0009 'ab' 00", nil},
		"UNSUBSCRIBE": {"A2 0009 07 26 'k' 'v' 'ab'", "A2 0009 'ab'", nil},
		"DISCONNECT":  {"E0 00 05 11 00000000", "", map[int]bool{0: true, 1: true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, Options{})
			for version, s := range map[byte]string{4: tt.v4, 5: tt.v5} {
				if s == "" {
					continue
				}
				b := bytesOf(t, s)
				for n := range len(b) - 1 {
					if version == 5 && tt.whole[n] {
						continue
					}
					t.Logf("%d bytes in MQTT %d", n, version)
					for _, transport := range []string{"tcp", "ws"} {
						d := w.login(endpoint{transport, version}, "a", "7")
						d.send(append(packet(b[0], b[1:1+n]), 0xC0, 0))
						d.expectEnd(codeMalformed)
						_ = d.nc.Close()
					}
				}
			}
		})
	}
}

// Reason codes of acknowledgements: those in the table of the standard are accepted, others
// are a protocol error ([MQTT-3.4.2-1] [MQTT-3.5.2-1] [MQTT-3.6.2-1] [MQTT-3.7.2-1]).
func TestReasonCodesOfAcknowledgements(t *testing.T) {
	w := newWorld(t, Options{})
	receipts := map[int]bool{0: true, 0x10: true, 0x80: true, 0x83: true, 0x87: true, 0x90: true, 0x91: true, 0x97: true, 0x99: true}
	releases := map[int]bool{0: true, 0x92: true}
	for _, tt := range []struct {
		first  byte
		known  map[int]bool
		answer string
	}{{0x40, receipts, ""}, {0x50, receipts, "62 02 00 09"}, {0x62, releases, "70 02 00 09"}, {0x70, releases, ""}} {
		d := w.login(endpoint{"tcp", 5}, "a", "7")
		for reason := range 256 {
			t.Logf("%02X with reason %02X", tt.first, reason)
			d.send([]byte{tt.first, 3, 0, 9, byte(reason), 0xC0, 0})
			if !tt.known[reason] {
				d.expectEnd(codeProtocolError)
				_ = d.nc.Close()
				d = w.login(endpoint{"tcp", 5}, "a", "7")
				continue
			}
			if tt.answer != "" && (tt.first != 0x50 || reason < 0x80) {
				d.expect(tt.answer)
			}
			d.expect("D0 00")
		}
		_ = d.nc.Close()
	}
}
