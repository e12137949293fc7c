package broker

import (
	"errors"
	"os"
	"time"
)

// Limit is one of the limits on clients and users, as metrics name it.
type Limit uint8

// The limits.
const (
	LimitConnections           Limit = iota // logged in, in all
	LimitConnectionsPerUser                 // logged in, of one user
	LimitConnectionsPerAddress              // logged in, from one address
	LimitHandshakesPerAddress               // TLS handshakes a second
	LimitUpgradesPerAddress                 // WebSocket upgrades a second, refused ones included
	LimitConnectsPerAddress                 // CONNECTs a second
	LimitConnectsPerUser                    // CONNECTs a second
	LimitPending                            // sockets before login, in all and from one address
	LimitConnectTime                        // from accept to a whole CONNECT
	LimitPacketTime                         // from a packet's first byte to its last
	LimitPacketSize                         // bytes
	LimitPacketRate                         // control packets a second
	LimitFilters                            // of one SUBSCRIBE
	LimitSubscriptions                      // of one connection
	LimitProxyHeader                        // not a limit, but counted as one: a malformed PROXY header
	limits
)

var limitNames = [limits]string{
	"connections", "connections_per_user", "connections_per_address", "handshakes_per_address", "upgrades_per_address", "connects_per_address", "connects_per_user",
	"sockets_before_login", "connect_time", "packet_time", "packet_size", "packet_rate", "filters", "subscriptions", "proxy_header",
}

func (l Limit) String() string { return limitNames[l] }

// The refusals of a CONNECT past a limit.
var (
	tooManyConnections  = refusal{codeBusy, "too many connections"}
	tooManyOfUser       = refusal{codeQuota, "too many connections of this user"}
	tooManyFromAddress  = refusal{codeQuota, "too many connections from this address"}
	tooManyAtOnce       = refusal{codeBusy, "too many devices connect at once"}
	tooOftenFromAddress = refusal{codeConnectionRate, "too many connects from this address"}
	tooOftenOfUser      = refusal{codeConnectionRate, "too many connects of this user"}
)

var limitOfRefusal = map[refusal]Limit{
	tooManyConnections: LimitConnections, tooManyOfUser: LimitConnectionsPerUser, tooManyFromAddress: LimitConnectionsPerAddress,
	tooOftenFromAddress: LimitConnectsPerAddress, tooOftenOfUser: LimitConnectsPerUser,
}

// errFlood ends a connection that sends packets too fast.
var errFlood = &fault{codeTooFast, "too many packets a second"}

// limitOf returns the limit that ended the connection with err; ok is false where none
// did.
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

// burstTime is how long the packet rate is averaged over: a device that just connected
// may send this many seconds' worth at once.
const burstTime = 10 * time.Second

// allowPacket counts one packet from the device, or one WebSocket ping, and reports
// whether it is within PacketRate. The caller does not count acknowledgements of what
// the device was sent.
//
// It is the generic cell rate algorithm, which takes eight bytes a connection: c.due is
// when all packets so far would have arrived at exactly PacketRate, since the broker
// began.
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
