package late

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// When is what a notification has not been in time.
type When string

// What a notification can be late in.
const (
	Unacknowledged When = "unacknowledged" // no device of the user acknowledged it
	Unread         When = "unread"
)

// Push is the When of Web Push: not acknowledged by the one device.
const Push When = "push"

// Rule says when a notification is late.
type Rule struct {
	When  When
	After time.Duration // since it was committed
}

// String returns r as ParseRules reads it, the duration in whole milliseconds.
func (r Rule) String() string { return fmt.Sprintf("%s %s", r.When, r.After) }

// maxAfter bounds how long a condition waits: a notification's state has to be known
// until then.
const maxAfter = 30 * 24 * time.Hour

// ParseRules reads a list such as "unacknowledged 10m, unread 1h". parse reads the
// durations.
func ParseRules(list string, parse func(string) (time.Duration, error)) ([]Rule, error) {
	var rules []Rule
	for entry := range strings.SplitSeq(list, ",") {
		words := strings.Fields(entry)
		if len(words) != 2 || words[0] != string(Unacknowledged) && words[0] != string(Unread) {
			return nil, errors.New("a condition is not unacknowledged or unread with a time")
		}
		after, err := parse(words[1])
		if err != nil || after < time.Second || after > maxAfter {
			return nil, errors.New("a condition's time is not from 1s to 30d")
		}
		r := Rule{When(words[0]), after.Truncate(time.Millisecond)}
		for _, other := range rules {
			if other == r {
				return nil, errors.New("a condition stands there twice")
			}
		}
		rules = append(rules, r)
	}
	return rules, nil
}
