// Package mqttwire encodes and decodes the few MQTT packets that the load generator and the tests
// write themselves. A client library would hide what matters to them: the exact bytes, who
// acknowledges what and when, and the cost of one device.
//
// The server does not use this package. Its packets are decoded by the broker's engine, and a
// test that shared a decoder with what it tests would prove nothing.
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

// ErrMalformed reports a packet that ends in the middle of a field, or whose length has more than
// four bytes.
var ErrMalformed = errors.New("malformed MQTT packet")

// AppendVarint appends n as a Variable Byte Integer (§1.5.5). It does not check that n
// is at most 268,435,455.
func AppendVarint(b []byte, n int) []byte {
	for ; n >= 0x80; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(b, byte(n))
}

// Varint decodes the Variable Byte Integer at the start of b and returns its size in bytes. The
// size is 0 if b ends too early, and -1 if the integer has more than four bytes.
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

// AppendString appends s after its length in two bytes, which is how MQTT encodes text and binary
// data (§1.5.4, §1.5.6).
func AppendString(b []byte, s string) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(s)))
	return append(b, s...)
}

// AppendPacket appends a packet with the given first byte and body.
func AppendPacket(b []byte, first byte, body []byte) []byte {
	return append(AppendVarint(append(b, first), len(body)), body...)
}

// PacketLen returns the length of the first packet in b, or 0 if b does not have all of it yet.
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

// Body returns a complete packet without its fixed header.
func Body(p []byte) []byte {
	_, size := Varint(p[1:])
	return p[1+size:]
}

// ReadPacket reads one packet and not a byte more. It allocates as much as the packet's length
// says, so it is not for untrusted input.
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

// unexpected converts io.EOF within a packet to io.ErrUnexpectedEOF.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Login describes a CONNECT of MQTT 5 with a password and no user name.
type Login struct {
	ClientID  string
	Token     string // the password
	Resume    bool   // Clean Start 0
	Expiry    uint32 // Session Expiry Interval in seconds
	KeepAlive uint16 // in seconds; 0 means none
}

// AppendConnect appends the CONNECT that l describes.
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

// AppendSubscribe appends a SUBSCRIBE of MQTT 5 to filter, at QoS 1, with packet identifier 1. It
// asks for no retained message.
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

// AppendPuback appends a PUBACK of id that reports success.
func AppendPuback(b []byte, id uint16) []byte {
	return append(b, Puback, 2, byte(id>>8), byte(id))
}

// Message is the content of a PUBLISH.
type Message struct {
	ID     uint16 // packet identifier; 0 at QoS 0
	Retain bool

	// These are parts of the packet, not copies. Properties come without their length, and
	// are empty in MQTT 3.1.1.
	Topic, Properties, Payload []byte
}

// ParsePublish decodes a complete PUBLISH of MQTT 5 (version 5) or 3.1.1 (version 4).
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
