package broker

import (
	"fmt"
	"log/slog"
	"strconv"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// receiveMaximum is what CONNACK grants for PUBLISH packets, all of which are
// refused. As each is answered before the next is read, none can exceed it.
const receiveMaximum = 16

// newServer returns mochi's server with h as its one hook: where there are two, one
// that allows is enough.
//
// Serve is not called. It publishes $SYS topics and expires sessions and retained
// messages, which are not used, and copies the table of clients every second to do so.
func newServer(o *Options, h mqtt.Hook) (*mqtt.Server, error) {
	c := mqtt.NewDefaultServerCapabilities()
	c.MaximumQos = 1
	c.ReceiveMaximum = receiveMaximum
	c.MaximumSessionExpiryInterval = uint32(o.SessionTTL.Seconds())
	c.TopicAliasMaximum = 0
	c.MaximumClientWritesPending = 0 // no queue: messages do not go through it, see conn.Send
	c.SharedSubAvailable, c.WildcardSubAvailable, c.RetainAvailable = 0, 0, 1
	s := mqtt.New(&mqtt.Options{
		Capabilities:            c,
		ClientNetReadBufferSize: 16,                            // bufio's minimum: conn.Read has the whole packet
		Logger:                  slog.New(slog.DiscardHandler), // it logs packets, passwords included
	})
	if err := s.AddHook(h, nil); err != nil {
		return nil, fmt.Errorf("add the hook: %w", err)
	}
	return s, nil
}

// hook is what mochi asks. The package comment has the order. It runs on the
// goroutine of the packet, but for OnPacketEncode of a DISCONNECT.
type hook struct {
	mqtt.HookBase
	b *Broker
}

func (h *hook) ID() string { return "falconbridge" }

func (h *hook) Provides(b byte) bool {
	switch b {
	case mqtt.OnPacketRead, mqtt.OnConnect, mqtt.OnConnectAuthenticate, mqtt.OnSessionEstablished,
		mqtt.OnACLCheck, mqtt.OnSubscribed, mqtt.OnUnsubscribe, mqtt.OnAuthPacket, mqtt.OnPacketEncode, mqtt.OnPacketProcessed:
		return true
	}
	return false
}

// of returns the connection of cl. State is kept there and never looked up by client
// id: mochi may call for an older connection after a newer one has begun.
func connOf(cl *mqtt.Client) *conn { return cl.Net.Conn.(interface{ self() *conn }).self() }

// OnPacketRead sees a packet before mochi does, and takes from a CONNECT what mochi
// would act on by itself: sessions are taken over by the client id alone, whoever the
// user is, wills skip the ACL, and an empty password is refused.
func (h *hook) OnPacketRead(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	switch pk.FixedHeader.Type {
	case packets.Connect:
		connOf(cl).login = &login{clientID: pk.Connect.ClientIdentifier}
		pk.Connect.ClientIdentifier = strconv.FormatUint(h.b.ids.Add(1), 36)
		pk.Connect.WillFlag, pk.Connect.WillRetain = false, false
		pk.Connect.PasswordFlag = len(pk.Connect.Password) > 0
	case packets.Publish:
		pk.TopicName = "-" // OnACLCheck refuses any topic; a PUBLISH to $SYS would get no PUBACK
	}
	return pk, nil
}

// OnConnect clamps the keepalive, which MQTT 5 has a property for (§3.2.2.3.14). What 3.1.1
// asked for stands, 0 being none.
func (h *hook) OnConnect(cl *mqtt.Client, _ packets.Packet) error {
	most := uint16(h.b.o.MaxKeepAlive.Seconds())
	if connOf(cl).ws != nil {
		most = min(most, uint16(h.b.o.WSKeepAlive.Seconds())) // nginx's proxy_read_timeout is 60 s
	}
	if k := cl.State.Keepalive; cl.Properties.ProtocolVersion == 5 && (k == 0 || k > most) {
		cl.State.Keepalive, cl.State.ServerKeepalive = most, true
	}
	return nil
}

// OnConnectAuthenticate checks the token and opens the session: it is on disk before
// CONNACK promises it.
func (h *hook) OnConnectAuthenticate(cl *mqtt.Client, pk packets.Packet) bool {
	c := connOf(cl)
	c.makeClient(cl)
	c.logIn(&pk)
	return c.login.refusal == refusal{}
}

// OnSessionEstablished starts delivery, now that the CONNACK is written.
func (h *hook) OnSessionEstablished(cl *mqtt.Client, _ packets.Packet) {
	c := connOf(cl)
	c.login = nil
	h.b.count.logins.Add(1)
	c.session.Resume()
}

// OnACLCheck reports whether the token allows a device to receive a topic. No device
// may publish.
func (h *hook) OnACLCheck(cl *mqtt.Client, topic string, write bool) bool {
	return !write && connOf(cl).session.May(topic)
}

// OnSubscribed stores the subscriptions. codes are those of the SUBACK, which is
// written when it returns.
func (h *hook) OnSubscribed(cl *mqtt.Client, pk packets.Packet, codes []byte) {
	c := connOf(cl)
	c.ack = &ack{codes: codes}
	c.subscribe(&pk, c.ack)
}

// OnUnsubscribe removes the subscriptions.
func (h *hook) OnUnsubscribe(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	c := connOf(cl)
	c.ack = &ack{codes: make([]byte, len(pk.Filters))}
	if err := c.unsubscribe(&pk, c.ack); err != nil {
		cl.Stop(err) // mochi writes no UNSUBACK to a client that is stopped
	}
	return pk
}

// OnPacketProcessed starts delivery once the SUBACK is written. mochi's own record of
// the subscription, 3 KiB in its tree of topics, is dropped: delivery is the hub's.
func (h *hook) OnPacketProcessed(cl *mqtt.Client, pk packets.Packet, err error) {
	c := connOf(cl)
	c.ack = nil
	if pk.FixedHeader.Type != packets.Subscribe {
		return
	}
	h.b.mochi.UnsubscribeClient(cl)
	cl.State.Subscriptions = mqtt.NewSubscriptions()
	for _, f := range pk.Filters {
		if err == nil {
			c.session.Activate(f.Filter) // without effect where it was refused
		}
	}
}

// OnAuthPacket renews the token (§4.12.1).
func (h *hook) OnAuthPacket(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	c := connOf(cl)
	if err := c.renew(&pk); err != nil {
		return pk, err
	}
	return pk, cl.WritePacket(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Auth},
		Properties: packets.Properties{AuthenticationMethod: authMethod}})
}

// OnPacketEncode corrects what mochi is about to write: codes that it does not know,
// and properties, which it copies from the request.
func (h *hook) OnPacketEncode(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	c := connOf(cl)
	reason := ""
	switch pk.FixedHeader.Type {
	case packets.Connack:
		return c.connack(pk)
	case packets.Disconnect:
		c.recordCode(pk.ReasonCode)
		if pk.ReasonCode != codeMalformed && pk.ReasonCode != codeProtocolError { // which say all
			reason = pk.Properties.ReasonString
		}
		if cl.Properties.ProtocolVersion != 5 {
			pk.FixedHeader.Type = packets.Reserved // 3.1.1 has none from a server; mochi does not write a reserved type
		}
	case packets.Suback, packets.Unsuback:
		pk.ReasonCodes, reason = c.ack.codes, c.ack.reason
	case packets.Pubrel, packets.Pubcomp:
		pk.ReasonCode = codeSuccess // the device may have begun it with another server ([MQTT-4.3.3-11])
	case packets.Auth:
		return pk
	}
	pk.Properties = packets.Properties{ReasonString: fitReason(reason, pk.Mods.MaxSize)}
	return pk
}

// fitting returns the reason string where a packet of at most limit bytes has room
// for it; 0 means no limit (MQTT 5 §3.1.2.11.4).
func fitReason(reason string, limit uint32) string {
	if limit > 0 && uint32(len(reason)+16) > limit {
		return ""
	}
	return reason
}
