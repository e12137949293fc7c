package broker

import (
	"errors"

	"github.com/mochi-mqtt/server/v2/packets"
)

// inspect checks a packet before mochi sees it, and reports whether mochi has to process
// it. An acknowledgement of a delivery is handled here, without mochi. A packet that is
// malformed, over a limit or out of order ends the connection with the error returned.
func (c *conn) inspect(p []byte) (forMochi bool, err error) {
	if p[0] == packets.Puback<<4 && len(p) == 4 && p[2]|p[3] != 0 { // by far the most frequent packet
		if !c.session.Ack(packetID(p)) && !c.allowPacket() {
			return false, errFlood
		}
		return false, nil
	}
	if p[0]>>4 != packets.Puback && !c.allowPacket() {
		return false, errFlood
	}
	if p[0]>>4 == packets.Auth && c.version == 5 && c.client.Properties.Props.AuthenticationMethod == "" {
		return false, errNoAuth // [MQTT-4.12.0-6], whatever it contains
	}
	filters, err := strict(c.version, p)
	if err == nil && filters > c.b.o.MaxFilters {
		return false, c.refuseFilters(p, filters)
	}
	if err != nil {
		return false, err
	}
	return c.acknowledge(p)
}

// readConnect reads the first packet, which must be a valid CONNECT. It responds to an
// invalid one where the protocol version allows it.
func (c *conn) readConnect() ([]byte, error) {
	p, err := c.readPacket(c.b.o.MaxConnectSize)
	if err == nil {
		err = checkConnect(p)
	}
	var f *fault
	if errors.As(err, &f) {
		if p == nil {
			p = c.buf[c.r:c.w]
		}
		c.refuseFault(p, f)
	}
	c.version = versionOf(p)
	return p, err
}

var (
	errNoAuth   = &fault{codeProtocolError, "AUTH without an authentication method in CONNECT"}
	errWrongAck = &fault{codeProtocolError, "a QoS 2 packet for a message of QoS 1"}
)

// acknowledge handles acknowledgements of messages, which mochi knows nothing about, and
// reports whether the packet is for mochi. A PUBACK completes a message whatever its reason
// code (MQTT 5 §4.4). A PUBREC or PUBCOMP for a message is a protocol error
// ([MQTT-4.3.2-4]), because messages have QoS 1. With an id that is not in flight, a PUBREC is
// left to mochi, which responds, and a PUBCOMP is ignored.
func (c *conn) acknowledge(p []byte) (forMochi bool, err error) {
	switch p[0] >> 4 {
	case packets.Puback:
		if !c.session.Ack(packetID(p)) && !c.allowPacket() {
			return false, errFlood
		}
		return false, nil
	case packets.Pubrec:
		if c.session.Awaits(packetID(p)) {
			return false, errWrongAck
		}
		return len(p) < 5 || p[4] < codeUnspecified, nil
	case packets.Pubcomp:
		if c.session.Awaits(packetID(p)) {
			return false, errWrongAck
		}
		return false, nil
	}
	return true, nil
}

// packetID returns the packet id of an acknowledgement.
func packetID(p []byte) uint16 {
	s := scan{b: p[1:]}
	s.varint()
	return uint16(s.u16())
}
