package broker

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/falconalert/falconbridge/bridge"
)

// maxClientID is the longest client id, in bytes.
const maxClientID = 256

// errRefused ends a connection whose CONNECT was answered with a refusal.
var errRefused = errors.New("the CONNECT was refused")

// login is what is known of a CONNECT until its CONNACK is written.
type login struct {
	clientID string // as the device sent it; mochi has one of its own
	assigned string // client id, where the device sent none
	refusal  refusal
	present  bool
}

func seconds(n uint32) time.Duration { return time.Duration(n) * time.Second }

// greeting is what mochi serves for a CONNECT. It ends after the CONNACK: the loop
// that follows would keep two goroutines and 16 KiB of stack for every idle device.
type greeting struct{ *conn }

func (greeting) Close() error { return nil } // the connection goes on

// greet has mochi answer CONNECT. What it learned lives on in c.client, for which
// conn.serve hands it the packets that come after.
func (c *conn) greet(p []byte) error {
	c.client = c.b.mochi.NewClient(c, c.kind, "", false)
	c.passed = p
	err := c.b.mochi.EstablishConnection(c.kind, greeting{c})
	if c.login != nil { // it did not come to OnSessionEstablished
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	c.b.mochi.Clients.Add(c.client)
	return nil
}

// adopt makes c.client what mochi made of the CONNECT, without the memory of the
// packet, whose strings point into it: the token among them.
func (c *conn) adopt(greeted *mqtt.Client) {
	props := greeted.Properties.Props
	c.client.ID = greeted.ID
	c.client.State.Keepalive = greeted.State.Keepalive
	c.client.State.Inflight.ResetReceiveQuota(receiveMaximum) // 0 refuses every PUBLISH, and by a code of its own
	c.client.Properties = mqtt.ClientProperties{ProtocolVersion: c.version, Props: packets.Properties{
		SessionExpiryInterval:  min(props.SessionExpiryInterval, uint32(c.b.o.SessionTTL.Seconds())),
		MaximumPacketSize:      props.MaximumPacketSize,
		RequestProblemInfo:     props.RequestProblemInfo,
		RequestProblemInfoFlag: props.RequestProblemInfoFlag,
	}}
	if props.AuthenticationMethod == authMethod {
		c.client.Properties.Props.AuthenticationMethod = authMethod
	}
}

// enter finds out who the device is and opens its session, or notes why not.
func (c *conn) enter(pk *packets.Packet) {
	ctx, cancel := context.WithTimeout(context.Background(), c.b.o.Query)
	defer cancel()
	r, refused := c.ask(ctx, pk)
	if refused == (refusal{}) {
		refused = c.b.gate.admit(c)
	}
	if refused == (refusal{}) {
		refused = c.open(r)
	}
	if refused == (refusal{}) {
		return
	}
	c.b.count.refused[refused.code].Add(1)
	if l, ok := limitOfRefusal[refused]; ok {
		c.b.count.limited[l].Add(1)
	}
	c.login.refusal = refused
}

// ask tells what the device wants, and whether it may.
func (c *conn) ask(ctx context.Context, pk *packets.Packet) (bridge.ConnectRequest, refusal) {
	var no bridge.ConnectRequest
	if !c.b.gate.rate(c.from) {
		return no, tooOftenFromAddress
	}
	if r := c.b.gate.full(); r != (refusal{}) {
		return no, r
	}
	if m := pk.Properties.AuthenticationMethod; m != "" && m != authMethod {
		return no, refusal{codeBadAuthMethod, "the authentication method is jwt"}
	}
	id := c.login.clientID
	switch {
	case len(id) > maxClientID:
		return no, refusal{codeClientID, "a client id has at most 256 bytes"}
	case id == "" && c.version != 5 && !pk.Connect.Clean: // 3.1.1 [MQTT-3.1.3-8]
		return no, refusal{codeClientID, "a session needs a client id"}
	case id == "":
		id = "auto-" + rand.Text()
		c.login.assigned = id // [MQTT-3.1.3-7]
	}
	claims, r := c.verify(ctx, tokenOf(pk))
	if r != (refusal{}) {
		return no, r
	}
	if !c.b.gate.rateUser(claims.User) {
		return no, tooOftenOfUser
	}
	c.device = bridge.Device{User: claims.User, ClientID: strings.Clone(id)} // not the packet's memory
	expiry := min(seconds(pk.Properties.SessionExpiryInterval), c.b.o.SessionTTL)
	if c.version != 5 && !pk.Connect.Clean {
		expiry = c.b.o.SessionTTL
	}
	return bridge.ConnectRequest{
		Device: c.device, Claims: claims, Clean: pk.Connect.Clean, Expiry: expiry,
		ReceiveMaximum: int(pk.Properties.ReceiveMaximum), Protocol: c.version, Transport: c.kind, Remote: c.remote,
	}, refusal{}
}

// open opens the session, once the database has room for one more.
func (c *conn) open(r bridge.ConnectRequest) refusal {
	if !c.b.logins.acquire(c.device.User) {
		c.b.gate.dismiss(c)
		return tooManyAtOnce
	}
	defer c.b.logins.release()
	ctx, cancel := context.WithTimeout(context.Background(), c.b.o.Query)
	defer cancel()
	session, present, err := c.b.o.Hub.Connect(ctx, r, c)
	if err != nil {
		c.b.gate.dismiss(c)
		c.b.log.Debug("a session could not be opened", "user", c.device.User, "error", err)
		return refusal{codeUnavailable, "the database is away"}
	}
	c.session, c.login.present = session, present
	return refusal{}
}

// connack makes mochi's CONNACK ours.
func (c *conn) connack(pk packets.Packet) packets.Packet {
	r := c.login.refusal
	if r == (refusal{}) {
		pk.SessionPresent = c.login.present
		pk.Properties.AssignedClientID = c.login.assigned
		pk.Properties.MaximumPacketSize = uint32(c.b.o.MaxPacketSize)
		pk.Properties.AuthenticationMethod = c.client.Properties.Props.AuthenticationMethod // [MQTT-4.12.0-5]
		return pk
	}
	c.tell(r.code) // for the WebSocket's close
	pk.ReasonCode = r.code
	if c.version != 5 {
		var ok bool
		if pk.ReasonCode, ok = r.v3(); !ok {
			pk.FixedHeader.Type = packets.Reserved // the version has none for it: mochi drops it
		}
	}
	pk.Properties = packets.Properties{ReasonString: fitting(r.reason, pk.Mods.MaxSize)}
	return pk
}

// refuseFault answers a CONNECT that is no good, p being as much of it as came, in
// mochi's place, which never sees it. A 3.1.1 device gets no CONNACK
// ([MQTT-3.1.4-1]), and neither does what is no MQTT. A version nobody knows is
// answered in the form of the newest ([MQTT-3.1.2-2]).
func (c *conn) refuseFault(p []byte, f *fault) {
	if len(p) == 0 || p[0]>>4 != packets.Connect {
		return
	}
	version := versionOf(p)
	switch {
	case version == 0:
		return
	case f.code == codeVersion && version == 3: // MQTT 3.1, whose CONNACK is that of 3.1.1
		p = []byte{packets.Connack << 4, 2, 0, 1}
	case f.code == codeVersion, version >= 5:
		p = []byte{packets.Connack << 4, 3, 0, f.code, 0}
	default:
		return
	}
	c.b.count.refused[f.code].Add(1)
	c.tell(f.code)
	_, _ = c.Write(p)
}
