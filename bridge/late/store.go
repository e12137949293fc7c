package late

import (
	"context"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// Longest is how long tries go on, and how long a position is good for: an operator who
// turns webhooks on after some months does not want those of all these months.
const Longest = 24 * time.Hour

// Position is how far the follower came.
type Position struct {
	Log    bridge.Position `json:"log"`     // what lies before it was entered
	ReadAt int64           `json:"read_at"` // when the log was last read to its end, by the database's clock, Unix ms
	Totals Totals          `json:"totals"`

	// Unsaved has Enter store the position also where there is nothing new.
	Unsaved bool `json:"-"`
}

// Totals count over all nodes and restarts. A crash may lose the last seconds of them.
type Totals struct {
	PushSent       int64 `json:"push_sent"`
	PushFailed     int64 `json:"push_failed"`
	WebhooksSent   int64 `json:"webhooks_sent"`
	WebhooksFailed int64 `json:"webhooks_failed"`
}

// Due is one attempt that is due, with what decides whether it is made.
type Due struct {
	Ref          string // names the attempt; the same for each try
	Rule         string // push, or a Rule of the webhooks
	Device       bridge.Device
	Since        time.Time // when it was late first
	Tries        int       // begun so far
	Notification bridge.Notification
	Registration bridge.Registration // of push; Endpoint "" where it is gone
	// Cancelled is true where nothing is to be sent any more: it was acknowledged, read,
	// muted, deleted, superseded, retained out, or has expired.
	Cancelled bool
}

// Done is what came of an attempt, to be stored.
type Done struct {
	Ref    string
	Result Result        // Sent; Rejected: given up; Failed and Limited: again
	After  time.Duration // of Failed and Limited: when
	Status int
}

// Store is where attempts are kept, and where nodes agree on which of them follows.
// Every call may fail with bridge.ErrUnavailable, and does a bounded amount of work.
type Store interface {
	// LeaseLate takes the lease for node, or renews it. held is false while another
	// node has it. state is what the last holder stored, "" where there was none.
	LeaseLate(ctx context.Context, node string, ttl time.Duration) (state string, held bool, err error)

	// ReleaseLate gives the lease up.
	ReleaseLate(ctx context.Context, node string) error

	// Enter reads at most limit notifications after p, and stores in the same transaction
	// what will be due of them and the new position: with push for each registered
	// device of their users, and for each of rules. more reports that it stopped at
	// limit. held is false, and nothing is stored, where another node has the lease.
	// A position without a log starts at this moment, and so does one that was read to the
	// end more than Longest ago: pushes and webhooks were off, or every node was. Where nothing is new the position
	// need not be stored: nothing lies between it and the next one.
	Enter(ctx context.Context, node string, p Position, push time.Duration, rules []Rule, limit int) (next Position, more, held bool, err error)

	// DuePush returns the attempts due for at most devices devices of users other than
	// those in without, ordered by device and seq, and DueWebhooks at most limit attempts, those due first first. What
	// decides is read in one snapshot.
	DuePush(ctx context.Context, devices int, without []bridge.UserID) ([]Due, error)
	DueWebhooks(ctx context.Context, limit int) ([]Due, error)

	// Begin stores that the attempts begin: another node, or this one after a crash,
	// makes them again unless RecordLate is called within hold. It removes the cancelled.
	Begin(ctx context.Context, begun, cancelled []string, hold time.Duration) error

	// RecordLate stores what came of attempts.
	RecordLate(ctx context.Context, done []Done) error

	// Unregister removes a registration whose push service does not know it, unless the
	// device was registered again with another endpoint.
	Unregister(ctx context.Context, r bridge.Registration) error

	// Waiting counts attempts that are due or were tried, and says since when the oldest
	// is; counting stops at limit.
	Waiting(ctx context.Context, limit int) (push, webhooks Waiting, err error)

	// PruneLate removes attempts that were done before done, acknowledgements noted
	// before acks, and registrations unused for RegistrationLife; at most limit of each.
	PruneLate(ctx context.Context, done, acks time.Duration, limit int) (int, error)
}

// Figures are those of Web Push, or of webhooks, over all nodes.
type Figures struct {
	Waiting, Sent, Failed int64
	Oldest                time.Duration // how long the oldest that waits has been late
}

// Stats are what was and is to be sent.
type Stats struct{ Push, Webhooks Figures }

// Waiting are attempts that are due or were tried.
type Waiting struct {
	Count  int64
	Oldest time.Duration // since it was late first; 0: none
}
