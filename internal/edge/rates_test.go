package edge

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/falconalert/falconbridge/internal/fakeclock"
)

func TestABucketFillsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRates[string](2)
		if first, second := r.Allow("u"), r.Allow("u"); !first || !second {
			t.Fatal("one second's worth is not allowed at once")
		}
		wait := r.Take("u")
		if wait <= 0 || wait > 500*time.Millisecond || r.Wait("u") != wait {
			t.Fatalf("wait %v, or %v", wait, r.Wait("u"))
		}
		if !r.Allow("another") {
			t.Error("one key uses up another's rate")
		}
		fakeclock.Advance(wait) // faked time
		if wait := r.Take("u"); wait != 0 {
			t.Errorf("still to wait %v", wait)
		}
	})
}

// The attack is a flood from more addresses than are remembered.
func TestAFloodFromManyAddressesUsesBoundedMemory(t *testing.T) {
	r := NewRates[int](1)
	for i := range 200_000 {
		if !r.Allow(i) || r.Allow(i) {
			t.Fatal("the first call of a key is refused, or the second one right after it is allowed")
		}
	}
	kept := 0
	for i := range r.shards {
		kept += len(r.shards[i].young) + len(r.shards[i].old)
	}
	if limit := rateShards * 2 * maxGeneration; kept > limit || kept < limit/4 {
		t.Errorf("%d buckets are kept, want at most %d", kept, limit)
	}
}

func TestARateOfZeroIsNoLimit(t *testing.T) {
	r := NewRates[int](0)
	for range 100 {
		if !r.Allow(1) || r.Wait(1) != 0 {
			t.Fatal("refused")
		}
	}
}
