package delivery

import (
	"context"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// LogReader reads the notifications of one user, which [bridge.Log] appends. If a seq can be
// read, every lower seq of the user is committed, so a cursor may pass a row that was read.
// Every call may fail with ErrUnavailable.
type LogReader interface {
	// After returns at most limit deliverable notifications of u with Seq > after, oldest
	// first. Deliverable ones are not muted, deleted or expired, and there are none while u
	// mutes everything. An empty slice means that there are no more.
	After(ctx context.Context, u bridge.UserID, after bridge.Seq, limit int) ([]bridge.Notification, error)

	// Head returns the end of u's log and its retained message, from one snapshot.
	Head(ctx context.Context, u bridge.UserID) (bridge.Head, error)

	// Skip returns the cursor from which a replay of at most limit deliverable notifications
	// starts: after itself if there are no more than limit after it, else the seq before the
	// newest limit ones.
	Skip(ctx context.Context, u bridge.UserID, after bridge.Seq, limit int) (bridge.Seq, error)

	// Starts returns where a subscription to the topic of each of users starts, in one
	// statement. Without since, a subscription starts at the end of the log. With since, it
	// starts where Skip says for since, but not past the end. A user without a log has no
	// entry.
	Starts(ctx context.Context, users []bridge.UserID, since *bridge.Seq, limit int) (map[bridge.UserID]bridge.Start, error)
}

// States reads the states of inboxes for state messages. Every call may fail with
// ErrUnavailable.
type States interface {
	// Changes returns what changed of u's inbox since a rev, see [bridge.State].
	Changes(ctx context.Context, u bridge.UserID, since bridge.Rev) (bridge.State, error)

	// Revs returns the revs of users, in one statement. A user without an inbox has no entry.
	Revs(ctx context.Context, users []bridge.UserID) (map[bridge.UserID]bridge.Rev, error)
}

// Feed reads the notifications of all users in one order, for wildcard subscriptions and the
// sweep. It is not the order of ids, because ids become visible out of order. In the order
// of the feed, nothing appears before a position that was returned, even if a transaction
// commits late. The notifications of each user are in the order of their seqs. Every call
// may fail with ErrUnavailable.
type Feed interface {
	// Now returns the current end of the feed.
	Now(ctx context.Context) (bridge.Position, error)

	// Since reads at most limit notifications after p. It returns the deliverable ones, and
	// the position after everything that it read. more reports that it stopped at limit;
	// otherwise next is the end of the feed.
	Since(ctx context.Context, p bridge.Position, limit int) (items []bridge.Notification, next bridge.Position, more bool, err error)

	// Changed reads at most limit notifications after p; it may also re-read up to limit
	// earlier ones. It returns the users of the deliverable ones, each with the user's last
	// seq. more reports that it stopped at limit. p may be a position from Now, Since or
	// Changed, but Since does not accept one from Changed.
	Changed(ctx context.Context, p bridge.Position, limit int) (changes []bridge.Change, next bridge.Position, more bool, err error)

	// Retained returns the retained messages of at most limit users with ids greater than
	// after, ordered by user id.
	Retained(ctx context.Context, after bridge.UserID, limit int) ([]bridge.Notification, error)
}

// Sessions stores the sessions of persistent devices. A call returns when its change is on
// disk, so that the CONNACK or SUBACK can promise it. Every call may fail with
// ErrUnavailable.
type Sessions interface {
	// Open resumes or creates the session of a device, with a new generation that is greater
	// than that of every earlier Open. With Clean, a stored session is removed first. With
	// Expiry 0 no session is created; but without Clean, a stored session is resumed, and
	// ends with the connection.
	Open(ctx context.Context, o bridge.OpenSession) (bridge.Session, error)

	// Subscribe stores the subscription s of the device and returns the user's head from the
	// same snapshot. With since, the cursor is set to since, but not past head.Last. Without
	// since, the cursor of a device that was not subscribed is set to head.Last. stale
	// reports that gen is not the current generation, and that nothing was changed.
	Subscribe(ctx context.Context, d bridge.Device, gen int64, s bridge.Subscription, since *bridge.Seq) (head bridge.Head, stale bool, err error)

	// Unsubscribe removes the subscription, unless gen is not the current generation.
	Unsubscribe(ctx context.Context, d bridge.Device, gen int64) error

	// Advance writes cursors in one statement. An entry with an old generation has no effect,
	// and a cursor never moves backwards.
	Advance(ctx context.Context, advances []bridge.Advance) error
}

// Membership is a node's part in the cluster: through the database, the node tells the others
// what it does, and learns what it has to do. ([bridge.Cluster] is the operators' view.)
// Hints announce most of this earlier, but may be lost; what is in the database counts. Every
// call may fail with ErrUnavailable.
type Membership interface {
	// Beat stores a heartbeat of node, with its figures.
	Beat(ctx context.Context, node string, f bridge.Figures) error

	// Leave removes node and its connections. It is called when the hub's Run ends.
	Leave(ctx context.Context, node string) error

	// Register stores which connections opened and closed on node since the last call. No
	// connection is in both lists, and the caller keeps them short. A call that fails may
	// have stored a part of the lists; the caller repeats it. If a device has several
	// connections, only the one with the highest generation is kept. Register stores orders
	// to end the others, whichever nodes they are on.
	Register(ctx context.Context, node string, opened, closed []bridge.Connection) error

	// Poll returns the orders that were stored after since and concern connections of node.
	// It may return earlier ones again, so applying an order twice must be harmless. now is
	// the time by the database's clock, for the next poll.
	Poll(ctx context.Context, node string, since time.Time) (orders []bridge.Order, now time.Time, err error)

	// Revocations returns at most limit revocations that sort after cursor, ordered by At, ID
	// and User. The zero Revocation sorts before all.
	Revocations(ctx context.Context, cursor bridge.Revocation, limit int) ([]bridge.Revocation, error)

	// Revoked reports whether a stored revocation concerns a token with these claims.
	Revoked(ctx context.Context, c bridge.Claims) (bool, error)
}

// Pruner removes old rows, at most limit in one call, and returns how many. All nodes may call
// it at the same time. Every call may fail with ErrUnavailable.
type Pruner interface {
	// ExpireSessions removes expired sessions. A session that a dead node left open counts as
	// disconnected since the node's last heartbeat.
	ExpireSessions(ctx context.Context, limit int) (int, error)

	// ExpirePastSessions removes the records of sessions that ended 30 days ago.
	ExpirePastSessions(ctx context.Context, limit int) (int, error)

	// ExpireKeys removes idempotency keys older than KeyTTL.
	ExpireKeys(ctx context.Context, limit int) (int, error)

	// ExpireRevocations removes revocations RevocationGrace after the exp of their tokens. If
	// the exp of a token is unknown, the time at which the revocation was stored plus life is
	// used instead; if life is 0, such a revocation is never removed.
	ExpireRevocations(ctx context.Context, life time.Duration, limit int) (int, error)

	// ExpireNotifications removes expired notifications, which no read returns any more.
	// users are the users whose inboxes it changed.
	ExpireNotifications(ctx context.Context, limit int) (n int, users []bridge.UserID, err error)

	// ExpireTombstones removes the tombstones of notifications that were removed 30 days ago.
	ExpireTombstones(ctx context.Context, limit int) (int, error)

	// ExpireAudit removes entries of the audit log older than age.
	ExpireAudit(ctx context.Context, age time.Duration, limit int) (int, error)

	// Retain deletes notifications created before cutoff, oldest first, and keeps the counts
	// of their users exact. Cursors need no change, because pumps read past deleted rows.
	Retain(ctx context.Context, cutoff time.Time, limit int) (int, error)

	// Continue continues changes that [bridge.History] began and did not finish, possibly of
	// several users, in steps of at most limit rows. It returns how many steps it took.
	Continue(ctx context.Context, limit int) (int, error)
}
