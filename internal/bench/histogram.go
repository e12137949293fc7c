package bench

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// histogram counts durations in buckets whose width grows with the value, like an HDR histogram.
// There are 128 buckets for each power of two, so a quantile is at most 0.8 % too high. Any
// goroutine may add to it.
type histogram struct {
	counts [histogramSize]atomic.Uint32
	max    atomic.Int64
}

const (
	histogramBits = 7
	histogramSize = (64 - histogramBits) << histogramBits
)

// bucketOf returns the bucket of a duration in nanoseconds.
func bucketOf(ns uint64) int {
	if ns < 1<<histogramBits {
		return int(ns)
	}
	shift := bits.Len64(ns) - histogramBits - 1
	return shift<<histogramBits + int(ns>>shift)
}

// upperOf returns the largest duration of a bucket.
func upperOf(bucket int) int64 {
	if bucket < 2<<histogramBits {
		return int64(bucket)
	}
	shift := bucket>>histogramBits - 1
	mantissa := int64(bucket&(1<<histogramBits-1) | 1<<histogramBits)
	return (mantissa+1)<<shift - 1
}

func (h *histogram) add(d time.Duration) {
	ns := max(0, int64(d))
	h.counts[bucketOf(uint64(ns))].Add(1)
	for {
		old := h.max.Load()
		if ns <= old || h.max.CompareAndSwap(old, ns) {
			return
		}
	}
}

// histograms are several histograms over which many goroutines spread their additions, to avoid
// contention for cache lines.
type histograms [8]histogram

func (hs *histograms) of(i int) *histogram { return &hs[i&(len(hs)-1)] }

// Latency summarizes durations, in milliseconds.
type Latency struct {
	Count uint64  `json:"count"`
	P50   float64 `json:"p50_ms"`
	P90   float64 `json:"p90_ms"`
	P99   float64 `json:"p99_ms"`
	P999  float64 `json:"p999_ms"`
	Max   float64 `json:"max_ms"`
}

func (hs *histograms) latency() Latency {
	var sum [histogramSize]uint64
	var l Latency
	var most int64
	for i := range hs {
		for b := range sum {
			n := uint64(hs[i].counts[b].Load())
			sum[b] += n
			l.Count += n
		}
		most = max(most, hs[i].max.Load())
	}
	quantile := func(q float64) float64 {
		rank := max(1, uint64(q*float64(l.Count)+0.5))
		var seen uint64
		for b, n := range sum {
			if seen += n; seen >= rank {
				return milliseconds(min(upperOf(b), most))
			}
		}
		return 0
	}
	l.P50, l.P90, l.P99, l.P999, l.Max = quantile(.5), quantile(.9), quantile(.99), quantile(.999), milliseconds(most)
	return l
}

// milliseconds returns ns in milliseconds, rounded to three decimal places.
func milliseconds(ns int64) float64 { return float64((ns+500)/1000) / 1000 }
