package broker

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge/delivery"
)

const topic7 = "users/7/reports/status"

func TestDeliversToTheDevice(t *testing.T) {
	everywhere(t, Options{}, func(t *testing.T, w *world, at endpoint) {
		w.notify("7", "before")
		d := w.login(at, "phone", "7")
		d.subscribe(1, []byte{1}, topic7)
		m := d.expectMessage()
		if m.head != 0x33 || m.topic != topic7 || m.id <= 49152 {
			t.Fatalf("the retained copy is %+v", m)
		}
		w.notify("7", "live", "again")
		for seq := 2; seq <= 3; seq++ {
			m = d.expectMessage()
			if m.head != 0x32 || m.id != seq {
				t.Fatalf("message %d is %+v", seq, m)
			}
			d.ack(m)
		}
		if at.version == 5 {
			for _, want := range []string{"\x01\x01", "\x03\x00\x10application/json", "\x26\x00\x02id\x00\x013",
				"\x26\x00\x03seq\x00\x013", "\x26\x00\x04kind\x00\x07message", "\x26\x00\x05epoch\x00\x02e1"} {
				if !strings.Contains(m.props, want) {
					t.Errorf("the properties %q lack %q", m.props, want)
				}
			}
		}
		d.alive()
	})
}

func TestWhoMayLogIn(t *testing.T) {
	method := append([]byte{propAuthMethod}, appendText(nil, "jwt")...)
	data := func(tok string) []byte {
		return append(append(bytes.Clone(method), propAuthData), appendText(nil, tok)...)
	}
	for name, tt := range map[string]struct {
		ask    connect
		v5, v4 byte
	}{
		"the token as the password":                {connect{token: "7"}, 0, 0},
		"the password wins over the username":      {connect{token: "7", user: "bad"}, 0, 0},
		"the token as the username":                {connect{user: "7"}, 0, 0},
		"no token":                                 {connect{}, codeBadToken, 4},
		"a bad token":                              {connect{token: "bad"}, codeBadToken, 4},
		"a bad token as the username":              {connect{user: "bad"}, codeBadToken, 4},
		"an expired token":                         {connect{token: "expired"}, codeNotAuthorized, 5},
		"a revoked token":                          {connect{token: "revoked"}, codeNotAuthorized, 5},
		"a token while the key set is unavailable": {connect{token: "unknown"}, codeUnavailable, 3},
		"the token as authentication data":         {connect{props: data("7")}, 0, 255},
		"a bad token as authentication data":       {connect{props: data("bad"), token: "7"}, codeBadToken, 255},
		"the method named, the token as password":  {connect{props: method, token: "7"}, 0, 255},
		"another method":                           {connect{props: append([]byte{propAuthMethod}, appendText(nil, "SCRAM")...), token: "7"}, codeBadAuthMethod, 255},
		"authentication data without a method":     {connect{props: append([]byte{propAuthData}, appendText(nil, "7")...)}, codeProtocolError, 255},
		"Receive Maximum 0":                        {connect{token: "7", props: []byte{0x21, 0, 0}}, codeProtocolError, 255},
		"Maximum Packet Size 0":                    {connect{token: "7", props: []byte{0x27, 0, 0, 0, 0}}, codeProtocolError, 255},
		"a client id of 256 bytes":                 {connect{token: "7", id: strings.Repeat("x", 256)}, 0, 0},
		"a client id of 257 bytes":                 {connect{token: "7", id: strings.Repeat("x", 257)}, codeClientID, 2},
		"no client id and a clean session":         {connect{token: "7", id: "-", clean: true}, 0, 0},
		"no client id and a persistent session":    {connect{token: "7", id: "-"}, 0, 2},
		"a will of QoS 2, over the Maximum QoS":    {connect{token: "7", will: []byte{0, 0, 1, 't', 0, 0}, willFlags: 0x10}, codeQoSNotSupported, 255},
		"a will without a payload":                 {connect{token: "7", will: []byte{0, 0, 1, 't', 0, 0}}, 0, 255},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, Options{})
			for at, code := range map[endpoint]byte{{"tcp", 5}: tt.v5, {"ws", 5}: tt.v5, {"tcp", 4}: tt.v4, {"ws", 4}: tt.v4} {
				if code == 255 {
					continue
				}
				ask := tt.ask
				switch ask.id {
				case "":
					ask.id = "device"
				case "-":
					ask.id = ""
				}
				d := w.dial(at)
				d.send(ask.packet(at.version))
				p := d.expectConnack(code)
				if code == 0 {
					d.alive()
					continue
				}
				if at.version == 5 && code < 0x90 && code > codeProtocolError && !bytes.Contains(p, []byte{propReason}) {
					t.Errorf("CONNACK % X gives no reason", p)
				}
				d.expectEnd(0)
			}
		})
	}
}

func TestUnsupportedVersions(t *testing.T) {
	for name, tt := range map[string]struct{ send, want string }{
		"MQTT 3.1":                  {"10 'MQIsdp' 03 02 0000 'a'", "20 02 00 01"},
		"a mosquitto bridge, 3.1.1": {"10 'MQTT' 84 02 0000 'a'", "20 02 00 01"},
		"a mosquitto bridge, 3.1":   {"10 'MQIsdp' 83 02 0000 'a'", "20 02 00 01"},
		"MQTT 2":                    {"10 'MQTT' 02 02 0000 'a'", "20 03 00 84 00"},
		"MQTT 6":                    {"10 'MQTT' 06 02 0000 00 'a'", "20 03 00 84 00"},
		"not MQTT":                  {"10 'AMQP' 05 02 0000 00 'a'", ""},
	} {
		t.Run(name, func(t *testing.T) {
			d := newWorld(t, Options{}).dial(endpoint{"tcp", 4})
			d.send(packetOf(t, tt.send))
			if tt.want != "" {
				d.expect(tt.want)
			}
			d.expectEnd(0)
		})
	}
}

// 3.1.1 has no CONNACK for a malformed CONNECT ([MQTT-3.1.4-1]).
func TestMalformedConnect(t *testing.T) {
	for name, tt := range map[string]struct {
		v5, v4 string
		code   byte
	}{
		"the reserved flag":             {"10 'MQTT' 05 03 0000 00 'a'", "10 'MQTT' 04 03 0000 'a'", codeMalformed},
		"a will's QoS without a will":   {"10 'MQTT' 05 0A 0000 00 'a'", "10 'MQTT' 04 0A 0000 'a'", codeMalformed},
		"a will of QoS 3":               {"10 'MQTT' 05 1E 0000 00 'a' 00 't' 'p'", "10 'MQTT' 04 1E 0000 'a' 't' 'p'", codeMalformed},
		"a will to a wildcard":          {"10 'MQTT' 05 06 0000 00 'a' 00 '#' 'p'", "10 'MQTT' 04 06 0000 'a' '#' 'p'", codeMalformed},
		"bytes after its end":           {"10 'MQTT' 05 02 0000 00 'a' 00", "10 'MQTT' 04 02 0000 'a' 00", codeMalformed},
		"a username flag and no name":   {"10 'MQTT' 05 82 0000 00 'a'", "10 'MQTT' 04 82 0000 'a'", codeMalformed},
		"a client id with a NUL":        {"10 'MQTT' 05 02 0000 00 0001 00", "10 'MQTT' 04 02 0000 0001 00", codeClientID},
		"no client id":                  {"10 'MQTT' 05 02 0000 00", "10 'MQTT' 04 02 0000", codeMalformed},
		"a password without a username": {"", "10 'MQTT' 04 42 0000 'a' '7'", 0},
		"a property twice":              {"10 'MQTT' 05 02 0000 06 210001 210001 'a'", "", codeProtocolError},
		"a property of PUBLISH":         {"10 'MQTT' 05 02 0000 02 0101 'a'", "", codeProtocolError},
		"flags in the first byte":       {"11 'MQTT' 05 02 0000 00 'a'", "14 'MQTT' 04 02 0000 'a'", codeMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, Options{})
			for _, transport := range []string{"tcp", "ws"} {
				if tt.v5 != "" {
					d := w.dial(endpoint{transport, 5})
					d.send(packetOf(t, tt.v5))
					d.expect(fmt.Sprintf("20 03 00 %X 00", tt.code))
					d.expectEnd(0)
				}
				if tt.v4 != "" {
					d := w.dial(endpoint{transport, 4})
					d.send(packetOf(t, tt.v4))
					d.expectEnd(0)
				}
			}
		})
	}
}

func TestConnackProperties(t *testing.T) {
	w := newWorld(t, Options{SessionTTL: time.Hour, MaxPacketSize: 4096})
	for name, tt := range map[string]struct {
		ask  connect
		want string
	}{
		"what every CONNACK has": {connect{token: "7", id: "a", keepAlive: 60}, "20 0D 00 00 0A 21 00 10 24 01 27 00 00 10 00"},
		"a session expiry that is reduced": {connect{token: "7", id: "b", keepAlive: 60, props: []byte{0x11, 255, 255, 255, 255}},
			"20 12 00 00 0F 11 00 00 0E 10 21 .."},
		"a session expiry that is accepted": {connect{token: "7", id: "c", keepAlive: 60, props: []byte{0x11, 0, 0, 14, 16}}, "20 0D 00 00 0A 21 .."},
		"a keep alive that is reduced":      {connect{token: "7", id: "d", keepAlive: 1201}, "20 10 00 00 0D 13 04 B0 21 .."},
		"no keep alive":                     {connect{token: "7", id: "e"}, "20 10 00 00 0D 13 04 B0 21 .."},
		"the authentication method":         {connect{token: "7", id: "f", keepAlive: 60, props: []byte{0x15, 0, 3, 'j', 'w', 't'}}, "20 13 00 00 10 15 00 03 6A 77 74 21 .."},
		"an assigned client id":             {connect{token: "7", clean: true, keepAlive: 60}, "20 2F 00 00 2C 12 00 1F 61 75 74 6F 2D .."},
	} {
		d := w.dial(endpoint{"tcp", 5})
		d.send(tt.ask.packet(5))
		t.Log(name)
		d.expect(tt.want)
		d.alive()
	}
	d := w.dial(endpoint{"tcp", 5}) // properties that do not fit are left out, and a CONNACK that never fits is not sent
	d.send(connect{token: "bad", id: "a", props: []byte{0x27, 0, 0, 0, 8}}.packet(5))
	d.expect("20 03 00 86 00")
	d.expectEnd(0)
	d = w.dial(endpoint{"tcp", 5})
	d.send(connect{token: "7", id: "a", props: []byte{0x27, 0, 0, 0, 4}}.packet(5))
	d.expectEnd(0)
}

func TestSessions(t *testing.T) {
	w := newWorld(t, Options{})
	keep := func(id string, version byte) connect {
		c := connect{id: id, token: "7"}
		if version == 5 {
			c.props = []byte{0x11, 0, 0, 1, 0}
		}
		return c
	}
	everyone := []endpoint{{"tcp", 4}, {"tcp", 5}, {"ws", 4}, {"ws", 5}}
	for _, at := range everyone {
		id := fmt.Sprint(at)
		present := func(c connect, want byte) *device {
			t.Helper()
			d := w.dial(at)
			d.send(c.packet(at.version))
			if p := d.expectConnack(0); p[2] != want {
				t.Errorf("%v: session present %d, want %d", at, p[2], want)
			}
			return d
		}
		leave := func(d *device, b ...byte) {
			d.send(append([]byte{0xE0, byte(len(b))}, b...))
			d.expectEnd(0)
		}
		d := present(keep(id, at.version), 0)
		d.send(subscribe(at.version, 1, 1, nil, topic7))
		d.expect("90 ..")
		for range w.log.rows["7"] { // the retained copy, if there is one
			d.ack(d.expectMessage())
			break
		}
		leave(d)
		w.notify("7", "while offline")
		d = present(keep(id, at.version), 1)
		d.ack(d.expectMessage())
		clean := keep(id, at.version)
		clean.clean = true
		leave(d)
		d = present(clean, 0) // discards the session
		if at.version == 5 {
			leave(d, 0, 5, 0x11, 0, 0, 0, 0) // so does an expiry of 0 in the DISCONNECT
			present(keep(id, at.version), 0)
		}
	}
}

func TestAuthRenewsInPlace(t *testing.T) {
	auth := func(reason byte, method, tok string) []byte {
		props := append([]byte{propAuthMethod}, appendText(nil, method)...)
		props = append(append(props, propAuthData), appendText(nil, tok)...)
		return packet(0xF0, append([]byte{reason, byte(len(props))}, props...))
	}
	for name, tt := range map[string]struct {
		send []byte
		code byte // of the DISCONNECT; 0: the token is renewed
	}{
		"with a token of the same user":               {auth(codeReauthenticate, "jwt", "7"), 0},
		"with a token of another user":                {auth(codeReauthenticate, "jwt", "8"), codeNotAuthorized},
		"with a bad token":                            {auth(codeReauthenticate, "jwt", "bad"), codeNotAuthorized},
		"with an expired token":                       {auth(codeReauthenticate, "jwt", "expired"), codeNotAuthorized},
		"with nothing":                                {auth(codeReauthenticate, "jwt", ""), codeNotAuthorized},
		"while the key set is unavailable":            {auth(codeReauthenticate, "jwt", "unknown"), codeBusy},
		"with another method":                         {auth(codeReauthenticate, "SCRAM", "7"), codeBadAuthMethod},
		"as a continuation":                           {auth(codeContinue, "jwt", "7"), codeProtocolError},
		"as a success":                                {auth(codeSuccess, "jwt", "7"), codeProtocolError},
		"without anything":                            {[]byte{0xF0, 0}, codeProtocolError},
		"without a method":                            {[]byte{0xF0, 2, codeReauthenticate, 0}, codeProtocolError},
		"with bytes after the end":                    {packet(0xF0, append(auth(codeReauthenticate, "jwt", "7")[2:], 0)), codeMalformed},
		"with less scope than the subscriptions need": {auth(codeReauthenticate, "jwt", "7"), codeNotAuthorized},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, Options{})
			for _, transport := range []string{"tcp", "ws"} {
				d := w.dial(endpoint{transport, 5})
				d.send(connect{id: "a", clean: true, props: append([]byte{propAuthMethod, 0, 3}, "jwt\x16\x00\x07"+"7/admin"...)}.packet(5))
				d.expectConnack(0)
				if strings.Contains(name, "scope") {
					d.subscribe(1, []byte{1}, "users/8/reports/status")
					d.send(tt.send)
					d.expectEndAfter("F0 08 00 06 15 00 03 6A 77 74", tt.code) // the end may overtake the AUTH
					continue
				}
				d.send(tt.send)
				if tt.code == 0 {
					d.expect("F0 08 00 06 15 00 03 6A 77 74")
					d.alive()
				} else {
					d.expectEnd(tt.code)
				}
			}
		})
	}
}

func TestRenewalOutlivesTheFirstToken(t *testing.T) {
	w := newWorldHub(t, Options{}, delivery.Options{AckWait: 100 * time.Millisecond})
	d := w.dial(endpoint{"tcp", 5})
	d.send(connect{id: "a", clean: true, props: append([]byte{propAuthMethod, 0, 3}, "jwt\x16\x00\x05brief"...)}.packet(5))
	d.expectConnack(0)
	d.send(append([]byte{0xF0, 12, codeReauthenticate, 10, propAuthMethod, 0, 3}, "jwt\x16\x00\x017"...))
	d.expect("F0 08 00 ..")
	if p, err := d.next(700 * time.Millisecond); err == nil {
		t.Fatalf("got % X after the first token expired", p)
	}
	d.alive()
}
