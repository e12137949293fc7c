package relay

import (
	"context"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// Feed gives the relay all users' notifications in an order that is safe against transactions that
// commit late. The delivery engine reads the same feed, see delivery.Feed.
type Feed interface {
	// Now returns the current end of the feed.
	Now(ctx context.Context) (bridge.Position, error)

	// Since reads at most limit notifications that became visible after p. It returns those
	// that may be delivered, and the position after all that it read. more reports whether it
	// stopped at limit; otherwise there is nothing else yet.
	Since(ctx context.Context, p bridge.Position, limit int) (items []bridge.Notification, next bridge.Position, more bool, err error)

	// Retained returns the retained messages of at most limit users whose ids are greater
	// than after, ordered by user id.
	Retained(ctx context.Context, after bridge.UserID, limit int) ([]bridge.Notification, error)
}

// Store keeps the relay's state, and lets nodes agree on which of them is the relay.
type Store interface {
	// LeaseRelay acquires or renews the lease for node until ttl from now, by the database's
	// clock. held is false while another node holds it. state is what the last holder saved.
	// It is "" if there was no holder, or none for so long that its state is void.
	LeaseRelay(ctx context.Context, node string, ttl time.Duration) (state string, held bool, err error)

	// SaveRelay stores state and renews the lease. If another node holds the lease, held is
	// false and nothing is stored.
	SaveRelay(ctx context.Context, node, state string, ttl time.Duration) (held bool, err error)

	// ReleaseRelay ends the lease, if node holds it.
	ReleaseRelay(ctx context.Context, node string) error

	// Touched returns at most limit users whose retained message may have changed after p
	// other than by a new notification: by a mute, an unmute, a deletion or an erasure. It also
	// returns the position of the last of them, and begins at "". The order is as safe as that
	// of [Feed].
	Touched(ctx context.Context, p bridge.Position, limit int) ([]bridge.UserID, bridge.Position, error)

	// LatestAt returns the retained messages of users as of p in the feed: for each user the
	// latest notification that is not after p. Users who are muted or have no notification
	// left are not in the result.
	LatestAt(ctx context.Context, users []bridge.UserID, p bridge.Position) ([]bridge.Notification, error)
}
