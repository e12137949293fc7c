package broker

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// An invalid CONNECT, flag by flag and field by field. MQTT 5 gets the reason code in a
// CONNACK, 3.1.1 gets no CONNACK ([MQTT-3.1.4-1]).
func TestConnectFieldByField(t *testing.T) {
	for name, tt := range map[string]struct {
		v5, v4 string
		code   byte // 0: no CONNACK in MQTT 5 either
	}{
		"a protocol name cut short":            {"10 'MQT' 05 02 0000 00 'a'", "10 'MQT' 04 02 0000 'a'", 0},
		"a protocol name too long":             {"10 'MQTTT' 05 02 0000 00 'a'", "10 'MQTTT' 04 02 0000 'a'", 0},
		"another protocol name":                {"10 'MQTU' 05 02 0000 00 'a'", "10 'MQTU' 04 02 0000 'a'", 0},
		"a protocol name in small letters":     {"10 'mqtt' 05 02 0000 00 'a'", "10 'mqtt' 04 02 0000 'a'", 0},
		"no protocol name":                     {"10 0000 05 02 0000 00 'a'", "10 0000 04 02 0000 'a'", 0},
		"the reserved flag":                    {"10 'MQTT' 05 01 0000 00 'a'", "10 'MQTT' 04 01 0000 'a'", codeMalformed},
		"a will's QoS 1 without a will":        {"10 'MQTT' 05 0A 0000 00 'a'", "10 'MQTT' 04 0A 0000 'a'", codeMalformed},
		"a will's QoS 2 without a will":        {"10 'MQTT' 05 12 0000 00 'a'", "10 'MQTT' 04 12 0000 'a'", codeMalformed},
		"a will's RETAIN without a will":       {"10 'MQTT' 05 22 0000 00 'a'", "10 'MQTT' 04 22 0000 'a'", codeMalformed},
		"a will of QoS 3":                      {"10 'MQTT' 05 1E 0000 00 'a' 00 't' 'p'", "10 'MQTT' 04 1E 0000 'a' 't' 'p'", codeMalformed},
		"a will flag and nothing of it":        {"10 'MQTT' 05 06 0000 00 'a'", "10 'MQTT' 04 06 0000 'a'", codeMalformed},
		"a will without a payload":             {"10 'MQTT' 05 06 0000 00 'a' 00 't'", "10 'MQTT' 04 06 0000 'a' 't'", codeMalformed},
		"a will to no topic":                   {"10 'MQTT' 05 06 0000 00 'a' 00 0000 'p'", "10 'MQTT' 04 06 0000 'a' 0000 'p'", codeMalformed},
		"a will without its flag":              {"10 'MQTT' 05 02 0000 00 'a' 00 't' 'p'", "10 'MQTT' 04 02 0000 'a' 't' 'p'", codeMalformed},
		"a username without its flag":          {"10 'MQTT' 05 02 0000 00 'a' 'u'", "10 'MQTT' 04 02 0000 'a' 'u'", codeMalformed},
		"a username flag and no username":      {"10 'MQTT' 05 82 0000 00 'a'", "10 'MQTT' 04 82 0000 'a'", codeMalformed},
		"a password without its flag":          {"10 'MQTT' 05 82 0000 00 'a' '7' 'p'", "10 'MQTT' 04 82 0000 'a' '7' 'p'", codeMalformed},
		"a password flag and no password":      {"10 'MQTT' 05 C2 0000 00 'a' '7'", "10 'MQTT' 04 C2 0000 'a' '7'", codeMalformed},
		"fields in another order":              {"10 'MQTT' 05 C2 0000 00 '7' 'u' 0003 61", "10 'MQTT' 04 C2 0000 '7' 'u' 0003 61", codeMalformed},
		"an end after the keepalive":           {"10 'MQTT' 05 02 0000", "10 'MQTT' 04 02 0000", codeMalformed},
		"an end within the keepalive":          {"10 'MQTT' 05 02 00", "10 'MQTT' 04 02 00", codeMalformed},
		"an end after the version":             {"10 'MQTT' 05", "10 'MQTT' 04", codeMalformed},
		"properties past its end":              {"10 'MQTT' 05 02 0000 7F 'a'", "", codeMalformed},
		"properties without a length":          {"10 'MQTT' 05 02 0000 'a'", "", codeMalformed},
		"a client id longer than the packet":   {"10 'MQTT' 05 02 0000 00 00FF 61", "10 'MQTT' 04 02 0000 00FF 61", codeMalformed},
		"first byte flags":                     {"12 'MQTT' 05 02 0000 00 'a'", "18 'MQTT' 04 02 0000 'a'", codeMalformed},
		"an authentication method that is not": {"10 'MQTT' 05 02 0000 04 15 'x' 'a'", "", codeBadAuthMethod},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, Options{})
			for _, transport := range []string{"tcp", "ws"} {
				d := w.dial(endpoint{transport, 5})
				d.send(append(packetOf(t, tt.v5), 0xC0, 0)) // nothing after it is processed ([MQTT-3.1.4-6])
				if tt.code != 0 {
					d.expect(connackOf(tt.code))
				}
				d.expectEnd(0)
				if tt.v4 != "" {
					d = w.dial(endpoint{transport, 4})
					d.send(append(packetOf(t, tt.v4), 0xC0, 0))
					d.expectEnd(0)
				}
			}
		})
	}
}

// connackOf returns the expected refusal, with .. for the reason string.
func connackOf(code byte) string {
	if code == codeBadAuthMethod {
		return "20 .."
	}
	return fmt.Sprintf("20 03 00 %02X 00", code)
}

func TestProtocolNamesAndLevels(t *testing.T) {
	w := newWorld(t, Options{})
	for level := range 256 {
		for _, protocol := range []string{"MQTT", "MQIsdp"} {
			want := "20 03 00 84 00" // [MQTT-3.1.2-1] [MQTT-3.1.2-2]
			switch {
			case protocol == "MQTT" && (level == 4 || level == 5), level == 0:
				continue // supported, or no level
			case level == 0x83, level == 0x84: // mosquitto's bridges, which then fall back
				want = "20 02 00 01"
			case level == 3: // MQTT 3.1 reads the CONNACK of 3.1.1 ([MQTT-3.1.2-2])
				want = "20 02 00 01"
			}
			d := w.dial(endpoint{"tcp", 5})
			d.send(packetOf(t, fmt.Sprintf("10 '%s' %02X 02 0000 'a'", protocol, level)))
			d.expect(want)
			d.expectEnd(0)
			_ = d.nc.Close()
		}
	}
}

func TestClientIDsThatAreAllowed(t *testing.T) {
	everywhere(t, Options{MaxConnectionsPerUser: 100}, func(t *testing.T, w *world, at endpoint) {
		const all = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
		for n := 1; n <= 23; n++ { // [MQTT-3.1.3-5]
			d := w.login(at, strings.Repeat(all, 2)[n:2*n], "7")
			d.alive()
			_ = d.nc.Close()
		}
		w.login(at, "ñandú/+#$ 日本", "7").alive()
		var unnamed []*device
		for range 3 { // each gets an id of its own ([MQTT-3.1.3-6])
			unnamed = append(unnamed, w.login(at, "", "7"))
		}
		for _, d := range unnamed {
			d.alive() // it was not taken over
		}
	})
}

func TestAssignedClientIDsAreUnlikeEachOther(t *testing.T) {
	w := newWorld(t, Options{})
	var ids []string
	for range 5 {
		d := w.dial(endpoint{"ws", 5})
		d.send(connect{token: "7", clean: true, keepAlive: 60}.packet(5))
		p := string(d.expectConnack(0))
		_, id, found := strings.Cut(p, "\x12\x00\x1f")
		if !found || len(id) < 31 || slices.Contains(ids, id[:31]) {
			t.Fatalf("CONNACK %q assigns no client id, or one of %q", p, ids)
		}
		ids = append(ids, id[:31])
	}
	d := w.dial(endpoint{"tcp", 5}) // it is used as if the device had sent it ([MQTT-3.1.3-7])
	d.send(connect{id: ids[0], token: "7", clean: true}.packet(5))
	d.expectConnack(0)
	w.eventually("the first one taken over", func(s Stats) bool { return s.Connections == 5 })
}

// There is one CONNACK, before any other packet, even if the device does not wait for it
// and has messages to receive ([MQTT-3.2.0-1] [MQTT-3.2.0-2]).
func TestConnackComesFirstAndOnce(t *testing.T) {
	everywhere(t, Options{}, func(t *testing.T, w *world, at endpoint) {
		hello := connect{id: "a", token: "7"}
		if at.version == 5 {
			hello.props = []byte{0x11, 0, 0, 1, 0}
		}
		d := w.dial(at)
		d.send(hello.packet(at.version))
		d.expectConnack(0)
		d.subscribe(1, []byte{1}, topic7)
		_ = d.nc.Close()
		w.eventually("it is gone", func(s Stats) bool { return s.Connections == 0 })
		w.notify("7", "one", "two")

		d = w.dial(at)
		d.send(slices.Concat(hello.packet(at.version), []byte{0xC0, 0}, subscribe(at.version, 5, 1, nil, "a"), []byte{0xC0, 0}))
		if p := d.expectConnack(0); p[2] != 1 || at.version == 4 && len(p) != 4 {
			t.Fatalf("CONNACK % X", p)
		}
		got := map[byte]int{}
		for range 5 { // two messages among the responses
			p, err := d.next(testTimeout)
			if err != nil {
				t.Fatal(err)
			}
			got[p[0]&0xF0]++
		}
		if got[0x30] != 2 || got[0xD0] != 2 || got[0x90] != 1 {
			t.Errorf("after CONNACK came %v", got)
		}
	})
}
