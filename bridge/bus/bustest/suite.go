// Package bustest tests the contract of [bridge.Bus]. Every bus passes the same suite, in which its
// real server is stopped, stalled and started again.
package bustest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/testserver"
)

// Fixture is one cluster of nodes, with its server.
type Fixture struct {
	// Join returns the bus of another node, which is not running yet.
	Join func(node string) bridge.Bus

	// Garbage publishes something that no node would send, on the channels to which the
	// nodes listen. nil means that the bus has no channels.
	Garbage func(junk string)

	// Server is the server to which the buses connect through Proxy. It is nil if there is
	// none, and then the tests of outages do not apply.
	Server interface {
		Start() error
		Stop() error
	}
	Proxy *Proxy
}

func (f Fixture) join(t *testing.T, name string) *Node {
	t.Helper()
	return &Node{Bus: f.Join(name), name: name}
}

// nodes returns n nodes that are listening.
func (f Fixture) nodes(t *testing.T, n int, watched ...bridge.UserID) []*Node {
	t.Helper()
	all := make([]*Node, n)
	for i := range all {
		all[i] = f.join(t, fmt.Sprintf("node-%d", i))
		all[i].watch(watched...)
		all[i].start(t)
	}
	for _, one := range all {
		one.ready(t)
	}
	return all
}

// Run checks the bus of f against the contract.
func Run(t *testing.T, f func(t *testing.T) Fixture) {
	for name, test := range map[string]func(*testing.T, Fixture){
		"every kind of hint reaches the other nodes":                 everyKind,
		"unusual ids arrive as they were sent":                       unusualIDs,
		"many goroutines publish at once":                            manyPublish,
		"hints before, during and after Run neither block nor panic": publishAnytime,
		"Run returns nil when its context ends":                      runEnds,
		"Run may be called again":                                    runAgain,
		"garbage is ignored":                                         garbage,
	} {
		t.Run(name, func(t *testing.T) { test(t, f(t)) })
	}
	probe := f(t)
	if probe.Server != nil {
		for name, test := range map[string]func(*testing.T, Fixture){
			"nodes recover from an outage":                    outage,
			"nodes recover from cut connections":              cut,
			"a half-open connection is noticed":               halfOpen,
			"the server restarts under a stream of hints":     midStream,
			"Run ends while the server is stopped or stalled": endsWhileStopped,
			"nodes may start before the server":               startBeforeServer,
		} {
			t.Run(name, func(t *testing.T) { test(t, f(t)) })
		}
	}
	if _, ok := probe.Join("probe").(bridge.Interest); ok {
		runInterest(t, f)
	}
}

func everyKind(t *testing.T, f Fixture) {
	ns := f.nodes(t, 3, "7")
	for i, h := range []bridge.Hint{
		{Type: bridge.HintAppended, User: "7", Seq: 12},
		{Type: bridge.HintMuted, User: "7"},
		{Type: bridge.HintTakeover, User: "7", ClientID: "phone", Gen: 5},
		{Type: bridge.HintEnd, User: "7"},
		{Type: bridge.HintState, User: "7"},
		{Type: bridge.HintAppended, User: "7", Seq: 14, From: 13, Traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
	} {
		from := ns[i%len(ns)]
		for _, n := range ns {
			if n != from {
				n.receives(t, from, h)
			}
		}
	}
	for _, n := range ns {
		n.mu.Lock()
		for _, h := range n.hints {
			if h.Items != nil || !h.At.IsZero() {
				t.Errorf("%s received items of another process", n.name)
			}
			if h.Node == "" {
				t.Errorf("%s received a hint without its sender", n.name)
			}
		}
		n.mu.Unlock()
	}
}

func unusualIDs(t *testing.T, f Fixture) {
	users := []bridge.UserID{"0", "9007199254740991", "007", "a.b_c:d@e|f-g", bridge.UserID(fmt.Sprintf("%0128d", 1))}
	ns := f.nodes(t, 2, users...)
	for _, u := range users {
		for _, id := range []string{"x", `"'\`, "señal ✓", "$1 ? %s\n\t", "{}[],:*", fmt.Sprintf("%0256d", 1)} {
			ns[1].receives(t, ns[0], bridge.Hint{Type: bridge.HintTakeover, User: u, ClientID: id, Gen: 1<<62 + 1})
		}
	}
}

func manyPublish(t *testing.T, f Fixture) {
	ns := f.nodes(t, 2, "7")
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 100 {
				ns[0].Publish(bridge.Hint{Type: bridge.HintTakeover, User: "7", ClientID: "c", Gen: int64(g*100 + i)},
					bridge.Hint{Type: bridge.HintMuted, User: "7"})
			}
		})
	}
	wg.Wait()
	ns[1].receives(t, ns[0], bridge.Hint{Type: bridge.HintTakeover, User: "7", ClientID: "last", Gen: 1})
	ns[1].mu.Lock()
	defer ns[1].mu.Unlock()
	if n := len(ns[1].hints); n < 100 {
		t.Errorf("only %d of 1600 hints arrived on a healthy server", n)
	}
	for _, h := range ns[1].hints {
		if h.User != "7" || h.Type == bridge.HintTakeover && h.ClientID != "c" && h.ClientID != "last" {
			t.Errorf("received a hint that no node sent: %+v", h)
		}
	}
}

func publishAnytime(t *testing.T, f Fixture) {
	n := f.join(t, "early")
	n.publishes(t, 10000)
	n.start(t)
	n.publishes(t, 10000)
	n.ready(t)
	n.publishes(t, 10000)
	n.stop(t)
	n.publishes(t, 10000)
}

func runEnds(t *testing.T, f Fixture) {
	ns := f.nodes(t, 2, "7")
	ns[0].stop(t)
	start := time.Now()
	ns[1].stop(t)
	if d := time.Since(start); d > 3*time.Second {
		t.Errorf("Run took %v to end", d)
	}
}

func runAgain(t *testing.T, f Fixture) {
	ns := f.nodes(t, 2, "7")
	ns[1].stop(t)
	before := ns[1].reconnects()
	ns[1].start(t)
	testserver.Eventually(t, limit, func() error {
		if ns[1].reconnects() == before {
			return fmt.Errorf("the second Run does not listen")
		}
		return nil
	})
	ns[1].receives(t, ns[0], bridge.Hint{Type: bridge.HintMuted, User: "7"})
}

func garbage(t *testing.T, f Fixture) {
	if f.Garbage == nil {
		f.Garbage = func(string) {}
	}
	ns := f.nodes(t, 2, "7")
	before := ns[1].reconnects()
	for _, junk := range []string{
		"", "x", "null", "[]", "{}", `{"n":5}`, `{"h":"x"}`, `{"n":"x","h":[{"t":"z","u":"7"}]}`, `{"n":"x","h":[{"t":"m","u":"a/b"}]}`, `{"n":"x","h":[{"t":"e"}]}`,
		`{"n":"x","h":[5,null,{}]}`, `{"n":"x","u":[[]]}`, `{"n":"x","u":[["7"]]}`, `{"n":"x","u":[["7","8"]]}`, `{"n":"x","u":[["+",1]]}`,
		`{"n":"x"`, "\xff\xfe", `{"n":"x","all":"yes"}`,
	} {
		f.Garbage(junk)
	}
	for _, n := range ns {
		other := ns[0]
		if n == other {
			other = ns[1]
		}
		n.receives(t, other, bridge.Hint{Type: bridge.HintTakeover, User: "7", ClientID: "after", Gen: 1})
		n.mu.Lock()
		for _, h := range n.hints {
			if h.ClientID != "after" {
				t.Errorf("%s decoded garbage as %+v", n.name, h)
			}
		}
		n.mu.Unlock()
	}
	if ns[1].reconnects() != before {
		t.Error("garbage ended the connection")
	}
}
