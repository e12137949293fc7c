package bench

import (
	"testing"
	"time"
)

func TestEveryDurationIsWithinItsBucket(t *testing.T) {
	for _, ns := range []uint64{0, 1, 127, 128, 129, 255, 256, 257, 999, 1000, 123_456_789, 1 << 40, 1<<62 + 12345} {
		b := bucketOf(ns)
		upper := upperOf(b)
		if uint64(upper) < ns {
			t.Errorf("%d is in bucket %d, which ends at %d", ns, b, upper)
		}
		if b > 0 && uint64(upperOf(b-1)) >= ns {
			t.Errorf("%d is in bucket %d, but the one before ends at %d", ns, b, upperOf(b-1))
		}
		if float64(upper) > float64(ns)*1.008+1 {
			t.Errorf("%d is reported as %d, more than 0.8 %% too high", ns, upper)
		}
	}
}

func TestQuantilesAreAtMostOnePercentTooHigh(t *testing.T) {
	var hs histograms
	for i := 1; i <= 1000; i++ {
		hs.of(i).add(time.Duration(i) * time.Millisecond)
	}
	l := hs.latency()
	for name, tt := range map[string]struct{ got, want float64 }{
		"p50":   {l.P50, 500},
		"p90":   {l.P90, 900},
		"p99":   {l.P99, 990},
		"p99.9": {l.P999, 999},
		"max":   {l.Max, 1000},
	} {
		if tt.got < tt.want || tt.got > tt.want*1.008 {
			t.Errorf("%s: %v ms, want %v", name, tt.got, tt.want)
		}
	}
	if l.Count != 1000 {
		t.Errorf("%d were counted", l.Count)
	}
}

func TestAnEmptyHistogramHasNoQuantiles(t *testing.T) {
	var hs histograms
	if l := hs.latency(); l != (Latency{}) {
		t.Errorf("%+v", l)
	}
}
