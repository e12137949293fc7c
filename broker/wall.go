package broker

import (
	"errors"

	"github.com/mochi-mqtt/server/v2/packets"
)

// inspect is the wall before mochi: it reports whether a packet is for mochi, which sees
// none that is malformed, too large, too many or out of turn.
func (c *conn) inspect(p []byte) (forMochi bool, err error) {
	if p[0] == packets.Puback<<4 && len(p) == 4 && p[2]|p[3] != 0 { // by far the most frequent
		if !c.session.Ack(packetID(p)) && !c.pace() {
			return false, errFlood
		}
		return false, nil
	}
	if p[0]>>4 != packets.Puback && !c.pace() {
		return false, errFlood
	}
	if p[0]>>4 == packets.Auth && c.version == 5 && c.client.Properties.Props.AuthenticationMethod == "" {
		return false, errNoAuth // [MQTT-4.12.0-6], whatever it holds
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

// first waits for a good CONNECT.
func (c *conn) first() ([]byte, error) {
	p, err := c.next(c.b.o.MaxConnectSize)
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
	errNoAuth   = &fault{codeProtocolError, "AUTH where CONNECT named no authentication method"}
	errWrongAck = &fault{codeProtocolError, "a QoS 2 packet for a message of QoS 1"}
)

// acknowledge takes what completes a message, which mochi knows nothing of: any
// PUBACK does, whatever its reason code (§4.4), and nothing else ([MQTT-4.3.2-4]).
// A QoS 2 exchange that no message belongs to is mochi's to lead to its end.
func (c *conn) acknowledge(p []byte) (forMochi bool, err error) {
	switch p[0] >> 4 {
	case packets.Puback:
		if !c.session.Ack(packetID(p)) && !c.pace() {
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

// packetID is that of an acknowledgement.
func packetID(p []byte) uint16 {
	s := scan{b: p[1:]}
	s.varint()
	return uint16(s.u16())
}
