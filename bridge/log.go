package bridge

import (
	"context"
	"time"
)

// Command is one caller's change to the log: Drafts, one notification or a batch that is
// stored as a whole or not at all, or a Change with the draft of its notification.
type Command struct {
	Drafts []Draft
	Change *StatusChange
	Key    *IdempotencyKey // nil: none

	// Traceparent is that of the call, for the database's spans; "": not traced. It is never
	// stored.
	Traceparent string
}

// IdempotencyKey makes a repeated command return the result of the first one, without
// appending again. It is stored in the transaction of the command and kept for [KeyTTL].
type IdempotencyKey struct {
	Caller UserID   // keys are separate for each caller
	Key    string   // 1 to MaxKey visible ASCII characters
	Body   [32]byte // SHA-256 of the request's body: the same key with another body is refused
}

// Limits of idempotency keys.
const (
	KeyTTL = 24 * time.Hour
	MaxKey = 255
)

// Result is what a command did.
type Result struct {
	// Appended has one entry for each draft, in order. For a Change it has one entry, or none
	// if the report had that status already. If Replayed, only ID, Seq and User are set.
	Appended []Notification
	Report   *Report // of a Change
	Replayed bool    // the result of an earlier command with the same idempotency key
}

// Log is the write side of the notifications table. The read side for delivery is
// delivery.LogReader, that for users [History].
//
// Append returns when the command is on disk. Many goroutines may call it; the commands that
// arrive while a transaction runs are combined in the next one. A user's seqs are taken from
// the user's inbox row in the same transaction, so they are gapless and in commit order. If a
// seq can be read, every lower one is committed, and therefore a cursor may pass a row that
// was read.
//
// Append fails with ErrNotFound if there is no such report, with ErrKeyReused or
// ErrKeyInFlight, with an *InvalidError if the database refused a value, and with
// ErrUnavailable, after which the command is either on disk as a whole or not at all.
type Log interface {
	Append(ctx context.Context, c Command) (Result, error)
}

// Start is where a subscription to a user's topic starts.
type Start struct {
	Head
	After Seq // the first message is the one after this seq
}

// Head is the end of a user's log.
type Head struct {
	Last   Seq           // 0: there never was a notification
	Latest *Notification // the retained message; nil while muted or if none is left
}

// Query selects a page of history.
type Query struct {
	User    UserID
	Before  Seq    // only Seq < Before, newest first; 0: no bound
	After   Seq    // with Forward: only Seq > After
	Unread  bool   // only unread ones
	Kinds   []Kind // only of these kinds; nil: all
	Hidden  bool   // include those that mutes hide
	Forward bool   // oldest first, from After
	Limit   int    // 1 to MaxPage
}

// Page sizes of history.
const (
	DefaultPage = 50
	MaxPage     = 200
)

// Page is one page of history, with the counts from the same snapshot.
type Page struct {
	Items []Notification
	More  bool // there may be another page
	Next  Seq  // with More: Before or After of the next page
	Count Count
	Rev   Rev
}

// Count is the number of notifications in a user's inbox, without those that mutes hide. While
// the user mutes everything it is 0, as the list is empty.
type Count struct {
	Total  int64 `json:"total"`
	Unread int64 `json:"unread"`
	Last   Seq   `json:"last_seq"`
}

// History is the read side of the notifications table, and a user's changes to it. Every
// change locks the user's inbox row first, so counts are exact however changes interleave.
// Every call may fail with ErrUnavailable.
type History interface {
	List(ctx context.Context, q Query) (Page, error)
	Count(ctx context.Context, u UserID) (Count, error)

	// Find returns a notification by id, muted or not. It fails with ErrNotFound.
	Find(ctx context.Context, id int64) (Notification, error)

	// Deliveries returns for every session of the notification's user whether it has
	// acknowledged the notification. It leaves out sessions that skipped it because of the
	// replay cap, a mute or a later first subscription.
	Deliveries(ctx context.Context, n Notification) ([]Delivery, error)

	// Explain returns what became of a notification. For one that was removed it does so as
	// long as there is a tombstone, then it fails with ErrNotFound.
	Explain(ctx context.Context, id int64) (Explanation, error)

	// Read marks one notification of u as read and returns how many remain unread. It fails
	// with ErrNotFound if u has no such notification. Marking it again is no error.
	Read(ctx context.Context, u UserID, id int64) (unread int64, err error)
	// ReadUpTo marks all notifications of u with Seq <= upTo as read, or with upTo 0 all that
	// there are now. Many are marked in steps: if ctx ends before the last step, done is
	// false, unread is the number at that time, and the upkeep of any node marks the rest.
	ReadUpTo(ctx context.Context, u UserID, upTo Seq) (unread int64, done bool, err error)

	// Unread undoes Read.
	Unread(ctx context.Context, u UserID, id int64) (unread int64, err error)

	// Delete removes a notification of u: it is neither listed, replayed nor retained any
	// more. It fails with ErrNotFound.
	Delete(ctx context.Context, u UserID, id int64) error
	// DeleteRead removes all notifications of u that are read now and not hidden by a mute.
	// done is as for ReadUpTo.
	DeleteRead(ctx context.Context, u UserID) (done bool, err error)

	// Changes returns what changed of u's inbox since a rev, see [State].
	Changes(ctx context.Context, u UserID, since Rev) (State, error)

	// Withdraw deletes the notification of u that was appended with key as [Draft.Replaces],
	// if there is one. It returns how many it deleted.
	Withdraw(ctx context.Context, u UserID, key string) (deleted int64, err error)

	Settings(ctx context.Context, u UserID) (Settings, error)
	// ChangeSettings changes u's settings and returns all of them. It fails with an
	// *InvalidError past MaxKinds. If the settings of kinds changed, notifications are hidden
	// or shown in steps. done is as for ReadUpTo; before that, lists and counts are partly
	// old. New notifications follow the new settings at once.
	ChangeSettings(ctx context.Context, u UserID, c SettingsChange) (s Settings, done bool, err error)

	// Erase removes everything about u: notifications, reports, sessions, settings,
	// idempotency keys. When it returns a nil error nothing of that is visible any more. Rows
	// are deleted in steps: if ctx ends before the last step, done is false, and the upkeep
	// of any node deletes the rest. Afterwards the seqs of a user with the same id begin at 1
	// again, unless something was appended before the last step, in which case they
	// continue. Ids of notifications are never used again. Erase also orders the user's
	// connections to end, see [Cluster].
	Erase(ctx context.Context, u UserID) (done bool, err error)

	// Epoch identifies the history of the log: it changes when the database was restored to
	// an earlier state. It is known in memory.
	Epoch() string
}

// ReportQuery selects a page of reports, newest id first.
type ReportQuery struct {
	User   UserID // "": all users'
	Before int64  // only id < Before; 0: no bound
	Limit  int    // 1 to MaxPage
}

// Reports stores reports. Their status is changed by [Log.Append]. Every call may fail with
// ErrUnavailable.
type Reports interface {
	// AddReport stores r. It fails with ErrConflict if the id exists already.
	AddReport(ctx context.Context, r NewReport) (Report, error)
	Report(ctx context.Context, id int64) (Report, error) // ErrNotFound
	ListReports(ctx context.Context, q ReportQuery) (reports []Report, more bool, err error)
}
