package bridge

import (
	"strings"
	"testing"
)

func TestOnlyAWellFormedTraceparentIsAccepted(t *testing.T) {
	const good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for s, want := range map[string]bool{
		good:                  true,
		"":                    false,
		good + "-extra":       false,
		"01" + good[2:]:       false,
		"ff" + good[2:]:       false,
		strings.ToUpper(good): false,
		"00-00000000000000000000000000000000-00f067aa0ba902b7-01":  false,
		"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01":  false,
		"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0\n": false,
	} {
		if got := Traceparent(WithTraceparent(t.Context(), s)) == s && s != ""; got != want {
			t.Errorf("%q is accepted: %v", s, got)
		}
	}
}
