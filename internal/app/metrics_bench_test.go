package app

import (
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge/delivery"
)

// BenchmarkObserve measures what the histograms cost each delivery, on all cores at once.
func BenchmarkObserve(b *testing.B) {
	m := newMetrics(&App{})
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		for i := 0; p.Next(); i++ {
			m.observe(delivery.Observation{Transport: "wss", Live: true, Acked: i%2 == 0, After: time.Duration(i%1000) * time.Millisecond})
		}
	})
}
