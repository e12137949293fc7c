package broker

import (
	"fmt"
	"log/slog"
	"strconv"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// receiveMaximum is the Receive Maximum of a CONNACK (MQTT 5 §3.2.2.3.3). No device can
// exceed it: each PUBLISH is refused before the next packet is read.
const receiveMaximum = 16

// newServer returns mochi's server with h as its only hook. There must not be a second
// one: of several hooks, mochi lets any one allow a login or a subscription.
//
// Serve is not called. It would publish $SYS topics and expire sessions and retained
// messages, none of which are used here, and copy the table of clients every second for it.
func newServer(o *Options, h mqtt.Hook) (*mqtt.Server, error) {
	c := mqtt.NewDefaultServerCapabilities()
	c.MaximumQos = 1
	c.ReceiveMaximum = receiveMaximum
	c.MaximumSessionExpiryInterval = uint32(o.SessionTTL.Seconds())
	c.TopicAliasMaximum = 0
	c.MaximumClientWritesPending = 0 // no queue: messages bypass mochi, see conn.Send
	c.SharedSubAvailable, c.WildcardSubAvailable, c.RetainAvailable = 0, 0, 1
	s := mqtt.New(&mqtt.Options{
		Capabilities:            c,
		ClientNetReadBufferSize: 16,                            // bufio's minimum: conn.Read has the whole packet
		Logger:                  slog.New(slog.DiscardHandler), // mochi logs packets, passwords included
	})
	if err := s.AddHook(h, nil); err != nil {
		return nil, fmt.Errorf("add the hook: %w", err)
	}
	return s, nil
}

// hook has the methods that mochi calls, in the order that the package comment gives. They
// run on the goroutine that processes the packet, except OnPacketEncode of a DISCONNECT,
// which may run on any.
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

// connOf returns the connection of cl. State is kept in the connection and never looked up
// by client id, because mochi may still call hooks for an older connection after a newer
// one of the same id was established.
func connOf(cl *mqtt.Client) *conn { return cl.Net.Conn.(interface{ self() *conn }).self() }

// OnPacketRead changes a packet before mochi processes it. From a CONNECT it removes what
// mochi would handle wrongly by itself. mochi takes over sessions by client id, whichever
// user it belongs to, so each client gets a unique id. It publishes wills without asking
// the ACL, so there are none. And it refuses an empty password, which is allowed.
func (h *hook) OnPacketRead(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	switch pk.FixedHeader.Type {
	case packets.Connect:
		connOf(cl).login = &login{clientID: pk.Connect.ClientIdentifier}
		pk.Connect.ClientIdentifier = strconv.FormatUint(h.b.ids.Add(1), 36)
		pk.Connect.WillFlag, pk.Connect.WillRetain = false, false
		pk.Connect.PasswordFlag = len(pk.Connect.Password) > 0
	case packets.Publish:
		pk.TopicName = "-" // OnACLCheck refuses every topic; with $SYS mochi would send no PUBACK
	}
	return pk, nil
}

// OnConnect limits the keep alive of an MQTT 5 device, which learns it from the CONNACK
// (§3.2.2.3.14). A 3.1.1 device cannot be told, so it keeps what it asked for, even none.
func (h *hook) OnConnect(cl *mqtt.Client, _ packets.Packet) error {
	limit := uint16(h.b.o.MaxKeepAlive.Seconds())
	if connOf(cl).ws != nil {
		limit = min(limit, uint16(h.b.o.WSKeepAlive.Seconds())) // nginx's proxy_read_timeout is 60 s
	}
	if k := cl.State.Keepalive; cl.Properties.ProtocolVersion == 5 && (k == 0 || k > limit) {
		cl.State.Keepalive, cl.State.ServerKeepalive = limit, true
	}
	return nil
}

// OnConnectAuthenticate checks the token and opens the session, which is on disk before
// the CONNACK promises it.
func (h *hook) OnConnectAuthenticate(cl *mqtt.Client, pk packets.Packet) bool {
	c := connOf(cl)
	c.makeClient(cl)
	c.logIn(&pk)
	return c.login.refusal == refusal{}
}

// OnSessionEstablished resumes delivery after the CONNACK was written.
func (h *hook) OnSessionEstablished(cl *mqtt.Client, _ packets.Packet) {
	c := connOf(cl)
	c.login = nil
	h.b.count.logins.Add(1)
	c.debug("a device logged in", codeSuccess, nil)
	c.session.Resume()
}

// OnACLCheck reports whether the device's token allows it to receive topic. No device is
// allowed to publish.
func (h *hook) OnACLCheck(cl *mqtt.Client, topic string, write bool) bool {
	return !write && connOf(cl).session.May(topic)
}

// OnSubscribed stores the subscriptions and sets codes, the reason codes of the SUBACK that
// mochi writes afterwards.
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
		cl.Stop(err) // mochi writes no UNSUBACK to a stopped client
	}
	return pk
}

// OnPacketProcessed starts delivery after the SUBACK was written. It also removes mochi's
// own record of the subscription, which takes 3 KiB in its topic tree and has no use here,
// because the hub delivers.
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
			c.session.Activate(f.Filter) // no effect if it was refused
		}
	}
}

// OnAuthPacket handles a re-authentication, which replaces the token (MQTT 5 §4.12.1).
func (h *hook) OnAuthPacket(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	c := connOf(cl)
	if err := c.renew(&pk); err != nil {
		return pk, err
	}
	return pk, cl.WritePacket(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Auth},
		Properties: packets.Properties{AuthenticationMethod: authMethod}})
}

// OnPacketEncode corrects a packet that mochi is about to write: it sets reason codes that
// mochi does not know, and removes properties that mochi copied from the request.
func (h *hook) OnPacketEncode(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	c := connOf(cl)
	reason := ""
	switch pk.FixedHeader.Type {
	case packets.Connack:
		return c.connack(pk)
	case packets.Disconnect:
		c.recordCode(pk.ReasonCode)
		if pk.ReasonCode != codeMalformed && pk.ReasonCode != codeProtocolError { // the code says enough
			reason = pk.Properties.ReasonString
		}
		if cl.Properties.ProtocolVersion != 5 {
			pk.FixedHeader.Type = packets.Reserved // not in 3.1.1; mochi does not write a reserved type
		}
	case packets.Suback, packets.Unsuback:
		pk.ReasonCodes, reason = c.ack.codes, c.ack.reason
	case packets.Pubrel, packets.Pubcomp:
		pk.ReasonCode = codeSuccess // the exchange may have begun with another server ([MQTT-4.3.3-11])
	case packets.Auth:
		return pk
	}
	pk.Properties = packets.Properties{ReasonString: fitReason(reason, pk.Mods.MaxSize)}
	return pk
}

// fitReason returns reason, or "" if a packet with it could exceed the device's Maximum
// Packet Size of limit bytes (MQTT 5 §3.1.2.11.4). A limit of 0 means none.
func fitReason(reason string, limit uint32) string {
	if limit > 0 && uint32(len(reason)+16) > limit {
		return ""
	}
	return reason
}
