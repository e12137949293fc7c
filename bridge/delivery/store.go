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

// States reads the state of inboxes, for state messages. Every call may fail with
// ErrUnavailable.
type States interface {
	// Changes returns what changed of u's inbox since a rev, see [bridge.State].
	Changes(ctx context.Context, u bridge.UserID, since bridge.Rev) (bridge.State, error)

	// Revs returns the rev of each of users, in one statement. A user without an inbox has
	// no entry.
	Revs(ctx context.Context, users []bridge.UserID) (map[bridge.UserID]bridge.Rev, error)
}

// Feed reads across users, for wildcard subscribers and the sweep. Its order over all
// users is not that of ids, which become visible out of order, but one that is safe
// against transactions that commit late. Within one user it is that of seqs.
type Feed interface {
	// Now is the position of this moment.
	Now(ctx context.Context) (bridge.Position, error)

	// Since reads at most limit notifications that became visible after p and returns
	// those that are deliverable, and the position behind all it read. more reports
	// that it stopped at limit; otherwise nothing else is new.
	Since(ctx context.Context, p bridge.Position, limit int) (items []bridge.Notification, next bridge.Position, more bool, err error)

	// Changed reads at most limit notifications that became visible after p, and about
	// as many again that it may have read before. It returns the users of those that are
	// deliverable, each with the last seq. more reports that it stopped at limit. p is a
	// position of Now, Since or Changed; Since does not accept one of Changed.
	Changed(ctx context.Context, p bridge.Position, limit int) (changes []bridge.Change, next bridge.Position, more bool, err error)

	// Retained returns the retained message of at most limit users with an id
	// greater than after, ordered by user id.
	Retained(ctx context.Context, after bridge.UserID, limit int) ([]bridge.Notification, error)
}

// Sessions stores the sessions of persistent devices. A call returns once its change is
// on disk, so that CONNACK and SUBACK may promise it. Every call may fail with
// ErrUnavailable.
type Sessions interface {
	// Open finds or creates the session of a device, under a new generation. With Clean
	// the stored session is removed first. With Expiry 0 nothing new is stored, though
	// the generation is still greater than that of every earlier Open; where Clean is
	// false, a stored session is resumed, and ends with the connection.
	Open(ctx context.Context, o bridge.OpenSession) (bridge.Session, error)

	// Subscribe stores s for the device and returns the user's head from the same
	// snapshot. The cursor of a device that was not subscribed before is set to
	// head.Last. Where since is not nil, the cursor is set to since, at most head.Last.
	// stale is true, and nothing is changed, where gen is not the current generation.
	Subscribe(ctx context.Context, d bridge.Device, gen int64, s bridge.Subscription, since *bridge.Seq) (head bridge.Head, stale bool, err error)

	// Unsubscribe clears the subscription.
	Unsubscribe(ctx context.Context, d bridge.Device, gen int64) error

	// Advance moves many cursors in one statement. Entries with an old generation or a
	// lower seq change nothing.
	Advance(ctx context.Context, as []bridge.Advance) error
}

// Cluster is what nodes share through the database. Hints carry the same news at once;
// this is what counts when hints are lost. Every call may fail with ErrUnavailable.
type Cluster interface {
	// Beat stores that node is alive, with its figures.
	Beat(ctx context.Context, node string, f bridge.Figures) error

	// Leave removes node and its connections, at the end of a drain.
	Leave(ctx context.Context, node string) error

	// Register stores which connections opened and closed on node since the last call,
	// the closed ones first; no connection is in both lists. The caller keeps the lists
	// short. A call that fails may have stored a part, and is to be repeated. Only the
	// row with the highest generation of a device is kept; Register leaves an order to
	// end those with a lower one, on whatever node they are.
	Register(ctx context.Context, node string, opened, closed []bridge.Connection) error

	// Poll returns the orders for node that were stored after since, and for safety
	// some of before: they may be applied twice. now is the database's clock, for the
	// next poll.
	Poll(ctx context.Context, node string, since time.Time) (orders []bridge.Order, now time.Time, err error)

	// Revocations returns at most limit revocations that sort behind after, ordered by
	// At, ID and User; a zero after is before all.
	Revocations(ctx context.Context, after bridge.Revocation, limit int) ([]bridge.Revocation, error)

	// Revoked reports whether a stored revocation concerns a token with these claims.
	Revoked(ctx context.Context, c bridge.Claims) (bool, error)
}

// Pruner removes expired rows, at most limit a call, and returns how many. All nodes may
// call it at once.
type Pruner interface {
	// ExpireSessions removes sessions past their expiry. Those left open by a dead node
	// count from its last beat.
	ExpireSessions(ctx context.Context, limit int) (int, error)

	// ExpirePastSessions removes what is remembered of sessions that ended 30 days ago.
	ExpirePastSessions(ctx context.Context, limit int) (int, error)

	// ExpireKeys removes idempotency keys older than KeyTTL.
	ExpireKeys(ctx context.Context, limit int) (int, error)

	// ExpireRevocations removes revocations of tokens that have expired, RevocationGrace
	// after their exp. Where exp is unknown, a token counts as expired life after its
	// revocation was stored, and with life 0 never.
	ExpireRevocations(ctx context.Context, life time.Duration, limit int) (int, error)

	// ExpireNotifications removes notifications past their expiry. Reads have passed over
	// them since. users are those whose inboxes it changed.
	ExpireNotifications(ctx context.Context, limit int) (n int, users []bridge.UserID, err error)

	// ExpireTombstones removes what is left of notifications that are gone for 30 days.
	ExpireTombstones(ctx context.Context, limit int) (int, error)

	// ExpireAudit removes entries of the audit log older than age.
	ExpireAudit(ctx context.Context, age time.Duration, limit int) (int, error)

	// Retain deletes notifications created before before, oldest first, and keeps their
	// users' counts exact. Pumps read past what is deleted, so cursors need no change.
	Retain(ctx context.Context, before time.Time, limit int) (int, error)

	// Continue takes steps of at most limit rows of what [bridge.History] began and did
	// not finish, for several users where there are several. It returns how many steps.
	Continue(ctx context.Context, limit int) (int, error)
}
