package main

import (
	"fmt"
	"regexp"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/internal/testserver"
)

func TestTheHeapGrowsToItsSmallSizeAndThenDoubles(t *testing.T) {
	for _, tt := range []struct {
		live, others uint64
		want         int
	}{
		{0, 0, 1200},
		{1 << 20, 0, 1175},
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

// A running server has a few MiB of live objects. Its heap must be left to grow to smallHeap,
// and not beyond; an operator's GOGC must be left alone.
func TestTheServerCollectsASmallHeapRarely(t *testing.T) {
	for name, tt := range map[string]struct {
		env       map[string]string
		low, high float64 // GOGC
	}{
		"by itself": {nil, 101, 1200},
		"with GOGC": {map[string]string{"GOGC": "150"}, 150, 150},
	} {
		t.Run(name, func(t *testing.T) {
			p := testserver.NewProgram(t, tt.env)
			testserver.Eventually(t, 30*time.Second, func() error {
				text, err := fetch(p.Admin + "/metrics") // each scrape allocates
				if err != nil {
					return err
				}
				percent, goal := gauge(t, text, "go_gc_gogc_percent"), gauge(t, text, "go_memstats_next_gc_bytes")
				if gauge(t, text, "go_memstats_last_gc_time_seconds") == 0 || percent < tt.low || percent > tt.high || goal > 1.1*smallHeap {
					return fmt.Errorf("GOGC is %v, and the heap grows to %v MiB", percent, goal/(1<<20))
				}
				return nil
			})
		})
	}
}

// gauge returns the value of a metric without labels.
func gauge(t *testing.T, text, name string) float64 {
	t.Helper()
	m := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("the metric %s is missing", name)
	}
	v, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
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
