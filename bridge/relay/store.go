package relay

import (
	"context"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// Feed is what the relay reads of all users' notifications, in an order that is safe
// against late commits; the engine reads the same, see delivery.Feed.
type Feed interface {
	// Now is the position of this moment.
	Now(ctx context.Context) (bridge.Position, error)

	// Since reads at most limit notifications that became visible after p and returns
	// those that are deliverable, and the position behind all it read. more reports
	// that it stopped at limit; otherwise nothing else is new.
	Since(ctx context.Context, p bridge.Position, limit int) (items []bridge.Notification, next bridge.Position, more bool, err error)

	// Retained returns the retained message of at most limit users with an id
	// greater than after, ordered by user id.
	Retained(ctx context.Context, after bridge.UserID, limit int) ([]bridge.Notification, error)
}

// Store is where the relay to an external MQTT cluster keeps its place, and
// where nodes agree on which of them relays.
type Store interface {
	// LeaseRelay takes the lease for node, or renews it, until ttl from now by
	// the database's clock. held is false while another node has it. state is
	// what the last holder saved; "" where there was none, or none for so long
	// that its place is void.
	LeaseRelay(ctx context.Context, node string, ttl time.Duration) (state string, held bool, err error)

	// SaveRelay stores state and renews the lease; held is false, and nothing is
	// stored, where another node has it.
	SaveRelay(ctx context.Context, node, state string, ttl time.Duration) (held bool, err error)

	// ReleaseRelay gives the lease up.
	ReleaseRelay(ctx context.Context, node string) error

	// Touched returns, from "" on, at most limit users whose retained message may have changed
	// after p other than by a new notification: muted, unmuted, deleted from,
	// erased. The order is commit-safe, as that of [Feed].
	Touched(ctx context.Context, p bridge.Position, limit int) ([]bridge.UserID, bridge.Position, error)

	// LatestAt returns what is retained for each of users as far as the feed has
	// been read up to p: their latest notification that is not after p. Users who
	// are muted or have none left are not in the result.
	LatestAt(ctx context.Context, users []bridge.UserID, p bridge.Position) ([]bridge.Notification, error)
}
