package broker

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"sync"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/falconalert/falconbridge/bridge/delivery"
)

// frame is a buffer for outgoing packets, with headroom at its start.
type frame struct{ b []byte }

// framePool is a [sync.Pool] of frames. It does not keep unusually large ones.
type framePool struct{ pool sync.Pool }

var frames framePool

// maxFrame is the number of bytes after which Send writes, and so about how much memory a
// device that does not read can hold. It has room for a window of typical notifications.
const maxFrame = 32 << 10

func (p *framePool) get() *frame {
	f, ok := p.pool.Get().(*frame)
	if !ok {
		f = &frame{b: make([]byte, headroom, 1024)}
	}
	f.b = f.b[:headroom]
	return f
}

func (p *framePool) put(f *frame) {
	if cap(f.b) <= 2*maxFrame {
		p.pool.Put(f)
	}
}

// Send implements [delivery.Link]. It writes ms in order, in one write unless they exceed
// maxFrame. It bypasses mochi to save its client lock and the copies it makes.
func (c *conn) Send(ms []delivery.Message) error {
	f := frames.get()
	defer frames.put(f)
	limit := int(c.client.Properties.Props.MaximumPacketSize)
	for i := range ms {
		m := &ms[i]
		start := len(f.b)
		f.b = appendPublish(f.b, c.version, m)
		if limit > 0 && len(f.b)-start > limit && m.Traceparent != "" { // the trace must not make a notification undeliverable
			m.Traceparent = ""
			f.b = appendPublish(f.b[:start], c.version, m)
		}
		if limit > 0 && len(f.b)-start > limit {
			f.b = f.b[:start] // MQTT 5 §3.1.2.11.4: not sent, and counts as delivered
			continue
		}
		m.Delivered = true
		if len(f.b) >= maxFrame {
			if err := c.send(f.b); err != nil {
				return fmt.Errorf("send to %s: %w", c.device.User, err)
			}
			f.b = f.b[:headroom]
		}
	}
	if len(f.b) == headroom {
		return nil
	}
	if err := c.send(f.b); err != nil {
		return fmt.Errorf("send to %s: %w", c.device.User, err)
	}
	return nil
}

// SendState implements [delivery.Link].
func (c *conn) SendState(m delivery.StateMessage) (sent bool, err error) {
	f := frames.get()
	defer frames.put(f)
	f.b = appendState(f.b, &m)
	if limit := int(c.client.Properties.Props.MaximumPacketSize); limit > 0 && len(f.b)-headroom > limit {
		return false, nil
	}
	if err := c.send(f.b); err != nil {
		return false, fmt.Errorf("send a state message to %s: %w", c.device.User, err)
	}
	return true, nil
}

// maxProps is enough for the properties of a PUBLISH, in bytes, unless the epoch is unusually
// long. A longer block is correct, but allocated.
const maxProps = 320

// appendPublish appends the PUBLISH packet of m (MQTT 5 §3.3). MQTT 3.1.1 has no
// properties.
func appendPublish(b []byte, version byte, m *delivery.Message) []byte {
	flags := m.QoS << 1
	if m.Dup {
		flags |= 8
	}
	if m.Retain {
		flags |= 1
	}
	if version != 5 {
		return appendPacket(b, flags, m.Topic, m.PacketID, nil, m.Item())
	}
	var block [maxProps]byte
	props := appendProps(block[:0], m.Expiry, m.SubID)
	props = appendUserInt(props, "id", m.ID)
	props = appendUserInt(props, "seq", int64(m.Seq))
	props = appendUser(props, "kind", string(m.Kind))
	props = appendUser(props, "epoch", m.Epoch)
	if m.Traceparent != "" {
		props = appendUser(props, "traceparent", m.Traceparent)
	}
	return appendPacket(b, flags, m.Topic, m.PacketID, props, m.Item())
}

// appendState appends the PUBLISH packet of m. Only MQTT 5 devices can ask for state
// messages, with a user property.
func appendState(b []byte, m *delivery.StateMessage) []byte {
	var block [maxProps]byte
	props := appendProps(block[:0], 0, m.SubID)
	props = appendUser(props, "type", "state")
	props = appendUser(props, "epoch", m.Epoch)
	return appendPacket(b, m.QoS<<1, m.Topic, m.PacketID, props, m.Payload)
}

// appendPacket appends a PUBLISH packet. flags are DUP, QoS and RETAIN (§3.3.1), and
// packetID is not used with QoS 0. props is the property block without its length; nil
// means MQTT 3.1.1, which has none.
func appendPacket(b []byte, flags byte, topic string, packetID uint16, props, payload []byte) []byte {
	hasID := flags&6 != 0
	size := 2 + len(topic) + len(payload)
	if hasID {
		size += 2
	}
	if props != nil {
		size += varintLen(len(props)) + len(props)
	}
	b = appendVarint(append(b, packets.Publish<<4|flags), size)
	b = append(appendUint16(b, len(topic)), topic...)
	if hasID {
		b = appendUint16(b, int(packetID))
	}
	if props != nil {
		b = append(appendVarint(b, len(props)), props...)
	}
	return append(b, payload...)
}

const contentType = "application/json"

// appendProps appends the properties of every PUBLISH. expiry is the Message Expiry Interval
// in seconds and subID the Subscription Identifier; 0 means none.
func appendProps(b []byte, expiry uint32, subID int) []byte {
	b = append(b, propPayloadFormat, 1)
	if expiry > 0 {
		b = binary.BigEndian.AppendUint32(append(b, propMessageExpiry), expiry)
	}
	b = append(appendUint16(append(b, propContentType), len(contentType)), contentType...)
	if subID > 0 {
		b = appendVarint(append(b, propSubID), subID)
	}
	return b
}

// appendUser appends a user property.
func appendUser(b []byte, key, value string) []byte {
	b = append(appendUint16(append(b, propUser), len(key)), key...)
	return append(appendUint16(b, len(value)), value...)
}

// appendUserInt appends a user property with a decimal number.
func appendUserInt(b []byte, key string, n int64) []byte {
	b = appendUser(b, key, "")
	start := len(b)
	b = strconv.AppendInt(b, n, 10)
	binary.BigEndian.PutUint16(b[start-2:], uint16(len(b)-start))
	return b
}

func appendUint16(b []byte, n int) []byte { return append(b, byte(n>>8), byte(n)) }

// appendVarint appends a Variable Byte Integer (MQTT 5 §1.5.5).
func appendVarint(b []byte, n int) []byte {
	for n >= 0x80 {
		b = append(b, byte(n)|0x80)
		n >>= 7
	}
	return append(b, byte(n))
}

func varintLen(n int) int {
	l := 1
	for ; n >= 0x80; n >>= 7 {
		l++
	}
	return l
}
