package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// smallHeap is the size that the heap reaches before the garbage collector runs, as long as
// less than half of it is live.
//
// A node with a few thousand devices has about 11 MiB of live objects. With GOGC=100, at 1,000
// posts a second on two cores, the collector ran every 0.8 s, and each time posts waited up to
// 10 ms: 40 % of those that took longer than 2.5 ms (docs/performance.md).
const smallHeap = 64 << 20

// keepSmallHeap makes the garbage collector run at smallHeap where GOGC=100 would make it run
// earlier. GOGC overrides this, and GOMEMLIMIT applies as usual.
func keepSmallHeap() {
	if os.Getenv("GOGC") != "" {
		return
	}
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	percent := 100
	afterEachCollection(func() {
		metrics.Read(live)
		// Setting it stops all goroutines for some microseconds, so small changes are left.
		if want := collectAt(live[0].Value.Uint64()); want < percent*9/10 || want > percent*11/10 {
			percent = want
			debug.SetGCPercent(percent)
		}
	})
}

// collectAt returns by how many percent the heap may grow beyond what is live, in bytes.
func collectAt(live uint64) int {
	const least = 1 << 20
	return max(100, int(100*smallHeap/max(live, least))-100)
}

// afterEachCollection calls f soon after each run of the garbage collector, from one
// goroutine.
func afterEachCollection(f func()) {
	var arm func()
	arm = func() {
		unreachable := new([1]*byte) // has a pointer, so that it is not allocated together with others
		runtime.AddCleanup(unreachable, func(struct{}) { f(); arm() }, struct{}{})
	}
	arm()
}
