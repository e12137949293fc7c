package crashtest

import (
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/internal/testserver"
)

// hops makes devices leave for another node at random moments, until stopped.
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

// Three nodes over one Postgres; one after the other is killed while devices hop
// between them.
func TestThreeNodesKilledUnderLoadLoseNothing(t *testing.T) {
	f := newFleet(t, 3, on(testserver.Postgres(t)))
	us := users(6)
	ds := f.devices(us, nil)
	l, stop := f.posters(6, us)
	still := hops(ds)
	f.crash(kills(t, 10), l)
	still()
	stop()
	f.check(l, ds)
}

// A node that loses the database, or the bus, delivers again by itself.
func TestANodeIsCutFromPostgres(t *testing.T) {
	raw := testserver.Postgres(t)
	w := newWire(t, host(t, raw))
	f := newFleet(t, 3, func(i int) []string {
		if i == 0 {
			return on(w.through(raw))(i)
		}
		return on(raw)(i)
	})
	us := users(4)
	ds := f.devices(us, nil)
	l, stop := f.posters(4, us)
	still := hops(ds)
	<-time.After(500 * time.Millisecond) // under load
	w.cut()
	<-time.After(6 * time.Second) // longer than its view of the cluster lives
	w.mend()
	<-time.After(500 * time.Millisecond)
	still()
	stop()
	f.check(l, ds)
}

func TestANodeIsCutFromRedis(t *testing.T) {
	raw, redis := testserver.Postgres(t), testserver.NewRedis(t)
	w := newWire(t, redis.Addr)
	f := newFleet(t, 3, func(i int) []string {
		bus := redis.URL
		if i == 0 {
			bus = w.through(redis.URL)
		}
		return append(on(raw)(i), "FALCON_BUS="+bus)
	})
	us := users(4)
	ds := f.devices(us, nil)
	l, stop := f.posters(4, us)
	still := hops(ds)
	<-time.After(500 * time.Millisecond) // under load
	w.cut()
	<-time.After(3 * time.Second)
	w.mend()
	if err := redis.Kill(); err != nil { // and now for everybody
		t.Fatal(err)
	}
	<-time.After(time.Second)
	if err := redis.Start(); err != nil {
		t.Fatal(err)
	}
	still()
	stop()
	f.check(l, ds)
}

// Two nodes are restarted one after the other, as an upgrade does: no POST fails
// and no device misses anything.
func TestRollingRestartFailsNoPost(t *testing.T) {
	raw := testserver.Postgres(t)
	f := newFleet(t, 2, func(i int) []string { return append(on(raw)(i), "FALCON_DRAIN_DELAY=500ms") })
	us := users(4)
	ds := f.devices(us, nil)
	l, stop := f.posters(4, us)
	bin := testserver.Binary(t)
	for _, x := range f.nodes {
		<-time.After(500 * time.Millisecond) // under load
		x.drain()
		x.start(t, bin)
		x.ready(t)
	}
	stop()
	f.check(l, ds)
	if l.tries > 0 {
		t.Errorf("%d posts failed at first: %s", l.tries, l.why)
	}
}

// drain takes the node out of the load balancer's list, as its readiness says,
// and ends it in order.
func (x *node) drain() {
	x.mu.Lock()
	x.up = false
	x.mu.Unlock()
	x.end(syscall.SIGTERM)
}
