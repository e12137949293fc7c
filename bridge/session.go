package bridge

import "time"

// Device names one device of a user. Client ids of different users never meet.
type Device struct {
	User     UserID
	ClientID string // as the client sent it, or as the server assigned it; 1 to 256 bytes
}

// MaxSessions is how many persistent devices a user may have; the one unused for
// longest goes when one more comes.
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
	Node   string        // this node, see Sessions.Beat
	Clean  bool          // forget what was stored
	Expiry time.Duration // how long to keep the place after the connection ends; 0: not at all
}

// Session is a device's place in its user's log.
type Session struct {
	// Generation fences: it grows with every Open of any device, and a write
	// that carries an older one changes nothing.
	Generation int64
	Present    bool          // the session existed and was not clean
	Subscribed *Subscription // nil: not subscribed
	From       Seq           // the first subscription started after this seq
	Acked      Seq           // acknowledged up to here, contiguously
	// Sent is up to where a former connection may have sent: resends up to here
	// carry DUP.
	Sent Seq
	// Shared is true where the session was open: until its node hears of this Open,
	// a former connection may go on sending, past Sent.
	Shared bool
}

// Advance moves a session's cursor.
type Advance struct {
	Device     Device
	Generation int64
	Acked      Seq // never moves backwards
	Sent       Seq // what was handed to the connection so far; -1: unknown, a Shared session
	From       Seq // a jump (the replay cap): seqs up to here were never sent; 0: no jump
	Closed     bool
	Expiry     time.Duration // with Closed: how long the place is kept from now; 0 removes it
}

// Delivery is one device's state for one notification.
type Delivery struct {
	ClientID     string `json:"client_id"`
	Acknowledged bool   `json:"acknowledged"`
}
