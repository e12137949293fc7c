package bridge

import "strings"

const (
	topicHead = "users/"
	topicTail = "/reports/status"
	anyUser   = "+"
)

// Topics names MQTT topics under one namespace.
type Topics struct {
	Prefix string // put before every topic as it stands, e.g. "staging/"; usually ""
}

// Status is the topic of u's notifications.
func (t Topics) Status(u UserID) string { return t.Prefix + topicHead + string(u) + topicTail }

// Everyone is the wildcard filter over all users' topics.
func (t Topics) Everyone() string { return t.Status(anyUser) }

// Parse reads a topic filter. It knows exactly two shapes, byte for byte: one
// user's topic, and [Topics.Everyone]. Everything else, $share groups and other
// wildcards included, is not ok.
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
