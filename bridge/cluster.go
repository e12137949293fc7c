package bridge

import "time"

// NodeTimeout is the silence after which a node counts as dead: its connections are no
// longer listed, and its sessions count as disconnected since its last beat. It is three
// beats long.
const NodeTimeout = 12 * time.Second

// Connection is one live connection as its node registered it in the cluster.
type Connection struct {
	Device     Device
	Generation int64
	Node       string
	Protocol   byte   // 4 (MQTT 3.1.1) or 5
	Transport  string // "tcp", "tls", "ws", "wss"
	Remote     string // address
	Persistent bool
	Since      time.Time // UTC, millisecond precision
}

// ConnectionQuery selects a page of live connections.
type ConnectionQuery struct {
	User      UserID // "": every user's
	Match     string // part of the user id or the client id, upper or lower case alike; "": any
	Node      string // "": any
	Transport string // "": any
	Protocol  byte   // 0: any
	BySince   bool   // ordered by Since, user id and client id; otherwise by user id and client id
	Reverse   bool
	After     *ConnectionCursor // nil: from the start
	Limit     int               // 1 to MaxPage
}

// ConnectionCursor is a connection's place in the order of a ConnectionQuery. Since counts
// only with BySince.
type ConnectionCursor struct {
	Device Device
	Since  time.Time
}

// SessionQuery selects a page of sessions, ordered by user id and client id.
type SessionQuery struct {
	User   UserID // "": every user's
	Match  string // as in ConnectionQuery
	Absent bool   // only those without a connection
	Behind bool   // only those that have not acknowledged everything
	After  Device // only sessions that sort behind it; zero: from the start
	Limit  int    // 1 to MaxPage
}

// SessionInfo is one session as an operator sees it.
type SessionInfo struct {
	Device   Device
	Node     string    // the node of its open connection; "": it is absent
	Lag      int64     // seqs of its user that it has not acknowledged; -1: it is not subscribed
	LastSeen time.Time // when it was connected last as far as is known; UTC
	Expires  time.Time // when an absent one ends; zero while it is connected
}

// Order ends connections, on whatever node they are.
type Order struct {
	User     UserID
	ClientID string // "": all of the user's
	Before   int64  // only connections with a lower generation
	Reason   EndReason
}

// EndReason is why the server disconnects a device.
type EndReason uint8

// The reasons. broker maps each to its MQTT 5 reason code.
const (
	EndNone        EndReason = iota // the device or the network ended it
	EndTakenOver                    // the same device connected again
	EndExpired                      // the token expired or was revoked
	EndSilent                       // no acknowledgement within the deadline
	EndSlow                         // an operator's subscription fell behind
	EndDrain                        // the node stops
	EndAdmin                        // an operator ended it
	EndErased                       // the user was erased
	EndEpoch                        // the database was restored: cursors start again
	EndUnavailable                  // the server cannot keep the session
)

// NodeInfo is one node as its last beat describes it.
type NodeInfo struct {
	Node      string
	StartedAt time.Time
	BeatAt    time.Time
	Figures   Figures
}

// Figures are the hub's counters since the start.
type Figures struct {
	Connections int64 // open now
	Sent        int64 // messages handed to links
	Copies      int64 // of Sent: to other subscriptions than the one to a user's own topic
	InFlight    int64 // sent to users' own devices and not acknowledged now
	Acked       int64 // completed by PUBACK
	Reads       int64 // reads of the log by pumps
	Oversize    int64 // left out: over the device's Maximum Packet Size
	Refused     int64 // CONNECTs that were refused
}

// Revocation revokes one token, by its jti, or a user's tokens that were issued before a
// time or have no time of issue. Exactly one of ID and User is set.
type Revocation struct {
	ID      string // jti
	User    UserID
	Before  time.Time // with User; UTC, millisecond precision
	Expires time.Time // with ID: exp of the token; zero: not known
	At      time.Time // when it was stored, by the database's clock; set by Cluster
}

// RevocationGrace is how much longer than its token a revocation is kept. It covers the
// 30 s by which exp may exceed the longest life and Before may be ahead, and clocks that
// differ.
const RevocationGrace = 2 * time.Minute
