package bridge

import (
	"context"
	"time"
)

// Command is one caller's change to the log: either Drafts (one notification,
// or a batch that is stored whole or not at all) or Change.
type Command struct {
	Drafts []Draft
	Change *StatusChange
	Key    *IdempotencyKey // nil: none

	// Traceparent is that of the call, for the database's spans; "": it is not traced. It is
	// never stored.
	Traceparent string
}

// IdempotencyKey makes a repeated command answer as the first one did. It is
// stored in the command's own transaction and lives [KeyTTL].
type IdempotencyKey struct {
	Caller UserID // keys of different callers never meet
	Key    string // 1 to MaxKey visible ASCII characters
	Body   [32]byte
}

// Bounds of an idempotency key.
const (
	KeyTTL = 24 * time.Hour
	MaxKey = 255
)

// Result is what a command did.
type Result struct {
	// Appended has one entry a draft, in the drafts' order. For a Change it has
	// one entry, or none where the report had that status already. On a replay
	// only ID, Seq and User are set.
	Appended []Notification
	Report   *Report // of a Change
	Replayed bool    // answered from the idempotency key
}

// Log is the append side of the notifications table.
//
// Append may be called by many goroutines; the implementation joins the commands
// that wait while the previous transaction runs. It returns when the command is
// on disk. Seqs are taken from the user's inbox row in the same transaction, so
// they are gapless and in commit order per user, and a seq that can be read has
// every lower one committed: a cursor that passes a row it has read is safe.
//
// Append fails with ErrNotFound (no such report), ErrKeyReused, ErrKeyInFlight,
// *InvalidError (the database refused a value), or ErrUnavailable, after which
// the command may or may not be on disk, whole.
type Log interface {
	Append(ctx context.Context, c Command) (Result, error)
}

// Start is where a subscription to a user's topic starts.
type Start struct {
	Head
	After Seq // the first message is the one after it
}

// Head is the end of a user's log.
type Head struct {
	Last   Seq           // 0: no notification ever
	Latest *Notification // the retained message: nil while muted or where nothing is left
}

// Query selects a page of history.
type Query struct {
	User   UserID
	Before Seq    // only Seq < Before, newest first; 0: no bound
	After  Seq    // with Forward: only Seq > After, oldest first
	Unread bool   // only unread
	Kinds  []Kind // only these; nil: all
	Hidden bool   // with those that mutes hide
	// Forward pages oldest first from After.
	Forward bool
	Limit   int // 1 to MaxPage
}

// Page sizes of history.
const (
	DefaultPage = 50
	MaxPage     = 200
)

// Page is one page of history with the counts of the same snapshot.
type Page struct {
	Items []Notification
	More  bool // more may follow Next
	Next  Seq  // with More: where the next page begins
	Count Count
	Rev   Rev
}

// Count is what a user's inbox holds, without what mutes hide: 0 while all is muted, as
// the list is empty.
type Count struct {
	Total  int64 `json:"total"`
	Unread int64 `json:"unread"`
	Last   Seq   `json:"last_seq"`
}

// History is the reading side of the notifications table and the marks a user
// sets on it. Every change takes the user's inbox row first, so counts stay
// exact after any interleaving.
type History interface {
	List(ctx context.Context, q Query) (Page, error)
	Count(ctx context.Context, u UserID) (Count, error)

	// Find returns one notification by id, muted or not; ErrNotFound.
	Find(ctx context.Context, id int64) (Notification, error)

	// Deliveries returns, for every session of the notification's user, whether it
	// acknowledged the notification. Sessions that a jump, a mute or a first
	// subscription carried past it are not listed.
	Deliveries(ctx context.Context, n Notification) ([]Delivery, error)

	// Explain returns what became of a notification, also of one that is gone, as long as
	// its tombstone stays; ErrNotFound.
	Explain(ctx context.Context, id int64) (Explanation, error)

	// Read marks one notification of u as read and returns how many stay unread;
	// ErrNotFound where u has no such notification. Doing it twice is no error.
	Read(ctx context.Context, u UserID, id int64) (unread int64, err error)
	// ReadUpTo marks all with Seq <= upTo that there are now; 0 means all. Many are
	// marked in steps: where ctx ends before the last one, done is false, unread is
	// what was left then, and [Pruner.Continue] marks the rest.
	ReadUpTo(ctx context.Context, u UserID, upTo Seq) (unread int64, done bool, err error)

	// Unread undoes Read, likewise.
	Unread(ctx context.Context, u UserID, id int64) (unread int64, err error)

	// Delete removes a notification of u from history, replay and the retained
	// message; ErrNotFound.
	Delete(ctx context.Context, u UserID, id int64) error
	// DeleteRead removes all that are read when it is called and that mutes do not hide.
	// done is as of ReadUpTo.
	DeleteRead(ctx context.Context, u UserID) (done bool, err error)

	// Changes returns what changed of u's inbox since a rev, see [State].
	Changes(ctx context.Context, u UserID, since Rev) (State, error)

	// Withdraw deletes what key stands for: the notification of u, if any, that was
	// appended with it as [Draft.Replaces]. It returns how many that were.
	Withdraw(ctx context.Context, u UserID, key string) (deleted int64, err error)

	Settings(ctx context.Context, u UserID) (Settings, error)
	// ChangeSettings changes u's settings and returns all. *InvalidError past MaxKinds.
	// Where settings of kinds changed, u's notifications are hidden or shown in steps:
	// done is as of ReadUpTo, and until then lists and counts are between the two. What
	// is appended follows the settings at once.
	ChangeSettings(ctx context.Context, u UserID, c SettingsChange) (s Settings, done bool, err error)

	// Erase removes everything of u: notifications, reports, sessions, settings,
	// idempotency keys. When it returns nil error nothing of that is visible any
	// more. Rows are deleted in steps: where ctx ends before the last one, done is
	// false, and [Pruner.Continue] deletes the rest. Nothing stays, so the seqs of a
	// user of the same id begin again at 1, unless something was appended before the
	// last step: then they go on. Ids never begin again. The user's connections are
	// ordered to end, see [Cluster].
	Erase(ctx context.Context, u UserID) (done bool, err error)

	// Epoch names the life of the log: it changes when the database was restored
	// to an earlier point. It answers from memory.
	Epoch() string
}

// ReportQuery selects a page of reports, newest id first.
type ReportQuery struct {
	User   UserID // "": everybody's
	Before int64  // only id < Before; 0: no bound
	Limit  int    // 1 to MaxPage
}

// Reports stores reports. Their status changes go through [Log.Append].
type Reports interface {
	// AddReport stores r; ErrConflict where the id is taken.
	AddReport(ctx context.Context, r NewReport) (Report, error)
	Report(ctx context.Context, id int64) (Report, error) // ErrNotFound
	ListReports(ctx context.Context, q ReportQuery) (reports []Report, more bool, err error)
}
