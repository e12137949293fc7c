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

	// Since reads at most limit notifications that became visible after p and returns
	// those that are deliverable, and the position behind all it read. more reports
	// that it stopped at limit; otherwise nothing else is new.
	Since(ctx context.Context, p Position, limit int) (items []Notification, next Position, more bool, err error)

	// Changed reads at most limit notifications that became visible after p, and about
	// as many that it may have read before, and returns their users, each with the
	// last seq, where one is deliverable. more reports that it stopped at limit. Its
	// positions are its own: of Since and Now it takes those, Since takes none of its.
	Changed(ctx context.Context, p Position, limit int) (changes []Change, next Position, more bool, err error)

	// Retained returns the retained message of at most limit users with an id
	// greater than after, ordered by user id.
	Retained(ctx context.Context, after UserID, limit int) ([]Notification, error)
}

// Change says that a user's log grew.
type Change struct {
	User UserID
	Last Seq
}
