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

const contentType = "application/json"

// appendPublish appends the PUBLISH packet of m (MQTT 5 §3.3). MQTT 3.1.1 has no
// properties.
func appendPublish(b []byte, version byte, m *delivery.Message) []byte {
	p := publish{flags: m.QoS << 1, topic: m.Topic, packetID: m.PacketID, expiry: m.Expiry, subID: m.SubID, payload: m.Item()}
	if m.Dup {
		p.flags |= 8
	}
	if m.Retain {
		p.flags |= 1
	}
	if version != 5 {
		return p.append(b, version)
	}
	var id, seq [20]byte // formatted here and not by strconv.FormatInt, which allocates
	user := [...]userProperty{
		{"id", string(strconv.AppendInt(id[:0], m.ID, 10))},
		{"seq", string(strconv.AppendInt(seq[:0], int64(m.Seq), 10))},
		{"kind", string(m.Kind)},
		{"epoch", m.Epoch},
		{"traceparent", m.Traceparent},
	}
	if p.user = user[:]; m.Traceparent == "" {
		p.user = user[:len(user)-1]
	}
	return p.append(b, version)
}

// appendState appends the PUBLISH packet of m. Only MQTT 5 devices can ask for state
// messages, with a user property.
func appendState(b []byte, m *delivery.StateMessage) []byte {
	user := [...]userProperty{{"type", "state"}, {"epoch", m.Epoch}}
	p := publish{flags: m.QoS << 1, topic: m.Topic, packetID: m.PacketID, subID: m.SubID, user: user[:], payload: m.Payload}
	return p.append(b, 5)
}

// publish has what differs between the PUBLISH packets that the broker sends.
type publish struct {
	flags    byte // DUP, QoS and RETAIN (§3.3.1)
	topic    string
	packetID uint16 // 0 with QoS 0
	expiry   uint32 // Message Expiry Interval in seconds; 0: none
	subID    int    // Subscription Identifier; 0: none
	user     []userProperty
	payload  []byte
}

type userProperty struct{ key, value string }

func (u *userProperty) size() int { return 1 + 2 + len(u.key) + 2 + len(u.value) }

// append appends the packet. It writes straight to b: the sizes of the properties and of
// the packet, which precede them, are added up first.
func (p *publish) append(b []byte, version byte) []byte {
	size := 2 + len(p.topic) + len(p.payload)
	if p.flags&6 != 0 { // QoS 1
		size += 2
	}
	props := 2 + 3 + len(contentType)
	for i := range p.user {
		props += p.user[i].size()
	}
	if p.expiry > 0 {
		props += 1 + 4
	}
	if p.subID > 0 {
		props += 1 + varintLen(p.subID)
	}
	if version == 5 {
		size += varintLen(props) + props
	}

	b = appendVarint(append(b, packets.Publish<<4|p.flags), size)
	b = append(appendUint16(b, len(p.topic)), p.topic...)
	if p.flags&6 != 0 {
		b = appendUint16(b, int(p.packetID))
	}
	if version != 5 {
		return append(b, p.payload...)
	}
	b = append(appendVarint(b, props), propPayloadFormat, 1)
	if p.expiry > 0 {
		b = binary.BigEndian.AppendUint32(append(b, propMessageExpiry), p.expiry)
	}
	b = append(appendUint16(append(b, propContentType), len(contentType)), contentType...)
	if p.subID > 0 {
		b = appendVarint(append(b, propSubID), p.subID)
	}
	for i := range p.user {
		u := &p.user[i]
		b = append(appendUint16(append(b, propUser), len(u.key)), u.key...)
		b = append(appendUint16(b, len(u.value)), u.value...)
	}
	return append(b, p.payload...)
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
