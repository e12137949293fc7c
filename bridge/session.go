package bridge

import "time"

// Device names one device of a user. Client ids of different users never meet.
type Device struct {
	User     UserID
	ClientID string // as the client sent it, or as the server assigned it; 1 to 256 bytes
}

// MaxSessions is how many persistent devices a user may have. One more replaces the
// session that has been unused for the longest time. The other limits of devices per
// user are [MaxRegistrations] and --max-connections-per-user; docs/architecture.md lists
// all three.
const MaxSessions = 32

// Subscription is how a device receives its own topic.
type Subscription struct {
	QoS               byte // 0 or 1
	RetainAsPublished bool // MQTT 5 §3.8.3.1
	ID                int  // subscription identifier, 0: none
}

// OpenSession is what a CONNECT asks of the session store.
type OpenSession struct {
	Device Device
	Node   string        // this node, so that the session counts as disconnected once the node is dead
	Clean  bool          // remove the stored session first
	Expiry time.Duration // how long to keep the session after the connection ends; 0: not at all
}

// Session is a device's cursor into its user's log, with its subscription.
type Session struct {
	// Generation is a fencing token: it grows with every Open of any device, and a write
	// with an older one changes nothing.
	Generation int64
	Present    bool          // the session existed and was not clean
	Subscribed *Subscription // nil: not subscribed
	From       Seq           // the first subscription started after this seq
	Acked      Seq           // acknowledged up to here, contiguously
	// Sent is the highest seq that a former connection may have sent. Seqs up to here are
	// sent with DUP.
	Sent Seq
	// Shared is true where the session was open: a former connection may go on sending,
	// past Sent, until its node hears of this Open.
	Shared bool
}

// Advance moves a session's cursor.
type Advance struct {
	Device     Device
	Generation int64
	Acked      Seq    // never moves backwards
	Sent       Seq    // what was handed to the connection so far; -1: unknown, a Shared session
	From       Seq    // a jump (the replay cap): seqs up to here were never sent; 0: no jump
	Skipped    []Skip // what Acked passes that the device did not acknowledge, besides the jump
	Closed     bool
	Expiry     time.Duration // with Closed: how long the session is kept from now; 0 removes it
}

// Skip is a range of seqs, above Above up to UpTo, that a connection passed without an
// acknowledgement.
type Skip struct {
	Above, UpTo Seq
	Why         SkipReason
}

// SkipReason is why a connection skipped a range of seqs.
type SkipReason byte

// The reasons a connection knows. No read returns what is muted, deleted, superseded or
// expired, so it cannot distinguish these.
const (
	SkipUnread   SkipReason = 'g' // the log was read past them, and returned none
	SkipTooLarge SkipReason = 's' // past the device's Maximum Packet Size
)

// MaxSkips is how many skipped ranges are kept of a session: the last ones.
const MaxSkips = 64

// Ack is what one connection acknowledged: the seqs above From up to To.
type Ack struct {
	Device     Device
	Generation int64 // of the connection
	From, To   Seq
}

// Delivery is one device's state for one notification.
type Delivery struct {
	ClientID       string
	Acknowledged   bool
	AcknowledgedAt time.Time // at the latest; zero: not known, or not acknowledged
}
