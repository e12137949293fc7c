package broker

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// process handles one packet of a device that is logged in. An error ends the
// connection, and a [*fault] tells an MQTT 5 device why.
func (c *conn) process(p []byte) error {
	if p[0]>>4 == packets.Auth && c.version == 5 && !c.jwt { // [MQTT-4.12.0-6], whatever it holds
		return &fault{codeProtocolError, "AUTH where CONNECT named no authentication method"}
	}
	if err := strict(c.version, p); err != nil {
		return err
	}
	pk, err := decode(c.version, p)
	if err != nil {
		return err
	}
	switch pk.FixedHeader.Type {
	case packets.Pingreq:
		return c.reply(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingresp}})
	case packets.Puback:
		if !c.session.Ack(pk.PacketID) && !c.pace() { // whatever its reason code: §4.4
			return errFlood
		}
		return nil
	case packets.Publish:
		return c.publish(&pk)
	case packets.Subscribe:
		return c.subscribe(&pk)
	case packets.Unsubscribe:
		return c.unsubscribe(&pk)
	case packets.Pubrec, packets.Pubrel, packets.Pubcomp:
		return c.complete(&pk)
	case packets.Auth:
		return c.renew(&pk)
	case packets.Disconnect:
		return c.depart(&pk)
	}
	return nil
}

// decode has mochi decode one packet that strict passed. It copies p, which is the
// connection's buffer and which mochi's strings would point into.
func decode(version byte, p []byte) (pk packets.Packet, err error) {
	s := scan{b: p[1:]}
	pk.FixedHeader.Remaining = s.varint()
	pk.ProtocolVersion = version
	if err := pk.FixedHeader.Decode(p[0]); err != nil {
		return pk, fmt.Errorf("%w: %w", errMalformed, err)
	}
	b := bytes.Clone(s.b)
	switch pk.FixedHeader.Type {
	case packets.Connect:
		err = pk.ConnectDecode(b)
	case packets.Publish:
		err = pk.PublishDecode(b)
	case packets.Puback, packets.Pubrec, packets.Pubrel, packets.Pubcomp:
		err = pk.PubackDecode(b)
	case packets.Subscribe:
		err = pk.SubscribeDecode(b)
	case packets.Unsubscribe:
		err = pk.UnsubscribeDecode(b)
	case packets.Disconnect:
		err = pk.DisconnectDecode(b)
	case packets.Auth:
		err = pk.AuthDecode(b)
	}
	if err != nil {
		err = fmt.Errorf("%w: %w", errMalformed, err)
	}
	return pk, err
}

// encode appends pk, without its reason string where it would be larger than limit,
// 0 meaning no limit (MQTT 5 §3.1.2.11.4). It fails where it still would.
func encode(b []byte, pk packets.Packet, limit int) ([]byte, error) {
	buf := bytes.NewBuffer(b)
	var err error
	switch pk.FixedHeader.Type {
	case packets.Connack:
		err = pk.ConnackEncode(buf)
	case packets.Puback:
		err = pk.PubackEncode(buf)
	case packets.Pubrel:
		err = pk.PubrelEncode(buf)
	case packets.Pubcomp:
		err = pk.PubcompEncode(buf)
	case packets.Suback:
		err = pk.SubackEncode(buf)
	case packets.Unsuback:
		err = pk.UnsubackEncode(buf)
	case packets.Pingresp:
		err = pk.PingrespEncode(buf)
	case packets.Auth:
		err = pk.AuthEncode(buf)
	default:
		err = packets.ErrNoValidPacketAvailable
	}
	switch {
	case err != nil:
		return b, fmt.Errorf("encode: %w", err)
	case limit == 0 || buf.Len()-len(b) <= limit:
		return buf.Bytes(), nil
	case pk.Properties.ReasonString != "":
		pk.Properties.ReasonString = ""
		return encode(b, pk, limit)
	}
	return b, errTooLarge
}

// reply sends pk. A reason string is left out where the device asked for none
// ([MQTT-3.1.2-29]); CONNACK does not come this way.
func (c *conn) reply(pk packets.Packet) error {
	f := frames.get()
	defer frames.put(f)
	pk.ProtocolVersion = c.version
	if c.terse {
		pk.Properties.ReasonString = ""
	}
	var err error
	if f.b, err = encode(f.b, pk, c.maxPacket); err != nil {
		return err
	}
	return c.send(f.b)
}

var errPublish = errors.New("a 3.1.1 device published, which it cannot be told is refused")

// publish refuses: devices only listen.
func (c *conn) publish(pk *packets.Packet) error {
	switch {
	case pk.FixedHeader.Qos == 0:
		return nil
	case c.version != 5:
		return errPublish
	}
	return c.reply(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Puback},
		PacketID: pk.PacketID, ReasonCode: codeNotAuthorized})
}

var errWrongAck = &fault{codeProtocolError, "a QoS 2 packet for a message of QoS 1"}

// complete leads a QoS 2 exchange to its end that no message belongs to here: the
// device may have begun it with another server ([MQTT-4.3.3-11]).
func (c *conn) complete(pk *packets.Packet) error {
	next := packets.FixedHeader{Type: packets.Pubcomp}
	if pk.FixedHeader.Type != packets.Pubrel {
		if c.session.Awaits(pk.PacketID) { // which a PUBACK is due for ([MQTT-4.3.2-4])
			return errWrongAck
		}
		if pk.FixedHeader.Type == packets.Pubcomp || pk.ReasonCode >= codeUnspecified {
			return nil
		}
		next = packets.FixedHeader{Type: packets.Pubrel, Qos: 1}
	}
	return c.reply(packets.Packet{FixedHeader: next, PacketID: pk.PacketID})
}

// depart ends the connection on the device's word. A will would be published on
// reason 0x04; there is none.
func (c *conn) depart(pk *packets.Packet) error {
	if pk.Properties.SessionExpiryIntervalFlag {
		if c.forgets && pk.Properties.SessionExpiryInterval > 0 { // §3.14.2.2.2
			return &fault{codeProtocolError, "a session expiry where CONNECT had none"}
		}
		c.session.SetExpiry(time.Duration(pk.Properties.SessionExpiryInterval) * time.Second)
	}
	c.leaving = true
	return nil
}
