package broker

import "github.com/mochi-mqtt/server/v2/packets"

// Faults of a CONNECT with a reason code of their own.
var (
	errProtocolName = &fault{codeProtocolError, "the protocol is not MQTT"}
	errClientID     = &fault{codeClientID, "the client id is not valid UTF-8"}
	errVersion      = &fault{codeVersion, "the protocol version is neither 3.1.1 nor 5"}
)

// versionOf returns the protocol level of p, a CONNECT that may be incomplete, or 0 if the
// level is not there yet or p is not MQTT.
func versionOf(p []byte) byte {
	if len(p) < 2 {
		return 0
	}
	s := scan{b: p[1:]}
	s.varint()
	name := s.binary()
	level := s.u8()
	if s.err != nil || string(name) != "MQTT" && string(name) != "MQIsdp" {
		return 0
	}
	return level
}

// checkConnect is strict for the first packet, which must be a CONNECT.
func checkConnect(p []byte) error {
	if p[0] != packets.Connect<<4 {
		return errMalformed
	}
	s := scan{b: p[1:]}
	s.varint()
	name, version := s.binary(), s.u8()
	switch {
	case s.err != nil:
		return s.err
	case string(name) != "MQTT" && string(name) != "MQIsdp":
		return errProtocolName
	case string(name) != "MQTT" || version != 4 && version != 5:
		return errVersion
	}
	flags := s.u8()
	var (
		hasWill     = flags&4 != 0
		willQoS     = flags >> 3 & 3
		hasPassword = flags&0x40 != 0
		hasUser     = flags&0x80 != 0
	)
	switch {
	case flags&1 != 0, !hasWill && flags&0x38 != 0, willQoS == 3: // [MQTT-3.1.2-3] [-11] [-12] [-13]
		return errMalformed
	case version == 4 && hasPassword && !hasUser: // 3.1.1 [MQTT-3.1.2-22]
		return errMalformed
	}
	s.u16() // keep alive
	if version == 5 {
		seen := s.properties(packets.Connect)
		if seen&(1<<propAuthData) != 0 && seen&(1<<propAuthMethod) == 0 { // §3.1.2.11.10
			s.fail(errNoMethod)
		}
	}
	if id := s.binary(); !cleanText(id) { // [MQTT-3.1.3-4] §3.1.3.1
		s.fail(errClientID)
	}
	if hasWill {
		if version == 5 {
			s.properties(willProperties)
		}
		if !validTopic(s.text()) {
			s.fail(errMalformed)
		}
		s.binary()
	}
	if hasUser {
		s.text()
	}
	if hasPassword {
		s.binary()
	}
	s.end()
	if s.err == nil && version == 5 && willQoS == 2 { // [MQTT-3.2.2-12]
		s.fail(errQoS)
	}
	return s.result()
}
