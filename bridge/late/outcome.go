package late

import (
	"errors"
	"time"
)

// Result is how an attempt to send a push or webhook ended.
type Result uint8

// The results.
const (
	Sent     Result = iota + 1 // accepted by the push service or receiver
	Failed                     // to be repeated
	Limited                    // not attempted, and repeated without counting: over a rate limit, decided too long ago, or of an unknown rule
	Rejected                   // not to be repeated
	Gone                       // the push service does not know the registration any more
)

// Outcome is the outcome of one attempt.
type Outcome struct {
	Result Result
	Status int           // HTTP status; 0: no response
	After  time.Duration // with Failed and Limited: shortest time until the next attempt; 0: not given
	Err    error         // why it was not sent; has no URL and no content
}

// ErrBlocked reports that the server does not send to the address of an endpoint.
var ErrBlocked = errors.New("the server does not send to that address")

// Reasons are the values of [Outcome.Reason] for failed attempts.
var Reasons = [...]string{"blocked", "gone", "limited", "refused", "unavailable", "unreachable"}

// Reason returns why an attempt failed, one of Reasons. There are only a few, so that they
// can be a label of a metric. It returns "" if the attempt was sent or not made.
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
