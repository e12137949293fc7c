// Package mqttwire encodes and decodes the few MQTT packets that a load generator and
// the tests write themselves. A client library would hide what they are about: the
// exact bytes, who acknowledges what and when, and the cost of one device.
//
// The server does not use it. Its packets are decoded by the broker's engine, and a
// test that shares a decoder with what it tests proves nothing.
package mqttwire

import (
	"encoding/binary"
	"errors"
	"io"
)

// Packet types, in the high half of the first byte (MQTT 5 §2.1.2).
const (
	Connect     = 0x10
	Connack     = 0x20
	Publish     = 0x30
	Puback      = 0x40
	Subscribe   = 0x80
	Suback      = 0x90
	Unsubscribe = 0xA0
	Unsuback    = 0xB0
	Pingreq     = 0xC0
	Pingresp    = 0xD0
	Disconnect  = 0xE0
)

// ErrMalformed is the error of a packet that ends before its fields do, or whose
// length has more than four bytes.
var ErrMalformed = errors.New("malformed MQTT packet")

// AppendVarint appends n as a Variable Byte Integer (§1.5.5). It does not check that n
// is at most 268,435,455.
func AppendVarint(b []byte, n int) []byte {
	for ; n >= 0x80; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(b, byte(n))
}

// Varint returns the Variable Byte Integer b begins with and how many bytes it takes.
// The size is 0 where b ends too early, and -1 where the integer has more than four
// bytes.
func Varint(b []byte) (n, size int) {
	for i, c := range b {
		if i == 4 {
			return 0, -1
		}
		n |= int(c&0x7F) << (7 * i)
		if c&0x80 == 0 {
			return n, i + 1
		}
	}
	if len(b) >= 4 {
		return 0, -1
	}
	return 0, 0
}

// AppendString appends s with its length in two bytes before it, as MQTT writes text
// and binary data (§1.5.4, §1.5.6).
func AppendString(b []byte, s string) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(s)))
	return append(b, s...)
}

// AppendPacket appends the packet with that first byte and that body.
func AppendPacket(b []byte, first byte, body []byte) []byte {
	return append(AppendVarint(append(b, first), len(body)), body...)
}

// PacketLen returns the length of the first packet in b, or 0 where b does not hold
// all of it yet.
func PacketLen(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	n, size := Varint(b[1:])
	if size <= 0 || 1+size+n > len(b) {
		return 0
	}
	return 1 + size + n
}

// Body returns a whole packet without its fixed header.
func Body(p []byte) []byte {
	_, size := Varint(p[1:])
	return p[1+size:]
}

// ReadPacket reads one packet, and no byte more. It allocates what the length promises
// and is not for input that is not trusted.
func ReadPacket(r io.Reader) ([]byte, error) {
	p := make([]byte, 1, 64)
	if _, err := io.ReadFull(r, p); err != nil {
		return nil, err
	}
	for {
		p = append(p, 0)
		if _, err := io.ReadFull(r, p[len(p)-1:]); err != nil {
			return nil, unexpected(err)
		}
		n, size := Varint(p[1:])
		switch {
		case size < 0:
			return nil, ErrMalformed
		case size > 0:
			p = append(p, make([]byte, n)...)
			_, err := io.ReadFull(r, p[1+size:])
			return p, unexpected(err)
		}
	}
}

// unexpected makes the end of the input within a packet an error of its own.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Login is a CONNECT of MQTT 5 with a password and no user name.
type Login struct {
	ClientID  string
	Token     string // the password
	Resume    bool   // clean start 0
	Expiry    uint32 // seconds the session outlives the connection
	KeepAlive uint16 // seconds; 0: none
}

// AppendConnect appends l.
func AppendConnect(b []byte, l Login) []byte {
	flags := byte(0x40) // password
	if !l.Resume {
		flags |= 0x02
	}
	body := append(AppendString(nil, "MQTT"), 5, flags)
	body = binary.BigEndian.AppendUint16(body, l.KeepAlive)
	body = append(body, 5, 0x11) // properties: Session Expiry Interval
	body = binary.BigEndian.AppendUint32(body, l.Expiry)
	return AppendPacket(b, Connect, AppendString(AppendString(body, l.ClientID), l.Token))
}

// AppendSubscribe appends a SUBSCRIBE of MQTT 5 to filter at QoS 1, without the retained
// message, with packet identifier 1.
func AppendSubscribe(b []byte, filter string) []byte {
	body := AppendString([]byte{0, 1, 0}, filter)
	return AppendPacket(b, Subscribe|2, append(body, 1|2<<4))
}

// AppendPublish appends a PUBLISH of MQTT 5 at QoS 1 without properties.
func AppendPublish(b []byte, topic string, id uint16, payload []byte) []byte {
	body := AppendString(nil, topic)
	body = append(binary.BigEndian.AppendUint16(body, id), 0)
	return AppendPacket(b, Publish|2, append(body, payload...))
}

// AppendPuback appends the PUBACK of id, which says success.
func AppendPuback(b []byte, id uint16) []byte {
	return append(b, Puback, 2, byte(id>>8), byte(id))
}

// Message is what a PUBLISH holds.
type Message struct {
	ID     uint16 // packet identifier; 0 with QoS 0
	Retain bool

	// Parts of the packet, not copies. Properties are without their length, and empty in
	// MQTT 3.1.1.
	Topic, Properties, Payload []byte
}

// ParsePublish decodes a whole PUBLISH of MQTT 5 (version 5) or 3.1.1 (version 4).
func ParsePublish(p []byte, version byte) (m Message, err error) {
	b := Body(p)
	if len(b) < 2 {
		return m, ErrMalformed
	}
	end := 2 + int(binary.BigEndian.Uint16(b))
	if len(b) < end {
		return m, ErrMalformed
	}
	m.Topic, m.Retain = b[2:end], p[0]&1 != 0
	b = b[end:]
	if p[0]&6 != 0 {
		if len(b) < 2 {
			return m, ErrMalformed
		}
		m.ID, b = binary.BigEndian.Uint16(b), b[2:]
	}
	if version < 5 {
		m.Payload = b
		return m, nil
	}
	n, size := Varint(b)
	if size <= 0 || len(b) < size+n {
		return m, ErrMalformed
	}
	m.Properties, m.Payload = b[size:size+n], b[size+n:]
	return m, nil
}
