package bustest

import (
	"errors"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/testserver"
)

func runInterest(t *testing.T, f func(t *testing.T) Fixture) {
	for name, test := range map[string]func(*testing.T, Fixture){
		"hints of a user arrive from Watch to Unwatch": watchAndUnwatch,
		"Watch and Unwatch work during an outage":      watchDuringOutage,
		"Watch and Unwatch never block":                watchNeverBlocks,
		"the last of many changes counts":              watchFlaps,
		"Watch is followed by a call of Reconnected":   watchReconnects,
	} {
		t.Run(name, func(t *testing.T) { test(t, f(t)) })
	}
}

func (n *Node) unwatch(u bridge.UserID) { n.Bus.(bridge.Interest).Unwatch(u) }

// ignores waits until n receives no more hints of u. In each round from sends a hint of u and then
// one of user 7, whom every node watches. Once the second hint has arrived, the first one would have
// arrived as well if n still watched u.
func (n *Node) ignores(t *testing.T, from *Node, u bridge.UserID) {
	t.Helper()
	gen := int64(1000)
	testserver.Eventually(t, limit, func() error {
		gen++
		unwanted := bridge.Hint{Type: bridge.HintTakeover, User: u, ClientID: "unwanted", Gen: gen}
		from.Publish(unwanted)
		n.receives(t, from, bridge.Hint{Type: bridge.HintTakeover, User: "7", ClientID: "mark", Gen: gen})
		if n.hasReceived(unwanted) {
			return errors.New(n.name + " still receives hints of a user whom it no longer watches")
		}
		return nil
	})
}

func watchAndUnwatch(t *testing.T, f Fixture) {
	ns := f.nodes(t, 2, "7")
	for round := range int64(3) {
		ns[1].watch("8")
		ns[1].receives(t, ns[0], bridge.Hint{Type: bridge.HintTakeover, User: "8", ClientID: "c", Gen: round + 1})
		ns[1].unwatch("8")
		ns[1].ignores(t, ns[0], "8")
	}
}

func watchDuringOutage(t *testing.T, f Fixture) {
	ns := f.nodes(t, 2, "7", "9")
	must(t, f.Server.Stop())
	ns[1].disconnected(t)
	ns[1].watch("8")
	ns[1].unwatch("9")
	must(t, f.Server.Start())
	ns[1].receives(t, ns[0], bridge.Hint{Type: bridge.HintMuted, User: "8"})
	ns[1].ignores(t, ns[0], "9")
}

func watchNeverBlocks(t *testing.T, f Fixture) {
	const many = 20000
	ns := f.nodes(t, 2, "7")
	f.Proxy.Freeze()
	start := time.Now()
	for i := range many {
		ns[1].watch(user(i))
		if i%2 == 1 {
			ns[1].unwatch(user(i))
		}
	}
	if d := time.Since(start); d > 2*time.Second {
		t.Errorf("%d changes took %v on a stalled server", many, d)
	}
	f.Proxy.Thaw()
	ns[1].receives(t, ns[0], bridge.Hint{Type: bridge.HintMuted, User: user(0)})
	ns[1].receives(t, ns[0], bridge.Hint{Type: bridge.HintMuted, User: user(many - 2)})
	ns[1].ignores(t, ns[0], user(many-1))
}

func watchFlaps(t *testing.T, f Fixture) {
	ns := f.nodes(t, 2, "7")
	for range 1000 {
		ns[1].watch("8")
		ns[1].unwatch("8")
		ns[1].unwatch("9")
		ns[1].watch("9")
	}
	ns[1].receives(t, ns[0], bridge.Hint{Type: bridge.HintMuted, User: "9"})
	ns[1].ignores(t, ns[0], "8")
}

// Hints are lost between Watch and the moment when the server has subscribed, so Reconnected has to
// be called then.
func watchReconnects(t *testing.T, f Fixture) {
	ns := f.nodes(t, 1, "7")
	before := ns[0].reconnects()
	ns[0].watch("8")
	testserver.Eventually(t, limit, func() error {
		if ns[0].reconnects() == before {
			return errors.New("Reconnected was not called")
		}
		return nil
	})
}
