package broker

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"strings"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/falconalert/falconbridge/bridge"
)

// maxClientID is the longest client id, in bytes.
const maxClientID = 256

// errRefused ends a connection whose CONNECT was answered with a refusal.
var errRefused = errors.New("the CONNECT was refused")

// login is what a CONNECT asks for, and what its CONNACK says.
type login struct {
	pk      *packets.Packet
	request bridge.ConnectRequest
	ack     packets.Properties
}

// connect answers CONNECT: the session is on disk before CONNACK promises it.
func (c *conn) connect(p []byte) error {
	var f *fault
	if err := checkConnect(p); errors.As(err, &f) {
		return c.refuseFault(p, f)
	}
	c.version = versionOf(p)
	pk, err := decode(c.version, p)
	if err != nil {
		return c.refuseFault(p, errMalformed)
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.b.o.Query)
	defer cancel()
	l := login{pk: &pk}
	if r := c.ask(ctx, &l); r != (refusal{}) {
		return c.refuse(r)
	}
	if r := c.b.gate.admit(c); r != (refusal{}) {
		return c.refuse(r)
	}
	session, present, err := c.open(l.request)
	switch {
	case errors.Is(err, errTurn):
		c.b.gate.dismiss(c)
		return c.refuse(tooManyAtOnce)
	case err != nil:
		c.b.gate.dismiss(c)
		c.b.log.Debug("a session could not be opened", "user", c.device.User, "error", err)
		return c.refuse(refusal{codeUnavailable, "the database is away"})
	}
	c.session = session
	if err := c.connack(packets.Packet{SessionPresent: present, Properties: l.ack}); err != nil {
		return err
	}
	c.b.count.logins.Add(1)
	session.Resume()
	return nil
}

// errTurn ends a CONNECT or SUBSCRIBE whose turn did not come.
var errTurn = errors.New("too many devices connect at once")

// open opens the session when it is this device's turn.
func (c *conn) open(r bridge.ConnectRequest) (*bridge.Conn, bool, error) {
	if !c.b.logins.take() {
		return nil, false, errTurn
	}
	defer c.b.logins.done()
	ctx, cancel := context.WithTimeout(context.Background(), c.b.o.Query)
	defer cancel()
	return c.b.o.Hub.Connect(ctx, r, c)
}

// ask finds out who the device is and what it wants. The zero refusal lets it in.
func (c *conn) ask(ctx context.Context, l *login) refusal {
	pk, props := l.pk, &l.pk.Properties
	c.maxPacket = int(props.MaximumPacketSize)
	c.terse = props.RequestProblemInfoFlag && props.RequestProblemInfo == 0
	if !c.b.gate.rate(c.from) {
		return tooOftenFromAddress
	}
	if r := c.b.gate.full(); r != (refusal{}) {
		return r
	}
	if props.AuthenticationMethod != "" {
		if props.AuthenticationMethod != authMethod {
			return refusal{codeBadAuthMethod, "the authentication method is jwt"}
		}
		c.jwt = true
		l.ack.AuthenticationMethod = authMethod // [MQTT-4.12.0-5]
	}
	id := pk.Connect.ClientIdentifier
	switch {
	case len(id) > maxClientID:
		return refusal{codeClientID, "a client id has at most 256 bytes"}
	case id == "" && c.version != 5 && !pk.Connect.Clean: // 3.1.1 [MQTT-3.1.3-8]
		return refusal{codeClientID, "a session needs a client id"}
	case id == "":
		id = "auto-" + rand.Text()
		l.ack.AssignedClientID = id // [MQTT-3.1.3-7]
	}
	claims, r := c.verify(ctx, tokenOf(pk))
	if r != (refusal{}) {
		return r
	}
	if !c.b.gate.rateUser(claims.User) {
		return tooOftenOfUser
	}
	c.device = bridge.Device{User: claims.User, ClientID: strings.Clone(id)} // not the packet's memory
	l.request = bridge.ConnectRequest{
		Device: c.device, Claims: claims, Clean: pk.Connect.Clean, Expiry: c.expiry(l),
		ReceiveMaximum: int(props.ReceiveMaximum), Protocol: c.version, Transport: c.kind, Remote: c.remote,
	}
	c.keep(l)
	l.ack.ReceiveMaximum = receiveMaximum
	l.ack.MaximumQos, l.ack.MaximumQosFlag = 1, true
	l.ack.MaximumPacketSize = uint32(c.b.o.MaxPacketSize)
	return refusal{}
}

// receiveMaximum is what CONNACK grants for PUBLISH packets, all of which are
// refused. As each is answered before the next is read, none can exceed it.
const receiveMaximum = 16

// expiry is how long the session outlives the connection. CONNACK tells where that
// is less than was asked ([MQTT-3.2.2-21]).
func (c *conn) expiry(l *login) time.Duration {
	if c.version != 5 {
		if l.pk.Connect.Clean {
			return 0
		}
		return c.b.o.SessionTTL
	}
	asked := time.Duration(l.pk.Properties.SessionExpiryInterval) * time.Second
	c.forgets = asked == 0
	if asked > c.b.o.SessionTTL {
		asked = c.b.o.SessionTTL
		l.ack.SessionExpiryInterval, l.ack.SessionExpiryIntervalFlag = uint32(asked/time.Second), true
	}
	return asked
}

// keep sets the keepalive. An MQTT 5 device is told a shorter one (§3.2.2.3.14);
// what 3.1.1 asked for stands, 0 being none.
func (c *conn) keep(l *login) {
	c.keepAlive = time.Duration(l.pk.Connect.Keepalive) * time.Second
	if c.version == 5 && (c.keepAlive == 0 || c.keepAlive > c.b.o.MaxKeepAlive) {
		c.keepAlive = c.b.o.MaxKeepAlive.Truncate(time.Second)
		l.ack.ServerKeepAlive, l.ack.ServerKeepAliveFlag = uint16(c.keepAlive/time.Second), true
	}
}

// refuseFault answers a CONNECT that is no good, p being as much of it as came. A
// 3.1.1 device gets no CONNACK ([MQTT-3.1.4-1]), and neither does what is no MQTT.
// A version nobody knows is answered in the form of the newest ([MQTT-3.1.2-2]).
func (c *conn) refuseFault(p []byte, f *fault) error {
	if len(p) == 0 || p[0]>>4 != packets.Connect {
		return f
	}
	switch version := versionOf(p); {
	case version == 0:
		return f
	case f.code == codeVersion && version == 3: // MQTT 3.1, whose CONNACK is that of 3.1.1
		c.version = 4
	case f.code == codeVersion, version >= 5:
		c.version = 5
	default:
		return f
	}
	return c.refuse(refusal{code: f.code})
}

// refuse answers CONNECT with r, where the version has a CONNACK for it.
func (c *conn) refuse(r refusal) error {
	c.b.count.refused[r.code].Add(1)
	if l, ok := limitOfRefusal[r]; ok {
		c.b.count.limited[l].Add(1)
	}
	c.told = r.code // for the WebSocket's close
	if c.version == 5 {
		return errors.Join(errRefused, c.connack(packets.Packet{ReasonCode: r.code,
			Properties: packets.Properties{ReasonString: r.reason}}))
	}
	code, ok := r.v3()
	if !ok {
		return errRefused
	}
	return errors.Join(errRefused, c.connack(packets.Packet{ReasonCode: code}))
}

// connack writes CONNACK. In the same breath as a granting one the connection
// counts as logged in: from then on it can be told why it ends.
func (c *conn) connack(pk packets.Packet) error {
	pk.FixedHeader.Type = packets.Connack
	pk.ProtocolVersion = c.version
	f := frames.get()
	defer frames.put(f)
	var err error
	if f.b, err = encode(f.b, pk, c.maxPacket); err != nil {
		return err
	}
	c.wmu.Lock()
	defer c.wmu.Unlock()
	if c.ending.Load() {
		return net.ErrClosed
	}
	if err := c.sendLocked(f.b, wsBinary, c.b.o.WriteTimeout); err != nil {
		return err
	}
	c.loggedIn = pk.ReasonCode == codeSuccess
	return nil
}
