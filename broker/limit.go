package broker

import (
	"errors"
	"os"
	"time"
)

// Limit is one of the limits on clients and users; metrics have it as a label.
type Limit uint8

// The limits.
const (
	LimitConnections           Limit = iota // logged in, in total
	LimitConnectionsPerUser                 // logged in
	LimitConnectionsPerAddress              // logged in
	LimitHandshakesPerAddress               // TLS handshakes a second
	LimitUpgradesPerAddress                 // WebSocket upgrades a second, including refused ones
	LimitConnectsPerAddress                 // CONNECTs a second
	LimitConnectsPerUser                    // CONNECTs a second
	LimitPending                            // sockets before login, in total and from one address
	LimitConnectTime                        // from accept to a complete CONNECT
	LimitPacketTime                         // from a packet's first byte to its last
	LimitPacketSize                         // bytes
	LimitPacketRate                         // control packets a second on one connection
	LimitFilters                            // topic filters in one SUBSCRIBE or UNSUBSCRIBE
	LimitSubscriptions                      // other users' topics on one connection
	LimitProxyHeader                        // not a limit but counted as one: malformed PROXY headers
	limits
)

var limitNames = [limits]string{
	"connections", "connections_per_user", "connections_per_address", "handshakes_per_address", "upgrades_per_address", "connects_per_address", "connects_per_user",
	"sockets_before_login", "connect_time", "packet_time", "packet_size", "packet_rate", "filters", "subscriptions", "proxy_header",
}

func (l Limit) String() string { return limitNames[l] }

// Refusals of a CONNECT over a limit.
var (
	tooManyConnections  = refusal{codeBusy, "too many connections"}
	tooManyOfUser       = refusal{codeQuota, "too many connections of this user"}
	tooManyFromAddress  = refusal{codeQuota, "too many connections from this address"}
	tooManyAtOnce       = refusal{codeBusy, "too many devices are connecting at the same time"}
	tooOftenFromAddress = refusal{codeConnectionRate, "this address connects too often"}
	tooOftenOfUser      = refusal{codeConnectionRate, "this user connects too often"}
)

var limitOfRefusal = map[refusal]Limit{
	tooManyConnections: LimitConnections, tooManyOfUser: LimitConnectionsPerUser, tooManyFromAddress: LimitConnectionsPerAddress,
	tooOftenFromAddress: LimitConnectsPerAddress, tooOftenOfUser: LimitConnectsPerUser,
}

// errFlood ends a connection that exceeds PacketRate.
var errFlood = &fault{codeTooFast, "too many packets per second"}

// limitOf returns the limit that ended the connection with err; ok is false if it was not a
// limit.
func (c *conn) limitOf(err error) (l Limit, ok bool) {
	switch {
	case errors.Is(err, errTooLarge), errors.Is(err, errMessage):
		return LimitPacketSize, true
	case errors.Is(err, errFlood):
		return LimitPacketRate, true
	case errors.Is(err, errProxy):
		return LimitProxyHeader, true
	case errors.Is(err, errTooManyPending):
		return LimitPending, true
	case errors.Is(err, errHandshakes):
		return LimitHandshakesPerAddress, true
	case c.ending.Load() || !errors.Is(err, os.ErrDeadlineExceeded):
		return 0, false
	case c.session == nil:
		return LimitConnectTime, true
	}
	return LimitPacketTime, c.midPacket
}

// burstTime is the time that PacketRate is averaged over. A device that has just connected
// may send as many packets at once as the rate allows in this time.
const burstTime = 10 * time.Second

// allowPacket counts one packet from the device, or one WebSocket ping, and reports
// whether it is within PacketRate. Callers do not count acknowledgements of messages that
// were sent: their number is up to us, not to the device.
//
// It is the generic cell rate algorithm, which needs eight bytes a connection: c.due is the
// time, since the broker started, at which all packets so far would have arrived if they
// came at exactly PacketRate.
func (c *conn) allowPacket() bool {
	perSecond := c.b.o.PacketRate
	if perSecond == 0 {
		return true
	}
	now := time.Since(c.b.started)
	if c.due = max(c.due, now); c.due-now > burstTime {
		return false
	}
	c.due += time.Duration(float64(time.Second) / perSecond)
	return true
}
