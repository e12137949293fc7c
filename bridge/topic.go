package bridge

import "strings"

const (
	topicHead = "users/"
	topicTail = "/reports/status"
	anyUser   = "+"
)

// Topics are the MQTT topics, with a prefix.
type Topics struct {
	Prefix string // of every topic, including the slash, e.g. "staging/"; usually ""
}

// Status returns the topic of u's notifications.
func (t Topics) Status(u UserID) string { return t.Prefix + topicHead + string(u) + topicTail }

// Everyone returns the wildcard filter for the topics of all users.
func (t Topics) Everyone() string { return t.Status(anyUser) }

// Parse parses a topic filter. It accepts exactly two forms, byte for byte: the topic of one
// user, and [Topics.Everyone]. ok is false for everything else, including shared subscriptions
// and other wildcards.
func (t Topics) Parse(filter string) (u UserID, everyone, ok bool) {
	rest, found := strings.CutPrefix(filter, t.Prefix)
	if !found {
		return "", false, false
	}
	if rest, found = strings.CutPrefix(rest, topicHead); !found {
		return "", false, false
	}
	if rest, found = strings.CutSuffix(rest, topicTail); !found {
		return "", false, false
	}
	if rest == anyUser {
		return "", true, true
	}
	u, err := ParseUserID(rest)
	return u, false, err == nil
}
