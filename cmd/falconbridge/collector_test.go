package main

import (
	"runtime"
	"testing"
)

func TestTheHeapGrowsToItsSmallSizeAndThenDoubles(t *testing.T) {
	for _, tt := range []struct {
		live, others uint64
		want         int
	}{
		{0, 0, 4800},
		{1 << 20, 0, 4700},
		{12 << 20, 0, 300},
		{8 << 20, 2 << 20, 400},
		{16 << 20, 16 << 20, 100},
		{24 << 20, 0, 100},
		{48 << 20, 0, 100},
		{100 << 30, 1 << 30, 100},
	} {
		if got := collectAt(tt.live, tt.others); got != tt.want {
			t.Errorf("with %d and %d bytes the heap may grow by %d %%, want %d", tt.live, tt.others, got, tt.want)
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
