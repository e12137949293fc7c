package bridge

import (
	"context"
	"time"
)

// RelayStore is where the relay to an external MQTT cluster keeps its place, and
// where nodes agree on which of them relays.
type RelayStore interface {
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
	Touched(ctx context.Context, p Position, limit int) ([]UserID, Position, error)

	// LatestAt returns what is retained for each of users as far as the feed has
	// been read up to p: their latest notification that is not after p. Users who
	// are muted or have none left are not in the result.
	LatestAt(ctx context.Context, users []UserID, p Position) ([]Notification, error)
}
