package crashtest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/testserver"
)

// hops cuts the connections of random devices at random moments, so that they move to another
// node, until stop is called.
func hops(ds []*device) (stop func()) {
	end := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-end:
				return
			case <-time.After(time.Duration(20+rand.IntN(60)) * time.Millisecond):
				ds[rand.IntN(len(ds))].hop()
			}
		}
	})
	return func() { close(end); wg.Wait() }
}

// Three nodes share one Postgres. They are killed one after the other while devices move between
// them.
func TestThreeNodesKilledUnderLoadLoseNothing(t *testing.T) {
	f := newFleet(t, 3, withDatabase(testserver.Postgres(t)))
	us := users(6)
	ds := f.devices(us, nil)
	l, stop := f.posters(6, us)
	stopHops := hops(ds)
	f.crash(kills(t, 10), l)
	stopHops()
	stop()
	f.check(l, ds)
}

// A node that was cut off from the database resumes deliveries once it is reachable again.
func TestANodeCutOffFromPostgresLosesNothing(t *testing.T) {
	raw := testserver.Postgres(t)
	w := newWire(t, host(t, raw))
	f := newFleet(t, 3, func(i int) []string {
		if i == 0 {
			return withDatabase(w.through(raw))(i)
		}
		return withDatabase(raw)(i)
	})
	us := users(4)
	ds := f.devices(us, nil)
	l, stop := f.posters(4, us)
	stopHops := hops(ds)
	<-time.After(500 * time.Millisecond) // under load
	w.cut()
	<-time.After(6 * time.Second) // longer than a node's view of the cluster is valid
	w.restore()
	<-time.After(500 * time.Millisecond)
	stopHops()
	stop()
	f.check(l, ds)
}

// One node is cut off from the bus, and then the bus restarts, which affects all nodes. They resume
// deliveries without help.
func TestANodeCutOffFromRedisLosesNothing(t *testing.T) {
	raw, redis := testserver.Postgres(t), testserver.NewRedis(t)
	w := newWire(t, redis.Addr)
	f := newFleet(t, 3, func(i int) []string {
		bus := redis.URL
		if i == 0 {
			bus = w.through(redis.URL)
		}
		return append(withDatabase(raw)(i), "FALCON_BUS="+bus)
	})
	us := users(4)
	ds := f.devices(us, nil)
	l, stop := f.posters(4, us)
	stopHops := hops(ds)
	<-time.After(500 * time.Millisecond) // under load
	w.cut()
	<-time.After(3 * time.Second)
	w.restore()
	if err := redis.Kill(); err != nil { // now for all nodes
		t.Fatal(err)
	}
	<-time.After(time.Second)
	if err := redis.Start(); err != nil {
		t.Fatal(err)
	}
	stopHops()
	stop()
	f.check(l, ds)
}

// Two nodes are restarted one after the other, as for a change of settings. No POST fails and no
// device misses anything.
func TestRollingRestartFailsNoPost(t *testing.T) {
	bin := testserver.Binary(t)
	f := newFleet(t, 2, draining(testserver.Postgres(t)))
	us := users(4)
	ds := f.devices(us, nil)
	l, stop := f.posters(4, us)
	f.replaceAll(bin)
	stop()
	f.check(l, ds)
	l.checkNoFailures(t)
}

// An upgrade replaces the nodes of the previous release one after the other. The first new node
// migrates the schema while the old one is under load. A rollback then does the reverse.
func TestRollingUpgradeAndRollbackFailNoPost(t *testing.T) {
	t.Parallel()
	before, after := testserver.PreviousBinary(t), testserver.Binary(t)
	f := newFleetOf(t, []string{before, before}, draining(testserver.Postgres(t)))
	us := users(4)
	ds := f.devices(us, nil)
	l, stop := f.posters(4, us)
	f.replaceAll(after)
	f.replaceAll(before)
	stop()
	f.check(l, ds)
	l.checkNoFailures(t)
}

// A node of the previous release and one of this release share a Postgres. A post to one of them
// wakes devices at the other, while some devices move between them.
func TestNodesOfTwoReleasesDeliverForEachOther(t *testing.T) {
	for name, extra := range map[string]func(t *testing.T) []string{
		"over Postgres": func(*testing.T) []string { return nil },
		"over Redis":    func(t *testing.T) []string { return []string{"FALCON_BUS=" + testserver.NewRedis(t).URL} },
	} {
		t.Run(name, func(t *testing.T) {
			raw, bus := testserver.Postgres(t), extra(t)
			f := newFleetOf(t, []string{testserver.Binary(t), testserver.PreviousBinary(t)}, func(i int) []string { return append(withDatabase(raw)(i), bus...) })
			us := users(2)
			var stay []*device // connected to one node each
			for _, x := range f.nodes {
				stay = append(stay, f.devices(us, func() (net.Conn, error) { return net.DialTimeout("tcp", x.mqtt, 2*time.Second) })...)
			}
			move := f.devices(us, nil)
			for _, d := range move {
				// The previous release does not set DUP on messages that another node sent
				// after that node had lost the session.
				d.mu.Lock()
				d.noDUP = true
				d.mu.Unlock()
			}
			l, stop := f.posters(3, us)
			stopHops := hops(move)
			testserver.Eventually(t, waitLimit, func() error {
				if n := l.count(); n < 200 {
					return fmt.Errorf("%d posts got a 201", n)
				}
				return nil
			})
			stopHops()
			stop()
			f.check(l, slices.Concat(stay, move))
			l.checkNoFailures(t)

			// Now one post at a time, alternating between the nodes. Without hints each post
			// would have to wait for a sweep. Sweeps are 5 s apart on any machine.
			app, begun := sign(t, "app", bridge.ScopeWrite), time.Now()
			for i := range 6 {
				one := &fleet{t: t, nodes: f.nodes[i%2 : i%2+1]}
				one.post(l, app, us[:1])
				f.check(l, stay)
			}
			if took := time.Since(begun); took > 20*time.Second {
				t.Errorf("six posts took %v to arrive from one release to the other: there were no hints", took)
			}
		})
	}
}

// draining is an environment that gives a load balancer time to notice that a node is draining.
func draining(url string) func(int) []string {
	return func(i int) []string { return append(withDatabase(url)(i), "FALCON_DRAIN_DELAY=500ms") }
}

// replaceAll drains the nodes one after the other and starts bin in their place.
func (f *fleet) replaceAll(bin string) {
	for _, x := range f.nodes {
		<-time.After(500 * time.Millisecond) // under load
		x.drain()
		x.start(f.t, bin)
		x.ready(f.t)
	}
}

// drain stops sending clients to the node, as a load balancer would because of its readiness, and
// ends it by SIGTERM.
func (x *node) drain() {
	x.mu.Lock()
	x.up = false
	x.mu.Unlock()
	x.end(syscall.SIGTERM)
}
