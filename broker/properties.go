package broker

import "github.com/mochi-mqtt/server/v2/packets"

// Property identifiers of MQTT 5 §2.2.2.2 that are used by name.
const (
	propPayloadFormat = 0x01
	propMessageExpiry = 0x02
	propContentType   = 0x03
	propResponseTopic = 0x08
	propSubID         = 0x0B
	propAuthMethod    = 0x15
	propAuthData      = 0x16
	propProblemInfo   = 0x17
	propResponseInfo  = 0x19
	propReason        = 0x1F
	propReceiveMax    = 0x21
	propTopicAlias    = 0x23
	propUser          = 0x26
	propMaxPacket     = 0x27
)

// form is the data type of a property (MQTT 5 §2.2.2.2).
type form uint8

const (
	formNone form = iota // no such property
	formByte
	formTwo
	formFour
	formVarint
	formText
	formBinary
	formPair
)

// willProperties stands for the will properties of a CONNECT among the packet types.
const willProperties = 0

// property is the data type of a property, and the packets in which a device may send it,
// as a bit set of packet types.
type property struct {
	form      form
	allowedIn uint32
}

var properties = [0x2B]property{
	0x01: {formByte, packetSet(packets.Publish, willProperties)},
	0x02: {formFour, packetSet(packets.Publish, willProperties)},
	0x03: {formText, packetSet(packets.Publish, willProperties)},
	0x08: {formText, packetSet(packets.Publish, willProperties)},
	0x09: {formBinary, packetSet(packets.Publish, willProperties)},
	0x0B: {formVarint, packetSet(packets.Subscribe)}, // in a PUBLISH from the server only (§3.3.4)
	0x11: {formFour, packetSet(packets.Connect, packets.Disconnect)},
	0x12: {formText, 0},
	0x13: {formTwo, 0},
	0x15: {formText, packetSet(packets.Connect, packets.Auth)},
	0x16: {formBinary, packetSet(packets.Connect, packets.Auth)},
	0x17: {formByte, packetSet(packets.Connect)},
	0x18: {formFour, packetSet(willProperties)},
	0x19: {formByte, packetSet(packets.Connect)},
	0x1A: {formText, 0},
	0x1C: {formText, packetSet(packets.Disconnect)},
	0x1F: {formText, packetSet(packets.Puback, packets.Pubrec, packets.Pubrel, packets.Pubcomp, packets.Disconnect, packets.Auth)},
	0x21: {formTwo, packetSet(packets.Connect)},
	0x22: {formTwo, packetSet(packets.Connect)},
	0x23: {formTwo, packetSet(packets.Publish)},
	0x24: {formByte, 0},
	0x25: {formByte, 0},
	0x26: {formPair, ^uint32(0)},
	0x27: {formFour, packetSet(packets.Connect)},
	0x28: {formByte, 0},
	0x29: {formByte, 0},
	0x2A: {formByte, 0},
}

// packetSet returns the bit set of packet types.
func packetSet(types ...byte) uint32 {
	var bits uint32
	for _, t := range types {
		bits |= 1 << t
	}
	return bits
}

var (
	errProperty  = &fault{codeProtocolError, "a property is not allowed there"}
	errDuplicate = &fault{codeProtocolError, "a property appears twice"}
	errValue     = &fault{codeProtocolError, "a property has a value that is not allowed"}
	errAlias     = &fault{codeTopicAlias, "topic aliases are not offered"}
	errNoMethod  = &fault{codeProtocolError, "authentication data without a method"}
	errQoS       = &fault{codeQoSNotSupported, "QoS 2 is not offered"}
)

// properties reads the property block of a packet of type packet, and returns the set of
// identifiers in it, as bits. Properties that cannot be read or are unknown make the packet
// malformed. A property that is not allowed in the packet is a protocol error (MQTT 5
// §2.2.2.2, §4.13.1); but a SUBSCRIBE or UNSUBSCRIBE with one counts as malformed.
func (s *scan) properties(packet byte) (seen uint64) {
	p := scan{b: s.read(s.varint())}
	for len(p.b) > 0 && s.err == nil {
		id := p.varint()
		if id >= len(properties) || properties[id].form == formNone {
			p.fail(errMalformed)
		}
		if p.err == nil {
			p.property(id, packet)
		}
		if p.err == nil && seen&(1<<id) != 0 && id != propUser {
			p.fail(errDuplicate)
		}
		seen |= 1 << (id & 63)
		if p.err != nil {
			s.fail(p.err)
		}
	}
	return seen
}

// property reads the value of one property and checks it.
func (s *scan) property(id int, packet byte) {
	n := -1
	var text []byte
	switch properties[id].form {
	case formByte:
		n = int(s.u8())
	case formTwo:
		n = s.u16()
	case formFour:
		n = int(s.u32())
	case formVarint:
		n = s.varint()
	case formText:
		text = s.text()
	case formBinary:
		s.binary()
	case formPair:
		s.text()
		s.text()
	}
	if s.err != nil {
		return
	}
	request := packet == packets.Subscribe || packet == packets.Unsubscribe
	switch {
	case properties[id].allowedIn&(1<<packet) != 0:
	case request:
		s.fail(errMalformed)
	default:
		s.fail(errProperty)
	}
	switch id {
	case propPayloadFormat, propProblemInfo, propResponseInfo:
		if n > 1 {
			s.fail(errValue)
		}
	case propSubID:
		if n == 0 {
			s.fail(errMalformed)
		}
	case propReceiveMax, propMaxPacket:
		if n == 0 {
			s.fail(errValue)
		}
	case propResponseTopic:
		if !validTopic(text) {
			s.fail(errValue)
		}
	}
}
