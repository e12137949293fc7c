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
	"github.com/falconalert/falconbridge/bridge/delivery"
)

// errRefused ends a connection whose CONNACK was a refusal.
var errRefused = errors.New("the CONNECT was refused")

// login is the state of a CONNECT until its CONNACK is written.
type login struct {
	clientID       string  // as the device sent it; mochi gets a unique one
	assigned       string  // Assigned Client Identifier; "": the device sent one
	refusal        refusal // zero: the CONNECT is accepted
	sessionPresent bool
}

func seconds(n uint32) time.Duration { return time.Duration(n) * time.Second }

// handshaking is the connection that mochi's EstablishConnection gets. For mochi it ends
// after the CONNECT: [conn.Read] returns io.EOF and Close has no effect. Otherwise mochi
// would go on to its read loop, which costs two goroutines and 16 KiB of stack for every
// idle device.
type handshaking struct{ *conn }

func (handshaking) Close() error { return nil } // the connection continues

// handshake has mochi process the CONNECT p and write the CONNACK. The client that mochi
// makes for it ends at once. Its place is taken by c.client, see makeClient, under which the
// packets that follow are processed. handshake fails with errRefused if the login was
// refused.
func (c *conn) handshake(p []byte) error {
	c.unread = p
	err := c.b.mochi.EstablishConnection(c.kind, handshaking{c})
	if c.login != nil { // OnSessionEstablished was not reached
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	c.b.mochi.Clients.Add(c.client)
	return nil
}

// noAliases is shared by all clients, which saves each connection two maps. Topic aliases
// are not offered, and strict refuses those that are sent anyway.
var noAliases = mqtt.NewTopicAliases(0)

// makeClient makes c.client from cl, the client of the handshake. It copies single fields,
// because strings of a decoded packet reference its whole buffer, token included, which
// would then stay in memory as long as the connection.
func (c *conn) makeClient(cl *mqtt.Client) {
	props := cl.Properties.Props
	c.client = c.b.mochi.NewClient(c, c.kind, cl.ID, false)
	c.client.State.Keepalive = cl.State.Keepalive
	c.client.State.TopicAliases = noAliases
	c.client.State.Inflight.ResetReceiveQuota(receiveMaximum) // otherwise 0, and a PUBLISH would fail with 0x93
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

// logIn checks the CONNECT and opens the session, or records the refusal in c.login.
func (c *conn) logIn(pk *packets.Packet) {
	ctx, cancel := context.WithTimeout(context.Background(), c.b.o.Query)
	defer cancel()
	r, refused := c.checkLogin(ctx, pk)
	if refused == (refusal{}) {
		refused = c.b.admission.admit(c)
	}
	var cause error
	if refused == (refusal{}) {
		refused, cause = c.openSession(r)
	}
	if refused == (refusal{}) {
		return
	}
	if why := refused; cause == nil {
		cause = &why
	}
	c.debug("a login was refused", refused.code, cause)
	c.b.count.refused[refused.code].Add(1)
	if l, ok := limitOfRefusal[refused]; ok {
		c.b.count.limited[l].Add(1)
	}
	c.login.refusal = refused
}

// checkLogin checks the CONNECT, with the cheap checks first, and returns the request to
// the hub. It sets c.device.
func (c *conn) checkLogin(ctx context.Context, pk *packets.Packet) (delivery.ConnectRequest, refusal) {
	var none delivery.ConnectRequest
	if !c.b.admission.connects.Allow(c.from) {
		return none, tooOftenFromAddress
	}
	if r := c.b.admission.full(); r != (refusal{}) {
		return none, r
	}
	if m := pk.Properties.AuthenticationMethod; m != "" && m != authMethod {
		return none, refusal{codeBadAuthMethod, "the authentication method must be jwt"}
	}
	id := c.login.clientID
	switch {
	case len(id) > bridge.MaxClientID:
		return none, refusal{codeClientID, "a client id must have at most 256 bytes"}
	case id == "" && c.version != 5 && !pk.Connect.Clean: // 3.1.1 [MQTT-3.1.3-8]
		return none, refusal{codeClientID, "a persistent session needs a client id"}
	case id == "":
		id = "auto-" + rand.Text()
		c.login.assigned = id // [MQTT-3.1.3-7]
	}
	claims, r := c.verify(ctx, tokenOf(pk))
	if r != (refusal{}) {
		return none, r
	}
	if !c.b.admission.connectsOfUser.Allow(claims.User) {
		return none, tooOftenOfUser
	}
	c.device = bridge.Device{User: claims.User, ClientID: strings.Clone(id)} // id references the packet's buffer
	expiry := min(seconds(pk.Properties.SessionExpiryInterval), c.b.o.SessionTTL)
	if c.version != 5 && !pk.Connect.Clean {
		expiry = c.b.o.SessionTTL
	}
	return delivery.ConnectRequest{
		Device: c.device, Claims: claims, Clean: pk.Connect.Clean, Expiry: expiry,
		ReceiveMaximum: int(pk.Properties.ReceiveMaximum), Protocol: c.version, Transport: c.kind, Remote: c.remote,
	}, refusal{}
}

// openSession waits until it may use the database and opens the session. With a refusal it
// returns what caused it, if the reason does not say so.
func (c *conn) openSession(r delivery.ConnectRequest) (refusal, error) {
	if !c.b.logins.acquire(c.device.User) {
		c.b.admission.release(c)
		return tooManyAtOnce, nil
	}
	defer c.b.logins.release()
	ctx, cancel := context.WithTimeout(context.Background(), c.b.o.Query)
	defer cancel()
	session, present, err := c.b.o.Hub.Connect(ctx, r, c)
	if err != nil {
		c.b.admission.release(c)
		return refusal{codeUnavailable, "the database is unavailable"}, err
	}
	c.session, c.login.sessionPresent = session, present
	return refusal{}, nil
}

// connack completes mochi's CONNACK, or makes it a refusal.
func (c *conn) connack(pk packets.Packet) packets.Packet {
	r := c.login.refusal
	if r == (refusal{}) {
		pk.SessionPresent = c.login.sessionPresent
		pk.Properties.AssignedClientID = c.login.assigned
		pk.Properties.MaximumPacketSize = uint32(c.b.o.MaxPacketSize)
		pk.Properties.AuthenticationMethod = c.client.Properties.Props.AuthenticationMethod // [MQTT-4.12.0-5]
		return pk
	}
	c.recordCode(r.code) // for the status of the WebSocket's close frame
	pk.ReasonCode = r.code
	if c.version != 5 {
		var ok bool
		if pk.ReasonCode, ok = r.v3(); !ok {
			pk.FixedHeader.Type = packets.Reserved // 3.1.1 has no code for it, see v3; mochi does not write a reserved type
		}
	}
	pk.Properties = packets.Properties{ReasonString: fitReason(r.reason, pk.Mods.MaxSize)}
	return pk
}

// bridgeBit is set in the protocol level that a mosquitto bridge tries first, 0x83 or 0x84.
// When the refusal has the format of that version, the bridge tries again without the bit.
const bridgeBit = 0x80

// refuseFault writes the CONNACK for a malformed CONNECT, which mochi never sees; p is as
// much of it as was received. The format follows from the version in p. A 3.1.1 device gets
// no CONNACK ([MQTT-3.1.4-1]), and neither does a client that does not speak MQTT. To an
// unknown version the response has the format of MQTT 5 ([MQTT-3.1.2-2]).
func (c *conn) refuseFault(p []byte, f *fault) {
	if len(p) == 0 || p[0]>>4 != packets.Connect {
		return
	}
	version := versionOf(p)
	switch {
	case version == 0:
		return
	case f.code == codeVersion && (version == 3 || version == 3|bridgeBit || version == 4|bridgeBit): // MQTT 3.1 has the CONNACK of 3.1.1
		p = []byte{packets.Connack << 4, 2, 0, 1}
	case f.code == codeVersion, version >= 5:
		p = []byte{packets.Connack << 4, 3, 0, f.code, 0}
	default:
		return
	}
	c.b.count.refused[f.code].Add(1)
	c.recordCode(f.code)
	_, _ = c.Write(p)
}
