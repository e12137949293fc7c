package bridge

import "time"

// NodeTimeout is the time without a heartbeat after which a node counts as dead: its
// connections are not listed any more, and its sessions count as disconnected since its last
// heartbeat. It is three times the interval of heartbeats.
const NodeTimeout = 12 * time.Second

// Connection is a live connection, as its node has registered it in the cluster.
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
	Match     string // part of the user id or client id, ignoring case; "": any
	Node      string // "": any
	Transport string // "": any
	Protocol  byte   // 0: any
	BySince   bool   // ordered by Since, user id and client id; otherwise by user id and client id
	Reverse   bool
	After     *ConnectionCursor // nil: from the start
	Limit     int               // 1 to MaxPage
}

// ConnectionCursor is the position of a connection in the order of a ConnectionQuery. Since is
// used only with BySince.
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
	After  Device // only sessions that sort after it; zero: from the start
	Limit  int    // 1 to MaxPage
}

// SessionInfo is one session as an operator sees it.
type SessionInfo struct {
	Device   Device
	Node     string    // the node with its connection; "": not connected
	Lag      int64     // number of the user's seqs that it has not acknowledged; -1: not subscribed
	LastSeen time.Time // when it was last known to be connected; UTC
	Expires  time.Time // when it expires; zero while it is connected
}

// Order tells all nodes to end connections.
type Order struct {
	User     UserID
	ClientID string // "": all devices of the user
	Before   int64  // only connections with a lower generation
	Reason   EndReason
}

// EndReason is why the server disconnects a device. Package broker maps it to the reason code
// of the DISCONNECT.
type EndReason uint8

// The reasons.
const (
	EndNone      EndReason = iota // the device or the network ended it
	EndTakenOver                  // the same device connected again
	EndExpired                    // the token expired or was revoked
	EndSilent                     // no acknowledgement within the deadline
	EndSlow                       // an operator's wildcard subscription fell behind
	EndDrain                      // the node is shutting down
	EndAdmin                      // an operator ended it
	EndErased                     // the user was erased
	EndEpoch                      // the database was restored to an earlier state
)

// NodeInfo is one node, as of its last heartbeat.
type NodeInfo struct {
	Node      string
	StartedAt time.Time
	BeatAt    time.Time
	Figures   Figures
}

// Figures are the figures of one node since it was started.
type Figures struct {
	Connections int64 // open now
	Sent        int64 // messages given to links
	Copies      int64 // those of Sent for other subscriptions than to a user's own topic
	InFlight    int64 // messages on users' own topics that are not acknowledged now
	Acked       int64 // messages completed by a PUBACK
	Reads       int64 // reads of the log for delivery
	Oversize    int64 // messages not sent because of the device's Maximum Packet Size
	Refused     int64 // refused CONNECTs
}

// Revocation revokes one token by its jti, or all tokens of a user that were issued before a
// time or have no time of issue. Exactly one of ID and User is set.
type Revocation struct {
	ID      string // jti
	User    UserID
	Before  time.Time // with User; UTC, millisecond precision
	Expires time.Time // with ID: exp of the token; zero: unknown
	At      time.Time // when it was stored, by the database's clock; set by Cluster
}

// RevocationGrace is how much longer than its token a revocation is kept. It allows for clocks
// that differ, and for the 30 s by which exp may exceed the longest life and Before may be in
// the future.
const RevocationGrace = 2 * time.Minute
