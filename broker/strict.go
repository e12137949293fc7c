package broker

import (
	"bytes"

	"github.com/mochi-mqtt/server/v2/packets"
)

// strict checks a complete packet of an MQTT 3.1.1 or 5 device before mochi decodes it.
// mochi reads past the end of some malformed packets, panics on others, and accepts most of
// what the standards forbid. A packet that strict accepts is decoded by mochi without an
// error; FuzzStrict checks that.
//
// The error is a [*fault] with the reason code that the standard asks for. Between 0x81 and
// 0x82 we follow mosquitto's test suite; docs/conformance.md lists where the standard
// differs.
//
// filters is the number of topic filters of a SUBSCRIBE or UNSUBSCRIBE.
func strict(version byte, p []byte) (filters int, err error) {
	kind, flags := p[0]>>4, p[0]&0x0F
	s := scan{b: p[1:]}
	s.varint() // the remaining length, which packetLen has checked
	switch kind {
	case packets.Publish:
		checkPublish(&s, version, flags)
		return 0, s.result()
	case packets.Connect:
		return 0, errSecondConnect
	case packets.Connack, packets.Reserved:
		return 0, errServerPacket
	case packets.Suback, packets.Unsuback, packets.Pingresp:
		if flags == 0 {
			return 0, errServerPacket
		}
	case packets.Pubrel, packets.Subscribe, packets.Unsubscribe:
		flags ^= 2
	}
	if flags != 0 {
		return 0, errMalformed
	}
	switch kind {
	case packets.Puback, packets.Pubrec, packets.Pubrel, packets.Pubcomp:
		checkAck(&s, version, kind)
	case packets.Subscribe:
		checkSubscribe(&s, version)
	case packets.Unsubscribe:
		checkUnsubscribe(&s, version)
	case packets.Pingreq:
		s.end()
	case packets.Disconnect:
		checkDisconnect(&s, version)
	case packets.Auth:
		checkAuth(&s, version)
	}
	return s.filters, s.result()
}

var (
	errSecondConnect = &fault{codeProtocolError, "a second CONNECT"}
	errServerPacket  = &fault{codeProtocolError, "a packet that only a server sends"}
	errReasonCode    = &fault{codeProtocolError, "a reason code that is not allowed there"}
)

func checkPublish(s *scan, version, flags byte) {
	qos := flags >> 1 & 3
	if qos == 3 || qos == 0 && flags&8 != 0 { // [MQTT-3.3.1-4] [MQTT-3.3.1-2]
		s.fail(errMalformed)
		return
	}
	topic := s.text()
	if bytes.ContainsAny(topic, "+#") || len(topic) == 0 && version != 5 {
		s.fail(errMalformed)
	}
	if qos > 0 {
		s.packetID()
	}
	if version == 5 {
		if s.properties(packets.Publish)&(1<<propTopicAlias) != 0 {
			s.fail(errAlias) // the CONNACK offered none (§3.2.2.3.8)
		}
		if len(topic) == 0 { // §3.3.2.3.4
			s.fail(errMalformed)
		}
		if qos == 2 {
			s.fail(errQoS) // §3.2.2.3.4: the CONNACK had Maximum QoS 1
		}
	}
}

// packetID reads a packet id, which must not be 0 ([MQTT-2.2.1-3]). The standard names no
// reason code for that. packetID and requestID use those of mosquitto.
func (s *scan) packetID() {
	if s.u16() == 0 {
		s.fail(&fault{codeProtocolError, "the packet id is 0"})
	}
}

// requestID is like packetID, but 0 is malformed (0x81). It is for SUBSCRIBE and UNSUBSCRIBE.
func (s *scan) requestID() {
	if s.u16() == 0 {
		s.fail(errMalformed)
	}
}

func checkAck(s *scan, version, kind byte) {
	s.packetID()
	if version == 5 && len(s.b) > 0 {
		s.reason(ackReasons[kind])
		if len(s.b) > 0 {
			s.properties(kind)
		}
	}
	s.end()
}

var (
	receiptReasons = []byte{0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99}
	releaseReasons = []byte{0x00, 0x92}
	ackReasons     = map[byte][]byte{packets.Puback: receiptReasons, packets.Pubrec: receiptReasons,
		packets.Pubrel: releaseReasons, packets.Pubcomp: releaseReasons}
	authReasons = []byte{codeContinue, codeReauthenticate}
)

// reason reads a reason code, which must be one of allowed.
func (s *scan) reason(allowed []byte) {
	if c := s.u8(); bytes.IndexByte(allowed, c) < 0 {
		s.fail(errReasonCode)
	}
}

func checkSubscribe(s *scan, version byte) {
	s.requestID()
	if version == 5 {
		s.properties(packets.Subscribe)
	}
	if s.err == nil && len(s.b) == 0 { // [MQTT-3.8.3-2]
		s.fail(errMalformed)
	}
	for len(s.b) > 0 {
		filter, options := s.filter(), s.u8()
		switch {
		case version != 5 && options > 2, options&0xC0 != 0: // [MQTT-3-8.3-4] [MQTT-3.8.3-5]
			s.fail(errMalformed)
		case options&3 == 3, options&0x30 == 0x30: // §3.8.3.1
			s.fail(errMalformed)
		case version == 5 && bytes.HasPrefix(filter, []byte("$share/")):
			if options&4 != 0 || !validShare(filter) { // [MQTT-3.8.3-4] [MQTT-4.8.2-1] [MQTT-4.8.2-2]
				s.fail(&fault{codeProtocolError, "a malformed shared subscription"})
			}
		}
	}
}

// validShare reports whether f, which begins with $share/, is $share/name/filter.
func validShare(f []byte) bool {
	name, rest, found := bytes.Cut(f[len("$share/"):], []byte{'/'})
	return found && validTopic(name) && len(rest) > 0
}

// filter reads a topic filter and counts it.
func (s *scan) filter() []byte {
	s.filters++
	f := s.text()
	if !validFilter(f) {
		s.fail(errMalformed)
	}
	return f
}

func checkUnsubscribe(s *scan, version byte) {
	s.requestID()
	if version == 5 {
		s.properties(packets.Unsubscribe)
	}
	if s.err == nil && len(s.b) == 0 { // [MQTT-3.10.3-2]
		s.fail(errMalformed)
	}
	for len(s.b) > 0 {
		s.filter()
	}
}

func checkDisconnect(s *scan, version byte) {
	if version == 5 && len(s.b) > 0 {
		s.u8() // any reason code: the device leaves either way
		if len(s.b) > 0 {
			s.properties(packets.Disconnect)
		}
	}
	s.end()
}

func checkAuth(s *scan, version byte) {
	if version != 5 { // a reserved packet type
		s.fail(errMalformed)
		return
	}
	if len(s.b) == 0 { // §3.15.2.1: stands for Success, which only a server sends
		s.fail(errReasonCode)
		return
	}
	s.reason(authReasons)
	if s.properties(packets.Auth)&(1<<propAuthMethod) == 0 { // §3.15.2.2.2
		s.fail(errProperty)
	}
	s.end()
}

// validTopic reports whether b may be a topic name: not empty, and without wildcards.
func validTopic(b []byte) bool { return len(b) > 0 && !bytes.ContainsAny(b, "+#") }
