package bridge

import "context"

// Position is a commit-safe place in the order over all users, opaque to all but
// the database: everything committed before it is behind it, and nothing that
// commits later ever is. "" is where the log begins.
type Position string

// Feed reads across users, for wildcard subscribers, the relay and the sweep.
// The order over all users is not that of ids, which become visible out of
// order; within one user it is that of seqs.
type Feed interface {
	// Now is the position of this moment.
	Now(ctx context.Context) (Position, error)

	// Since returns at most limit deliverable notifications that became visible
	// after p, and the position behind them. No rows: nothing is new.
	Since(ctx context.Context, p Position, limit int) ([]Notification, Position, error)

	// Changed returns the users with deliverable notifications that became
	// visible after p, each once with the last seq, and the position of this
	// moment.
	Changed(ctx context.Context, p Position) ([]Change, Position, error)

	// Retained returns the retained message of at most limit users with an id
	// greater than after, ordered by user id.
	Retained(ctx context.Context, after UserID, limit int) ([]Notification, error)
}

// Change says that a user's log grew.
type Change struct {
	User UserID
	Last Seq
}
