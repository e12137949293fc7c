package bridge

import "time"

// Explanation is what became of one notification, which may have been removed. It has no
// title, message or data.
type Explanation struct {
	ID          int64
	Seq         Seq
	User        UserID
	Kind        Kind
	CommittedAt time.Time
	By          string // see [Draft]; "": unknown
	State       Fate
	Devices     []DeviceFate
	Calls       []LateCall
}

// Fate is the state of a notification in its user's inbox.
type Fate string

// The fates of a notification. With the last four it was removed. A retained out notification
// was removed because of its age.
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
	// At is when State was reached at the latest; zero: unknown. For an expired session it is
	// when that acknowledged or skipped the notification, or else when it ended.
	At time.Time
	// Why is why it was skipped. For an expired session it is the state in which that ended,
	// or why it skipped the notification; "" if it ended before the commit.
	Why string
}

// DeviceState is how far a notification got at one device.
type DeviceState string

// The states of a notification at a device.
const (
	DeviceAcknowledged DeviceState = "acknowledged"
	DeviceSent         DeviceState = "sent" // written to a connection, not acknowledged
	DeviceBehind       DeviceState = "behind"
	DeviceSkipped      DeviceState = "skipped"
	DeviceExpired      DeviceState = "expired session"
)

// Reasons why a device skipped a notification, in addition to that it was superseded, deleted
// or expired.
const (
	SkippedMuted     = "muted"
	SkippedLater     = "subscribed later"
	SkippedReplayCap = "replay cap"
	SkippedTooLarge  = "too large"
)

// LateCall is a Web Push message or a webhook for a notification.
type LateCall struct {
	ClientID string // with a push; "": a webhook
	Ref      string // of a webhook, for its id
	When     string // condition of a webhook
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
