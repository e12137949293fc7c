package main

import (
	"runtime"
	"testing"
)

func TestTheHeapGrowsToItsSmallSizeAndThenDoubles(t *testing.T) {
	for live, want := range map[uint64]int{
		0:         6300,
		1 << 20:   6300,
		16 << 20:  300,
		24 << 20:  166,
		32 << 20:  100,
		64 << 20:  100,
		100 << 30: 100,
	} {
		if got := collectAt(live); got != want {
			t.Errorf("with %d bytes live the heap may grow by %d %%, want %d", live, got, want)
		}
	}
}

// The live heap may grow between two collections. The one that finds that must lead to a new
// percentage before the next, or a heap that was small would be left to grow to many times
// its size.
func TestEachCollectionIsFollowedByACall(t *testing.T) {
	called := make(chan struct{}, 16)
	afterEachCollection(func() {
		select {
		case called <- struct{}{}:
		default:
		}
	})
	for range 3 {
		runtime.GC()
		<-called
	}
}
