package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// smallHeap is the size that the heap reaches before the garbage collector runs, as long as
// less than half of it is live. A larger one would count for a few thousand idle connections:
// with 64 MiB, 5,000 of them took 18.1 KiB each instead of 12.9 (falconbridge bench idle
// --connections 5000 --waves 2 --hold 1s --settle 4s).
//
// A node with a few thousand devices has about 11 MiB of live objects. With GOGC=100, at 1,000
// posts a second on two cores, the collector ran every 0.8 s, and each time posts waited up to
// 10 ms: 40 % of those that took longer than 2.5 ms (docs/performance.md).
const smallHeap = 48 << 20

// keepSmallHeap makes the garbage collector run at smallHeap where GOGC=100 would make it run
// earlier. GOGC overrides this, and GOMEMLIMIT applies as usual.
func keepSmallHeap() {
	if os.Getenv("GOGC") != "" {
		return
	}
	sizes := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/stack:bytes"}, {Name: "/gc/scan/globals:bytes"}}
	percent := 100
	afterEachCollection(func() {
		metrics.Read(sizes)
		// Setting it stops all goroutines for some microseconds, so small changes are left.
		live, others := sizes[0].Value.Uint64(), sizes[1].Value.Uint64()+sizes[2].Value.Uint64()
		if want := collectAt(live, others); want < percent*9/10 || want > percent*11/10 {
			percent = want
			debug.SetGCPercent(percent)
		}
	})
}

// collectAt returns the GOGC with which the heap reaches smallHeap, and at least 100. The
// runtime adds that percentage of the live heap, and of stacks and globals, to the live heap.
// It takes GOGC for 4 MiB as the least size, so more than 1200 would exceed smallHeap. All
// sizes are in bytes.
func collectAt(live, others uint64) int {
	const least = 4 << 20
	room := smallHeap - min(live, smallHeap)
	return max(100, int(100*room/max(live+others, least)))
}

// afterEachCollection calls f soon after each run of the garbage collector, until the process
// ends. Two calls never overlap.
func afterEachCollection(f func()) {
	var arm func()
	arm = func() {
		unreachable := new([1]*byte) // has a pointer, so that it is not allocated together with others
		runtime.AddCleanup(unreachable, func(struct{}) { f(); arm() }, struct{}{})
	}
	arm()
}
