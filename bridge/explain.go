package bridge

import "time"

// Explanation is what became of one notification, also of one that is gone. It has no
// title, message or data.
type Explanation struct {
	ID          int64
	Seq         Seq
	User        UserID
	Kind        Kind
	CommittedAt time.Time
	By          string // who appended it: the caller's sub, sql or import; "": not known
	State       Fate
	Devices     []DeviceFate
	Calls       []LateCall
}

// Fate is what a notification is in its user's inbox.
type Fate string

// The fates of a notification. The last four are gone: what is retained out was removed
// because of its age or the number of newer ones.
const (
	FateLive        Fate = "live"
	FateRead        Fate = "read"
	FateMuted       Fate = "muted"
	FateDeleted     Fate = "deleted"
	FateSuperseded  Fate = "superseded"
	FateExpired     Fate = "expired"
	FateRetainedOut Fate = "retained out"
)

// DeviceFate is what became of a notification at one device.
type DeviceFate struct {
	ClientID string
	State    DeviceState
	// At is when State was reached at the latest; zero: not known. Of an expired session it
	// is when it acknowledged or skipped the notification, else when it ended.
	At time.Time
	// Why is why it was skipped. Of an expired session it is the state it ended in, or why
	// it skipped the notification; "" where it ended before the notification was committed.
	Why string
}

// DeviceState is how far a notification got at one device.
type DeviceState string

// The states of a notification at a device.
const (
	DeviceAcknowledged DeviceState = "acknowledged"
	DeviceSent         DeviceState = "sent" // written to a connection, and not acknowledged
	DeviceBehind       DeviceState = "behind"
	DeviceSkipped      DeviceState = "skipped"
	DeviceExpired      DeviceState = "expired session"
)

// Why a device skipped a notification, besides that it was superseded, deleted or expired.
const (
	SkippedMuted     = "muted"
	SkippedLater     = "subscribed later"
	SkippedReplayCap = "replay cap"
	SkippedTooLarge  = "too large"
)

// LateCall is a Web Push or a webhook that a notification caused.
type LateCall struct {
	ClientID string // of a push; "": a webhook
	Ref      string // a webhook's
	When     string // a webhook's condition
	State    LateState
	Tries    int
	Status   int       // HTTP status of the last attempt; 0: no response
	At       time.Time // when it was sent or given up, else when the next attempt is due
}

// LateState is how far a [LateCall] got.
type LateState string

// The states of a LateCall.
const (
	LateWaiting LateState = "waiting"
	LateSent    LateState = "sent"
	LateGivenUp LateState = "given up"
)
