package bustest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/testserver"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// recoverAfter calls f, which causes an outage. It fails the test unless every node then calls
// Reconnected and receives hints again.
func recoverAfter(t *testing.T, ns []*Node, f func()) {
	t.Helper()
	before := make([]int, len(ns))
	for i, n := range ns {
		before[i] = n.reconnects()
	}
	f()
	for i, n := range ns {
		testserver.Eventually(t, limit, func() error {
			if n.reconnects() == before[i] {
				return fmt.Errorf("Reconnected of %s was not called", n.name)
			}
			return n.Ready()
		})
	}
	for i, n := range ns {
		from := ns[(i+1)%len(ns)]
		n.receives(t, from, bridge.Hint{Type: bridge.HintTakeover, User: "7", ClientID: "back", Gen: int64(before[i])})
		n.receives(t, from, bridge.Hint{Type: bridge.HintAppended, User: "7", Seq: bridge.Seq(100 + before[i])})
	}
}

func outage(t *testing.T, f Fixture) {
	ns := f.nodes(t, 2, "7")
	for range 2 {
		recoverAfter(t, ns, func() {
			must(t, f.Server.Stop())
			for _, n := range ns {
				n.disconnected(t)
				n.publishes(t, 20000)
			}
			must(t, f.Server.Start())
		})
	}
}

func cut(t *testing.T, f Fixture) {
	ns := f.nodes(t, 2, "7")
	for range 3 {
		recoverAfter(t, ns, f.Proxy.Cut)
	}
}

// halfOpen freezes the network, so that neither end of a connection is notified that the other is
// unreachable.
func halfOpen(t *testing.T, f Fixture) {
	ns := f.nodes(t, 2, "7")
	recoverAfter(t, ns, func() {
		f.Proxy.Freeze()
		start := time.Now()
		for _, n := range ns {
			n.publishes(t, 20000)
			n.disconnected(t)
			n.publishes(t, 20000)
		}
		if d := time.Since(start); d > 15*time.Second {
			t.Errorf("the nodes took %v to notice", d)
		}
		f.Proxy.Thaw()
	})
}

func midStream(t *testing.T, f Fixture) {
	ns := f.nodes(t, 2, "7")
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for _, n := range ns {
		wg.Go(func() {
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			for gen := int64(1); ; gen++ {
				n.Publish(bridge.Hint{Type: bridge.HintTakeover, User: "7", ClientID: "stream", Gen: gen})
				select {
				case <-stop:
					return
				case <-tick.C:
				}
			}
		})
	}
	recoverAfter(t, ns, func() {
		must(t, f.Server.Stop())
		must(t, f.Server.Start())
	})
	close(stop)
	wg.Wait()
}

func endsWhileStopped(t *testing.T, f Fixture) {
	ns := f.nodes(t, 4, "7")
	stopQuickly := func(n *Node) {
		start := time.Now()
		n.stop(t)
		if d := time.Since(start); d > 3*time.Second {
			t.Errorf("Run of %s took %v to end", n.name, d)
		}
	}
	f.Proxy.Freeze()
	ns[0].publishes(t, 1000)
	stopQuickly(ns[0]) // before it can notice the outage
	ns[1].disconnected(t)
	stopQuickly(ns[1]) // while it is connecting to a server that does not respond
	f.Proxy.Thaw()
	must(t, f.Server.Stop())
	ns[2].disconnected(t)
	stopQuickly(ns[2])
	must(t, f.Server.Start())
	ns[3].ready(t)
}

func startBeforeServer(t *testing.T, f Fixture) {
	must(t, f.Server.Stop())
	ns := []*Node{f.join(t, "one"), f.join(t, "two")}
	for _, n := range ns {
		n.watch("7")
		if n.Ready() == nil {
			t.Errorf("%s is ready before it runs", n.name)
		}
		n.start(t)
		n.publishes(t, 1000)
	}
	recoverAfter(t, ns, func() { must(t, f.Server.Start()) })
}
