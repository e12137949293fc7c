package late

import "time"

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
