package late

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// When is the condition under which a notification is late. The database evaluates it, see
// due in db/late.go.
type When string

// The conditions of webhooks.
const (
	Unacknowledged When = "unacknowledged" // no device of the user acknowledged it
	Unread         When = "unread"
)

// Push is the condition of Web Push: the device has not acknowledged the notification.
const Push When = "push"

// Rule says when a notification is late.
type Rule struct {
	When  When
	After time.Duration // since the commit
}

// String returns r in the form that ParseRules reads.
func (r Rule) String() string { return fmt.Sprintf("%s %s", r.When, r.After) }

// maxAfter is the longest time of a condition. The state of a notification and the
// acknowledgements of devices have to be kept for that long.
const maxAfter = 30 * 24 * time.Hour

// ParseRules reads a list such as "unacknowledged 10m, unread 1h". parse reads the durations,
// which must be from 1s to 30d.
func ParseRules(list string, parse func(string) (time.Duration, error)) ([]Rule, error) {
	var rules []Rule
	for entry := range strings.SplitSeq(list, ",") {
		words := strings.Fields(entry)
		if len(words) != 2 || words[0] != string(Unacknowledged) && words[0] != string(Unread) {
			return nil, errors.New("a condition must be unacknowledged or unread, followed by a time")
		}
		after, err := parse(words[1])
		if err != nil || after < time.Second || after > maxAfter {
			return nil, errors.New("the time of a condition must be from 1s to 30d")
		}
		r := Rule{When(words[0]), after.Truncate(time.Millisecond)}
		for _, other := range rules {
			if other == r {
				return nil, errors.New("a condition is given twice")
			}
		}
		rules = append(rules, r)
	}
	return rules, nil
}

// parseRule reads what Rule.String wrote. It fails if a later version wrote it, with a rule
// that this version does not know.
func parseRule(text string) (Rule, error) {
	rules, err := ParseRules(text, time.ParseDuration)
	if err != nil || len(rules) != 1 {
		return Rule{}, fmt.Errorf("the rule %q is not known", text)
	}
	return rules[0], nil
}
