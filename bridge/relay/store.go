package relay

import (
	"context"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// Feed returns all users' notifications in an order in which none is missed because its transaction
// commits late. The delivery engine reads the same feed, see delivery.Feed.
type Feed interface {
	// Now returns the current end of the feed.
	Now(ctx context.Context) (bridge.Position, error)

	// Since reads at most limit notifications that became visible after p. It returns those
	// that may be delivered, and the position after the last one that it read. more reports
	// whether it stopped because of limit. If not, it has reached the end of the feed.
	Since(ctx context.Context, p bridge.Position, limit int) (items []bridge.Notification, next bridge.Position, more bool, err error)

	// Retained returns the retained messages of at most limit users whose ids are greater
	// than after, ordered by user id.
	Retained(ctx context.Context, after bridge.UserID, limit int) ([]bridge.Notification, error)
}

// Store keeps the relay's state, and lets nodes agree on which of them is the relay.
type Store interface {
	// LeaseRelay acquires or renews the lease for node until ttl from now, by the database's
	// clock. held is false while another node holds it. state is what the last holder saved.
	// It is "" if there was no holder before, or if the last one is too long ago for its state
	// to be valid.
	LeaseRelay(ctx context.Context, node string, ttl time.Duration) (state string, held bool, err error)

	// SaveRelay stores state and renews the lease. If another node holds the lease, held is
	// false and nothing is stored.
	SaveRelay(ctx context.Context, node, state string, ttl time.Duration) (held bool, err error)

	// ReleaseRelay ends the lease, if node holds it.
	ReleaseRelay(ctx context.Context, node string) error

	// Touched returns at most limit users whose retained message may have changed after p
	// because of a mute, an unmute, a deletion or an erasure, and the position of the last of
	// these changes. The position "" is before the first one. As in [Feed], none is missed
	// because its transaction commits late.
	Touched(ctx context.Context, p bridge.Position, limit int) ([]bridge.UserID, bridge.Position, error)

	// LatestAt returns the retained messages of users as of p in the feed. The retained message
	// of a user is the latest notification that is not after p. The result omits users who are
	// muted or have no notification left.
	LatestAt(ctx context.Context, users []bridge.UserID, p bridge.Position) ([]bridge.Notification, error)
}
