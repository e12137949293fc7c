package bench

import (
	"testing"
	"time"
)

func TestABucketHoldsWhatFallsIntoIt(t *testing.T) {
	for _, ns := range []uint64{0, 1, 127, 128, 129, 255, 256, 257, 999, 1000, 123_456_789, 1 << 40, 1<<62 + 12345} {
		b := bucketOf(ns)
		upper := upperOf(b)
		if uint64(upper) < ns {
			t.Errorf("%d falls into bucket %d, which ends at %d", ns, b, upper)
		}
		if b > 0 && uint64(upperOf(b-1)) >= ns {
			t.Errorf("%d falls into bucket %d, but the one before ends at %d only", ns, b, upperOf(b-1))
		}
		if float64(upper) > float64(ns)*1.008+1 {
			t.Errorf("%d is reported as %d, more than 0.8 %% too high", ns, upper)
		}
	}
}

func TestQuantilesAreThoseOfWhatWasAdded(t *testing.T) {
	var hs histograms
	for i := 1; i <= 1000; i++ {
		hs.of(i).add(time.Duration(i) * time.Millisecond)
	}
	l := hs.latency()
	for name, tt := range map[string]struct{ got, want float64 }{
		"half":               {l.P50, 500},
		"nine of ten":        {l.P90, 900},
		"99 of a hundred":    {l.P99, 990},
		"999 of a thousand":  {l.P999, 999},
		"the longest, exact": {l.Max, 1000},
	} {
		if tt.got < tt.want || tt.got > tt.want*1.008 {
			t.Errorf("%s: %v ms, not %v", name, tt.got, tt.want)
		}
	}
	if l.Count != 1000 {
		t.Errorf("%d were counted", l.Count)
	}
}

func TestNothingAddedHasNoQuantiles(t *testing.T) {
	var hs histograms
	if l := hs.latency(); l != (Latency{}) {
		t.Errorf("%+v", l)
	}
}
