package bench

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// Packet types of MQTT 5 §2.1.2, in the high half of the first byte.
const (
	typeConnack    = 0x20
	typePublish    = 0x30
	typePuback     = 0x40
	typeSuback     = 0x90
	typePingresp   = 0xD0
	typeDisconnect = 0xE0
)

var (
	pingreq    = []byte{0xC0, 0}
	disconnect = []byte{0xE0, 0}
)

// login is what a CONNECT of MQTT 5 says.
type login struct {
	id, token string
	resume    bool   // clean start 0
	expiry    uint32 // seconds the session outlives the connection
	keepAlive uint16 // seconds
}

func appendString(b []byte, s string) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(s)))
	return append(b, s...)
}

// appendPacket appends a packet of that first byte and that body.
func appendPacket(b []byte, first byte, body []byte) []byte {
	b = append(b, first)
	n := len(body)
	for ; n >= 0x80; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(append(b, byte(n)), body...)
}

func appendConnect(b []byte, l login) []byte {
	flags := byte(0x40) // password
	if !l.resume {
		flags |= 0x02
	}
	body := append(appendString(nil, "MQTT"), 5, flags)
	body = binary.BigEndian.AppendUint16(body, l.keepAlive)
	body = append(body, 5, 0x11)
	body = binary.BigEndian.AppendUint32(body, l.expiry)
	body = appendString(appendString(body, l.id), l.token)
	return appendPacket(b, 0x10, body)
}

// appendSubscribe asks for QoS 1 and no retained message.
func appendSubscribe(b []byte, topic string) []byte {
	body := appendString([]byte{0, 1, 0}, topic)
	return appendPacket(b, 0x82, append(body, 1|2<<4))
}

func appendPublish(b []byte, topic string, id uint16, payload []byte) []byte {
	body := appendString(nil, topic)
	body = append(binary.BigEndian.AppendUint16(body, id), 0)
	return appendPacket(b, typePublish|2, append(body, payload...))
}

func appendPuback(b []byte, id uint16) []byte { return append(b, typePuback, 2, byte(id>>8), byte(id)) }

// packetLen is the length of the first packet in b, or 0 where it is not whole.
func packetLen(b []byte) int {
	n := 0
	for i := 1; i < len(b) && i < 5; i++ {
		n |= int(b[i]&0x7F) << (7 * (i - 1))
		if b[i]&0x80 == 0 {
			if n += 1 + i; n > len(b) {
				return 0
			}
			return n
		}
	}
	return 0
}

var errPacket = errors.New("the server sent a packet that is malformed")

// IsForeign reports whether err says that the server spoke something other than MQTT.
func IsForeign(err error) bool { return errors.Is(err, errPacket) || errors.Is(err, errFrame) }

// bodyOf is a packet without its fixed header.
func bodyOf(p []byte) []byte {
	i := 1
	for p[i]&0x80 != 0 {
		i++
	}
	return p[i+1:]
}

// message is a received PUBLISH.
type message struct {
	id      uint16 // 0 with QoS 0
	retain  bool
	payload []byte
}

func publishOf(p []byte) (m message, err error) {
	b := bodyOf(p)
	if len(b) < 2 {
		return m, errPacket
	}
	topic := 2 + int(binary.BigEndian.Uint16(b))
	m.retain = p[0]&1 != 0
	if p[0]&6 != 0 {
		if len(b) < topic+2 {
			return m, errPacket
		}
		m.id = binary.BigEndian.Uint16(b[topic:])
		topic += 2
	}
	if len(b) <= topic {
		return m, errPacket
	}
	props, n := 0, 0
	for b = b[topic:]; ; n++ {
		if n >= len(b) {
			return m, errPacket
		}
		props |= int(b[n]&0x7F) << (7 * n)
		if b[n]&0x80 == 0 {
			break
		}
	}
	if len(b) < n+1+props {
		return m, errPacket
	}
	m.payload = b[n+1+props:]
	return m, nil
}

// refusal is a reason code of CONNACK, SUBACK or DISCONNECT.
type refusal struct {
	packet string
	code   byte
	reason string // the server's, "" where it gave none
}

func (r refusal) Error() string {
	text := fmt.Sprintf("the server answered %s 0x%02X", r.packet, r.code)
	if r.reason != "" {
		text += ", " + r.reason
	}
	return text
}

// limit is what refused the login, in the server's words where it gave them.
func (r refusal) limit() string {
	return strings.TrimSuffix(fmt.Sprintf("0x%02X %s", r.code, r.reason), " ")
}

// reasonOf is the reason string of a CONNACK's body, where that is its first property
// (MQTT 5 §3.2.2.3.9), as it is in a refusal of this server.
func reasonOf(connack []byte) string {
	if len(connack) < 6 || connack[2] >= 0x80 || connack[3] != 0x1F {
		return ""
	}
	n := int(binary.BigEndian.Uint16(connack[4:]))
	return string(connack[6:min(6+n, len(connack))])
}

// Reason codes after which trying again may help (MQTT 5 §3.2.2.2).
const (
	codeBusy           = 0x89
	codeUnavailable    = 0x88
	codeConnectionRate = 0x9F
)

// passing reports whether err may be gone in a moment.
func passing(err error) bool {
	var r refusal
	return errors.As(err, &r) && (r.code == codeBusy || r.code == codeUnavailable || r.code == codeConnectionRate)
}
