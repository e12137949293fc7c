package bridge

import (
	"context"
	"time"
)

// NodeTimeout is the silence after which a node counts as dead: its connections
// leave the cluster's view, and its sessions count as disconnected since its
// last beat. Three beats and a poll fit in 15 s.
const NodeTimeout = 12 * time.Second

// Connection is one live connection as the whole cluster sees it.
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

// ConnectionQuery selects a page of live connections, ordered by user id and
// client id.
type ConnectionQuery struct {
	User  UserID // "": everybody's
	After Device // only what sorts behind it; zero: from the start
	Limit int    // 1 to MaxPage
}

// Order ends connections, wherever they are.
type Order struct {
	User     UserID
	ClientID string // "": all of the user's
	Before   int64  // only connections with a lower generation
	Reason   EndReason
}

// NodeInfo is one node as its last beat describes it.
type NodeInfo struct {
	Node      string
	StartedAt time.Time
	BeatAt    time.Time
	Figures   Figures
}

// View is what a node learns from a poll.
type View struct {
	Orders []Order
	At     time.Time // the database's clock, for the next poll
}

// Cluster is what nodes know of each other through the database. Hints say the
// same at once; this is what holds when they are lost. Every call may fail with
// ErrUnavailable.
type Cluster interface {
	// Beat says that node lives and how it fares.
	Beat(ctx context.Context, node string, f Figures) error

	// Leave removes node with its connections, at the end of a drain.
	Leave(ctx context.Context, node string) error

	// Register stores which connections opened and closed on node since the last
	// call, first what closed; no connection is in both lists. The caller keeps the
	// lists short. Of a call that fails a part may be stored, and it is to be repeated.
	// Of one device only the row with the highest generation stays; for a lower one
	// on any node an order to end it is left.
	Register(ctx context.Context, node string, opened, closed []Connection) error

	// Poll returns the orders for node that were stored after since, and for safety
	// some of before. They may be applied twice.
	Poll(ctx context.Context, node string, since time.Time) (View, error)

	// End leaves o for every node. o.Before 0 means every connection there is now.
	End(ctx context.Context, o Order) error

	// Connections returns a page of the live connections of nodes that live.
	Connections(ctx context.Context, q ConnectionQuery) (page []Connection, more bool, err error)

	// Nodes returns the nodes that live.
	Nodes(ctx context.Context) ([]NodeInfo, error)

	// Revoke stores r. A later revocation of the same user replaces an earlier one.
	Revoke(ctx context.Context, r Revocation) error

	// Revocations returns at most limit of them, ordered by At, ID and User, which
	// sort behind after; zero: from the start.
	Revocations(ctx context.Context, after Revocation, limit int) ([]Revocation, error)

	// Revoked reports whether a stored revocation concerns a token with these claims.
	Revoked(ctx context.Context, c Claims) (bool, error)
}

// Pruner removes what is over, at most limit rows a call, and tells how many. All
// nodes may call it at once.
type Pruner interface {
	// ExpireSessions removes sessions past their expiry, those left open by a
	// dead node counting from its last beat.
	ExpireSessions(ctx context.Context, limit int) (int, error)

	// ExpireKeys removes idempotency keys older than KeyTTL.
	ExpireKeys(ctx context.Context, limit int) (int, error)

	// ExpireRevocations removes those of tokens that are not valid any more: their
	// exp, or where it is unknown life after they were stored, is RevocationGrace ago.
	// life 0: tokens may be valid for ever.
	ExpireRevocations(ctx context.Context, life time.Duration, limit int) (int, error)

	// Retain deletes notifications created before before, oldest first, and
	// keeps their users' counts exact. Cursors behind them jump by themselves.
	Retain(ctx context.Context, before time.Time, limit int) (int, error)

	// Continue takes one step, of at most limit rows, of what [History] began and
	// did not finish, of several users where there are, and returns how many steps.
	Continue(ctx context.Context, limit int) (int, error)
}
