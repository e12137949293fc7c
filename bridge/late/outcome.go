package late

import (
	"errors"
	"time"
)

// Result is how an attempt to reach an absent device or a webhook ended.
type Result uint8

// The results.
const (
	Sent     Result = iota + 1 // taken by the other side
	Failed                     // to be repeated
	Limited                    // not begun: a rate was exceeded; to be repeated without counting
	Rejected                   // never to be repeated
	Gone                       // the registration does not exist any more
)

// Outcome is what came of one attempt.
type Outcome struct {
	Result Result
	Status int           // HTTP status; 0: there was no response
	After  time.Duration // of Failed and Limited: not before; 0: not given
	Err    error         // why, where it was not Sent; without URLs and content
}

// ErrBlocked is why an address that a client named is not called.
var ErrBlocked = errors.New("the server does not call that address")

// Reasons are what Outcome.Reason returns of attempts that failed.
var Reasons = [...]string{"blocked", "gone", "limited", "refused", "unavailable", "unreachable"}

// Reason is why an attempt failed, one of Reasons: a small set, so that it can label a
// metric. It is "" where the attempt was sent or not begun.
func (o Outcome) Reason() string {
	switch {
	case o.Result == Sent || o.Result == Limited:
		return ""
	case o.Result == Gone:
		return "gone" // 404 or 410: the device has to subscribe again
	case errors.Is(o.Err, ErrBlocked):
		return "blocked"
	case o.Status == 0:
		return "unreachable" // no connection, or no response in time
	case o.Status == 429:
		return "limited"
	case o.Status >= 500:
		return "unavailable"
	}
	return "refused"
}
