package delivery

import (
	"fmt"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

func TestATraceCoversItsSeqsForASecond(t *testing.T) {
	var all traces
	now := time.Now()
	all.add(traceEntry{user: "7", from: 3, to: 5, traceparent: "first", at: now})
	all.add(traceEntry{user: "7", from: 6, to: 6, traceparent: "second", at: now})
	for name, tt := range map[string]struct {
		user bridge.UserID
		seq  bridge.Seq
		at   time.Time
		want string
	}{
		"the one before":           {"7", 2, now, ""},
		"the first of three":       {"7", 3, now, "first"},
		"the last of three":        {"7", 5, now, "first"},
		"the next call's":          {"7", 6, now, "second"},
		"the one after":            {"7", 7, now, ""},
		"another user's":           {"8", 3, now, ""},
		"a second later":           {"7", 3, now.Add(bridge.HintLife), "first"},
		"after more than a second": {"7", 3, now.Add(bridge.HintLife + 1), ""},
		"a clock that jumped":      {"7", 3, now.Add(-time.Hour), "first"},
	} {
		if got := all.find(tt.user, tt.seq, tt.at); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

// Any call may bring a traceparent.
func TestAFloodOfTracesIsBounded(t *testing.T) {
	var all traces
	now := time.Now()
	for i := range 100_000 {
		all.add(traceEntry{user: bridge.UserID(fmt.Sprint(i)), from: 1, to: 1, traceparent: "t", at: now})
	}
	for i := range all.shards {
		if n := len(all.shards[i].all); n > maxTraces {
			t.Fatalf("%d are kept of one shard", n)
		}
	}
	if all.find("99999", 1, now) == "" {
		t.Error("the newest was not kept")
	}
	all.add(traceEntry{user: "0", from: 1, to: 1, traceparent: "t", at: now.Add(2 * bridge.HintLife)})
	if n := len(all.shard("0").all); n != 1 {
		t.Errorf("%d are kept, %d of them old", n, n-1)
	}
}

func TestUntracedMessagesAllocateNothing(t *testing.T) {
	var all traces
	now := time.Now()
	all.add(traceEntry{user: "7", from: 1, to: 1, traceparent: "t", at: now})
	if n := testing.AllocsPerRun(100, func() {
		if bridge.Sampled(nil, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01") || all.find("8", 1, now) != "" {
			t.Error("the message is traced")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
