package bridge

import "time"

// Device identifies a device. The same client id with another user is another device.
type Device struct {
	User     UserID
	ClientID string // as the client sent it, or as the server assigned it; 1 to 256 bytes
}

// MaxSessions is how many persistent devices a user may have. One more replaces the
// session that has been unused for the longest time. The other limits of devices per
// user are [MaxRegistrations] and --max-connections-per-user; docs/architecture.md lists
// all three.
const MaxSessions = 32

// DefaultConnectionsPerUser is how many devices of a user may be connected to one node, unless
// --max-connections-per-user says otherwise.
const DefaultConnectionsPerUser = 16

// Subscription is how a device receives its own topic.
type Subscription struct {
	QoS               byte // 0 or 1
	RetainAsPublished bool // MQTT 5 §3.8.3.1
	ID                int  // subscription identifier, 0: none
}

// OpenSession is the request of a CONNECT to the session store.
type OpenSession struct {
	Device Device
	Node   string        // the node of the connection; when it is dead the session counts as disconnected
	Clean  bool          // remove the stored session first
	Expiry time.Duration // how long the session is kept after the connection; 0: not at all
}

// Session is a device's cursor into its user's log, and its subscription.
type Session struct {
	// Generation is a fencing token: it increases with every Open of any device, and a write
	// with an older one has no effect.
	Generation int64
	Present    bool          // the session existed and was resumed
	Subscribed *Subscription // nil: not subscribed
	From       Seq           // the first subscription started after this seq
	Acked      Seq           // every seq up to it is acknowledged or was skipped
	// Sent is the highest seq that an earlier connection may have sent. Seqs up to it are sent
	// with DUP.
	Sent Seq
	// Shared reports that the session was open: until its node hears of this Open, the earlier
	// connection may continue to send, beyond Sent.
	Shared bool
}

// Advance moves a session's cursor.
type Advance struct {
	Device     Device
	Generation int64
	Acked      Seq           // never moves backwards
	Sent       Seq           // the highest seq that was sent; -1: unknown, because the session is Shared
	From       Seq           // seqs up to it were skipped because of the replay cap; 0: none
	Skipped    []Skip        // other seqs up to Acked that the device has not acknowledged
	Closed     bool          // the connection has ended
	Expiry     time.Duration // with Closed: how long the session is kept from now; 0 removes it
}

// Skip is a range of seqs, from Above+1 to UpTo, that a cursor has passed without an
// acknowledgement.
type Skip struct {
	Above, UpTo Seq
	Why         SkipReason
}

// SkipReason is why a connection skipped a range of seqs.
type SkipReason byte

// The reasons that a connection knows. It cannot distinguish muted, deleted, superseded and
// expired notifications, because no read returns them.
const (
	SkipUnread   SkipReason = 'g' // the read of the log did not return them
	SkipTooLarge SkipReason = 's' // over the device's Maximum Packet Size
)

// MaxSkips is how many skipped ranges of a session are kept, the last ones.
const MaxSkips = 64

// Ack is a range of seqs that one connection has acknowledged, from From+1 to To.
type Ack struct {
	Device     Device
	Generation int64 // of the connection
	From, To   Seq
}

// Delivery is the state of one notification at one device.
type Delivery struct {
	ClientID       string
	Acknowledged   bool
	AcknowledgedAt time.Time // at the latest; zero: unknown, or not acknowledged
}
