package delivery

import (
	"context"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// Log is what the engine reads of one user's notifications. A seq that can be read
// has every lower one committed, see [bridge.Log]: a cursor that passes a row it has
// read is safe.
type Log interface {
	// After returns at most limit deliverable notifications of u with Seq >
	// after, oldest first: neither muted, nor deleted, and none at all while u
	// is muted. An empty slice means u is up to date.
	After(ctx context.Context, u bridge.UserID, after bridge.Seq, limit int) ([]bridge.Notification, error)

	// Head returns where u's log ends, from one snapshot.
	Head(ctx context.Context, u bridge.UserID) (bridge.Head, error)

	// Skip returns where a replay of at most limit deliverable notifications
	// after a cursor starts: after itself where no more are missed, else the seq
	// before the newest limit ones.
	Skip(ctx context.Context, u bridge.UserID, after bridge.Seq, limit int) (bridge.Seq, error)

	// Starts returns where subscriptions to each of users start, in one statement:
	// at the end of the log, or where since is not nil at the Skip of since, bounded
	// by the end. A user without a log has no entry.
	Starts(ctx context.Context, users []bridge.UserID, since *bridge.Seq, limit int) (map[bridge.UserID]bridge.Start, error)
}

// Feed reads across users, for wildcard subscribers, the relay and the sweep.
// The order over all users is not that of ids, which become visible out of
// order; within one user it is that of seqs.
type Feed interface {
	// Now is the position of this moment.
	Now(ctx context.Context) (bridge.Position, error)

	// Since reads at most limit notifications that became visible after p and returns
	// those that are deliverable, and the position behind all it read. more reports
	// that it stopped at limit; otherwise nothing else is new.
	Since(ctx context.Context, p bridge.Position, limit int) (items []bridge.Notification, next bridge.Position, more bool, err error)

	// Changed reads at most limit notifications that became visible after p, and about
	// as many that it may have read before, and returns their users, each with the
	// last seq, where one is deliverable. more reports that it stopped at limit. Its
	// positions are its own: of Since and Now it takes those, Since takes none of its.
	Changed(ctx context.Context, p bridge.Position, limit int) (changes []bridge.Change, next bridge.Position, more bool, err error)

	// Retained returns the retained message of at most limit users with an id
	// greater than after, ordered by user id.
	Retained(ctx context.Context, after bridge.UserID, limit int) ([]bridge.Notification, error)
}

// Sessions is where persistent devices are kept. A call returns when its change
// is on disk, so that CONNACK and SUBACK may promise it. Every call may fail
// with ErrUnavailable.
type Sessions interface {
	// Open finds or makes the session of a device, under a new generation. With
	// Clean or without Expiry nothing is left in the store of what was before,
	// and where Expiry is 0 nothing new is stored (Generation is then still
	// greater than that of every earlier Open).
	// Clean false with Expiry 0 resumes a stored session, which ends with the
	// connection.
	Open(ctx context.Context, o bridge.OpenSession) (bridge.Session, error)

	// Subscribe stores s for the device and returns the user's head from the
	// same snapshot. Where the device was not subscribed before, its cursor is
	// set to head.Last, or to since where that is not nil (bounded by head.Last).
	// Where it was, the cursor stays, unless since is given.
	// stale is true, and nothing changed, where the generation is not the
	// current one.
	Subscribe(ctx context.Context, d bridge.Device, gen int64, s bridge.Subscription, since *bridge.Seq) (head bridge.Head, stale bool, err error)

	// Unsubscribe clears the subscription.
	Unsubscribe(ctx context.Context, d bridge.Device, gen int64) error

	// Advance moves many cursors in one statement. Entries with an old
	// generation, or a lower seq, change nothing.
	Advance(ctx context.Context, as []bridge.Advance) error
}

// Cluster is what nodes know of each other through the database. Hints say the
// same at once; this is what holds when they are lost. Every call may fail with
// ErrUnavailable.
type Cluster interface {
	// Beat says that node lives and how it fares.
	Beat(ctx context.Context, node string, f bridge.Figures) error

	// Leave removes node with its connections, at the end of a drain.
	Leave(ctx context.Context, node string) error

	// Register stores which connections opened and closed on node since the last
	// call, first what closed; no connection is in both lists. The caller keeps the
	// lists short. Of a call that fails a part may be stored, and it is to be repeated.
	// Of one device only the row with the highest generation stays; for a lower one
	// on any node an order to end it is left.
	Register(ctx context.Context, node string, opened, closed []bridge.Connection) error

	// Poll returns the orders for node that were stored after since, and for safety
	// some of before: they may be applied twice. now is the database's clock, for the
	// next poll.
	Poll(ctx context.Context, node string, since time.Time) (orders []bridge.Order, now time.Time, err error)

	// Revocations returns at most limit of them, ordered by At, ID and User, which
	// sort behind after; zero: from the start.
	Revocations(ctx context.Context, after bridge.Revocation, limit int) ([]bridge.Revocation, error)

	// Revoked reports whether a stored revocation concerns a token with these claims.
	Revoked(ctx context.Context, c bridge.Claims) (bool, error)
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

	// Continue takes one step, of at most limit rows, of what [bridge.History] began and
	// did not finish, of several users where there are, and returns how many steps.
	Continue(ctx context.Context, limit int) (int, error)
}
