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

// newServer returns mochi's server with h as its one hook: two would be OR-ed.
//
// Its Serve is not called: that is for $SYS topics, retained messages and expired
// sessions, each found by copying a table of all clients every second. See conn.greet
// for what is.
func newServer(o *Options, h *hook) (*mqtt.Server, error) {
	c := mqtt.NewDefaultServerCapabilities()
	c.MaximumQos = 1
	c.ReceiveMaximum = receiveMaximum
	c.MaximumSessionExpiryInterval = uint32(o.SessionTTL.Seconds())
	c.TopicAliasMaximum = 0
	c.MaximumClientWritesPending = 0 // its queue: messages do not go through it, see conn.Send
	c.SharedSubAvailable, c.WildcardSubAvailable, c.RetainAvailable = 0, 0, 1
	s := mqtt.New(&mqtt.Options{
		Capabilities:            c,
		ClientNetReadBufferSize: 16,                            // the least there is: whole packets come from conn.Read
		Logger:                  slog.New(slog.DiscardHandler), // it logs packets, passwords included
	})
	if err := s.AddHook(h, nil); err != nil {
		return nil, fmt.Errorf("add the hook: %w", err)
	}
	h.server = s
	return s, nil
}

// hook is what mochi asks and tells. It runs on the goroutine of the packet, but for
// OnPacketEncode, which may run on any.
type hook struct {
	mqtt.HookBase
	b      *Broker
	server *mqtt.Server
}

func (h *hook) ID() string { return "falconbridge" }

func (h *hook) Provides(b byte) bool {
	switch b {
	case mqtt.OnPacketRead, mqtt.OnConnect, mqtt.OnConnectAuthenticate, mqtt.OnSessionEstablished,
		mqtt.OnACLCheck, mqtt.OnSubscribe, mqtt.OnUnsubscribe, mqtt.OnAuthPacket, mqtt.OnPacketEncode, mqtt.OnPacketProcessed:
		return true
	}
	return false
}

// of is the connection of cl.
func of(cl *mqtt.Client) *conn { return cl.Net.Conn.(interface{ self() *conn }).self() }

// OnPacketRead sees a packet before mochi does. A CONNECT loses what mochi would do
// by itself and wrongly: sessions are taken over by the client id alone, wills skip
// the ACL, and an empty password is refused.
func (h *hook) OnPacketRead(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	switch pk.FixedHeader.Type {
	case packets.Connect:
		of(cl).login = &login{clientID: pk.Connect.ClientIdentifier}
		pk.Connect.ClientIdentifier = strconv.FormatUint(h.b.ids.Add(1), 36)
		pk.Connect.WillFlag, pk.Connect.WillRetain = false, false
		pk.Connect.PasswordFlag = len(pk.Connect.Password) > 0
	case packets.Publish:
		pk.TopicName = "-" // whatever it is, the ACL refuses; mochi would not answer some at all
	}
	return pk, nil
}

// OnConnect clamps the keepalive, which MQTT 5 can be told (§3.2.2.3.14). What 3.1.1
// asked for stands, 0 being none.
func (h *hook) OnConnect(cl *mqtt.Client, _ packets.Packet) error {
	most := uint16(h.b.o.MaxKeepAlive.Seconds())
	if k := cl.State.Keepalive; cl.Properties.ProtocolVersion == 5 && (k == 0 || k > most) {
		cl.State.Keepalive, cl.State.ServerKeepalive = most, true
	}
	return nil
}

// OnConnectAuthenticate lets a device in whose token is good, and opens its session:
// it is on disk before CONNACK promises it.
func (h *hook) OnConnectAuthenticate(cl *mqtt.Client, pk packets.Packet) bool {
	c := of(cl)
	c.adopt(cl)
	c.enter(&pk)
	return c.login.refusal == refusal{}
}

func (h *hook) OnSessionEstablished(cl *mqtt.Client, _ packets.Packet) {
	c := of(cl)
	c.login = nil
	h.b.count.logins.Add(1)
	c.session.Resume()
}

// OnACLCheck: a device may receive what the hub granted it, and publish nothing.
func (h *hook) OnACLCheck(cl *mqtt.Client, topic string, write bool) bool {
	a := of(cl).answer
	return !write && a != nil && a.grants(topic)
}

func (h *hook) OnSubscribe(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	c := of(cl)
	c.answer = c.subscribe(&pk)
	return pk
}

func (h *hook) OnUnsubscribe(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	c := of(cl)
	var err error
	if c.answer, err = c.unsubscribe(&pk); err != nil {
		cl.Stop(err) // mochi finds it closed, and answers nothing
	}
	return pk
}

// OnPacketProcessed starts delivery once the SUBACK is written. It is the hub's: what
// mochi notes of a subscription, 3 KiB, is let go.
func (h *hook) OnPacketProcessed(cl *mqtt.Client, pk packets.Packet, err error) {
	c := of(cl)
	if pk.FixedHeader.Type == packets.Subscribe {
		h.server.UnsubscribeClient(cl)
		cl.State.Subscriptions = mqtt.NewSubscriptions()
	}
	if c.answer != nil && err == nil {
		for _, filter := range c.answer.granted {
			c.session.Activate(filter)
		}
	}
	c.answer = nil
}

// OnAuthPacket renews the token (§4.12.1).
func (h *hook) OnAuthPacket(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	c := of(cl)
	if err := c.renew(&pk); err != nil {
		return pk, err
	}
	return pk, cl.WritePacket(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Auth},
		Properties: packets.Properties{AuthenticationMethod: authMethod}})
}

// OnPacketEncode corrects what mochi answers. Properties of its own are left out: it
// repeats those of the request.
func (h *hook) OnPacketEncode(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	c := of(cl)
	reason := ""
	switch pk.FixedHeader.Type {
	case packets.Connack:
		return c.connack(pk)
	case packets.Disconnect:
		c.tell(pk.ReasonCode)
		if pk.ReasonCode != codeMalformed && pk.ReasonCode != codeProtocolError { // which say all
			reason = pk.Properties.ReasonString
		}
		if cl.Properties.ProtocolVersion != 5 {
			pk.FixedHeader.Type = packets.Reserved // 3.1.1 knows none from a server: mochi drops it
		}
	case packets.Suback, packets.Unsuback:
		pk.ReasonCodes, reason = c.answer.codes, c.answer.reason
	case packets.Pubrel, packets.Pubcomp:
		pk.ReasonCode = codeSuccess // the device may have begun it with another server ([MQTT-4.3.3-11])
	case packets.Auth:
		return pk
	}
	pk.Properties = packets.Properties{ReasonString: fitting(reason, pk.Mods.MaxSize)}
	return pk
}

// fitting is the reason string where a packet of at most limit bytes has room for
// it, 0 meaning no limit (MQTT 5 §3.1.2.11.4).
func fitting(reason string, limit uint32) string {
	if limit > 0 && uint32(len(reason)+16) > limit {
		return ""
	}
	return reason
}
