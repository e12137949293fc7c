package late

import (
	"context"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// Longest is how long attempts are repeated, and how long a stored position is used. An
// operator who turns webhooks on again after months does not want webhooks for the time in
// between.
const Longest = 24 * time.Hour

// Position is how far the follower has read the log. It is stored with the lease, as JSON.
type Position struct {
	Log    bridge.Position `json:"log"`     // attempts for everything before it are stored
	ReadAt int64           `json:"read_at"` // when the log was last read to its end, by the database's clock, Unix milliseconds
	Totals Totals          `json:"totals"`

	// Unsaved makes Enter store the position even if there is nothing new.
	Unsaved bool `json:"-"`
}

// Totals are counters over all nodes and restarts. A crash may lose the last seconds.
type Totals struct {
	PushSent       int64 `json:"push_sent"`
	PushFailed     int64 `json:"push_failed"`
	WebhooksSent   int64 `json:"webhooks_sent"`
	WebhooksFailed int64 `json:"webhooks_failed"`
}

// Due is a push or webhook that is due, with everything that decides whether it is sent.
type Due struct {
	Ref          string // identifies it; the same for each attempt
	Rule         string // Push, or a Rule of the webhooks as text
	Device       bridge.Device
	Since        time.Time // when it became due first
	Tries        int       // attempts begun so far
	Notification bridge.Notification
	Registration bridge.Registration // of a push; its Endpoint is "" if it was removed
	// Cancelled reports that nothing has to be sent any more: the notification was
	// acknowledged, read, muted, deleted, superseded or retained out, or has expired.
	Cancelled bool
}

// Done is the result of an attempt, to be stored.
type Done struct {
	Ref    string
	Result Result        // Sent; Rejected: given up; Failed and Limited: to be repeated
	After  time.Duration // with Failed and Limited: time until the next attempt
	Status int           // HTTP status; 0: no response
}

// Store stores pushes and webhooks, and the lease by which one node at a time follows the log.
// Package db implements it, in db/late.go. Every call may fail with [bridge.ErrUnavailable],
// and does a bounded amount of work.
type Store interface {
	// LeaseLate acquires the lease for node, or renews it. held is false while another node
	// has it. state is the position that the last holder stored; "" means none.
	LeaseLate(ctx context.Context, node string, ttl time.Duration) (state string, held bool, err error)

	// ReleaseLate releases the lease if node holds it.
	ReleaseLate(ctx context.Context, node string) error

	// Enter reads at most limit notifications after p. In one transaction it stores attempts
	// for them and the new position: for each registered device of their users a push, due
	// pushAfter after the commit (none if pushAfter is 0), and for each of rules a webhook.
	// more reports that Enter stopped at limit. held is false, and nothing is stored, if
	// another node has the lease.
	//
	// A position without a log starts at the current end of the log. So does a position whose
	// ReadAt is more than Longest ago, because pushes and webhooks were off since then, or all
	// nodes were down. If nothing is new, the position need not be stored, because nothing
	// lies between it and the next one.
	Enter(ctx context.Context, node string, p Position, pushAfter time.Duration, rules []Rule, limit int) (next Position, more, held bool, err error)

	// DuePush returns the pushes that are due for at most devices devices, of users other than
	// those in without, ordered by device and seq. DueWebhooks returns at most limit webhooks,
	// in the order in which they became due. Each reads one snapshot.
	DuePush(ctx context.Context, devices int, without []bridge.UserID) ([]Due, error)
	DueWebhooks(ctx context.Context, limit int) ([]Due, error)

	// Begin records that the attempts begun are made now. If a result is not recorded within
	// hold, because the node has crashed, the attempt becomes due again. Begin removes the
	// attempts cancelled.
	Begin(ctx context.Context, begun, cancelled []string, hold time.Duration) error

	// RecordLate stores the results of attempts.
	RecordLate(ctx context.Context, done []Done) error

	// Unregister removes a registration that its push service does not know any more, unless
	// the device was registered again with another endpoint.
	Unregister(ctx context.Context, r bridge.Registration) error

	// Waiting counts the pushes and webhooks that are due or failed at least once, up to
	// limit.
	Waiting(ctx context.Context, limit int) (push, webhooks Waiting, err error)

	// PruneLate removes pushes and webhooks that were done longer than doneAge ago,
	// acknowledgements that were stored longer than ackAge ago, and registrations unused for
	// [bridge.RegistrationLife], at most limit of each. It returns how many it removed.
	PruneLate(ctx context.Context, doneAge, ackAge time.Duration, limit int) (int, error)
}

// Figures are the figures of Web Push, or of webhooks, over all nodes.
type Figures struct {
	Waiting, Sent, Failed int64
	Oldest                time.Duration // how long the oldest of Waiting has been due
}

// Stats are the figures of Web Push and of webhooks.
type Stats struct{ Push, Webhooks Figures }

// Waiting are pushes or webhooks that are due or failed at least once.
type Waiting struct {
	Count  int64
	Oldest time.Duration // since the oldest became due first; 0: none
}
