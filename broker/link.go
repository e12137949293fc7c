package broker

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"sync"

	"github.com/falconalert/falconbridge/bridge/delivery"
)

// frame is a buffer for outgoing packets, with headroom at its start.
type frame struct{ b []byte }

// framePool keeps buffers of up to maxFrame bytes.
type framePool struct{ pool sync.Pool }

var frames framePool

// maxFrame bounds what one write, and so one blocked device, holds; a window of
// usual notifications fits.
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

// Send writes ms in order, in one write unless they exceed maxFrame; see
// [delivery.Link]. It does not go through mochi, whose client lock and copies it
// spares.
func (c *conn) Send(ms []delivery.Message) error {
	f := frames.get()
	defer frames.put(f)
	limit := int(c.client.Properties.Props.MaximumPacketSize)
	for i := range ms {
		m := &ms[i]
		start := len(f.b)
		f.b = appendPublish(f.b, c.version, m)
		if limit > 0 && len(f.b)-start > limit && m.Traceparent != "" { // a trace must not make a notification undeliverable
			m.Traceparent = ""
			f.b = appendPublish(f.b[:start], c.version, m)
		}
		if limit > 0 && len(f.b)-start > limit {
			f.b = f.b[:start] // MQTT 5 §3.1.2.11.4: left out, which counts as delivered
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

// SendState writes m; see [delivery.Link].
func (c *conn) SendState(m delivery.StateMessage) (sent bool, err error) {
	f := frames.get()
	defer frames.put(f)
	f.b = appendState(f.b, &m)
	if limit := int(c.client.Properties.Props.MaximumPacketSize); limit > 0 && len(f.b)-headroom > limit {
		return false, nil
	}
	if err := c.send(f.b); err != nil {
		return false, fmt.Errorf("send a state to %s: %w", c.device.User, err)
	}
	return true, nil
}

const contentType = "application/json"

// appendPublish appends the PUBLISH of m (§3.3).
func appendPublish(b []byte, version byte, m *delivery.Message) []byte {
	item := m.Item()
	props := 0
	size := 2 + len(m.Topic) + len(item)
	if m.QoS > 0 {
		size += 2
	}
	var id, seq [20]byte
	idText := strconv.AppendInt(id[:0], m.ID, 10)
	seqText := strconv.AppendInt(seq[:0], int64(m.Seq), 10)
	if version == 5 {
		props = 2 + 3 + len(contentType) +
			userProperty("id", len(idText)) + userProperty("seq", len(seqText)) +
			userProperty("kind", len(m.Kind)) + userProperty("epoch", len(m.Epoch))
		if m.Traceparent != "" {
			props += userProperty("traceparent", len(m.Traceparent))
		}
		if m.Expiry > 0 {
			props += 1 + 4
		}
		if m.SubID > 0 {
			props += 1 + varintLen(m.SubID)
		}
		size += varintLen(props) + props
	}

	head := byte(0x30) | m.QoS<<1
	if m.Dup {
		head |= 8
	}
	if m.Retain {
		head |= 1
	}
	b = appendVarint(append(b, head), size)
	b = append(appendUint16(b, len(m.Topic)), m.Topic...)
	if m.QoS > 0 {
		b = appendUint16(b, int(m.PacketID))
	}
	if version == 5 {
		b = appendVarint(b, props)
		b = append(b, propPayloadFormat, 1)
		if m.Expiry > 0 {
			b = binary.BigEndian.AppendUint32(append(b, propMessageExpiry), m.Expiry)
		}
		b = append(appendUint16(append(b, propContentType), len(contentType)), contentType...)
		if m.SubID > 0 {
			b = appendVarint(append(b, propSubID), m.SubID)
		}
		b = append(appendKey(b, "id", len(idText)), idText...)
		b = append(appendKey(b, "seq", len(seqText)), seqText...)
		b = append(appendKey(b, "kind", len(m.Kind)), m.Kind...)
		b = append(appendKey(b, "epoch", len(m.Epoch)), m.Epoch...)
		if m.Traceparent != "" {
			b = append(appendKey(b, "traceparent", len(m.Traceparent)), m.Traceparent...)
		}
	}
	return append(b, item...)
}

// appendState appends the PUBLISH of m. Only MQTT 5 can ask for one.
func appendState(b []byte, m *delivery.StateMessage) []byte {
	const kind = "state"
	props := 2 + 3 + len(contentType) + userProperty("type", len(kind)) + userProperty("epoch", len(m.Epoch))
	if m.SubID > 0 {
		props += 1 + varintLen(m.SubID)
	}
	size := 2 + len(m.Topic) + varintLen(props) + props + len(m.Payload)
	if m.QoS > 0 {
		size += 2
	}
	b = appendVarint(append(b, 0x30|m.QoS<<1), size)
	b = append(appendUint16(b, len(m.Topic)), m.Topic...)
	if m.QoS > 0 {
		b = appendUint16(b, int(m.PacketID))
	}
	b = append(appendVarint(b, props), propPayloadFormat, 1)
	b = append(appendUint16(append(b, propContentType), len(contentType)), contentType...)
	if m.SubID > 0 {
		b = appendVarint(append(b, propSubID), m.SubID)
	}
	b = append(appendKey(b, "type", len(kind)), kind...)
	b = append(appendKey(b, "epoch", len(m.Epoch)), m.Epoch...)
	return append(b, m.Payload...)
}

// userProperty is the size of a user property.
func userProperty(key string, value int) int { return 1 + 2 + len(key) + 2 + value }

// appendKey appends a user property up to its value of n bytes.
func appendKey(b []byte, key string, n int) []byte {
	b = append(appendUint16(append(b, propUser), len(key)), key...)
	return appendUint16(b, n)
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
