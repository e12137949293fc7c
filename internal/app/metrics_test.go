package app

import (
	"slices"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge/delivery"
)

// Every Prometheus can scrape classic buckets. One that scrapes native histograms also gets
// quantiles that do not depend on the bounds of those buckets.
func TestTheHistogramsSinceTheCommitAreClassicAndNative(t *testing.T) {
	m := newMetrics(&App{})
	m.observe(delivery.Observation{Transport: "wss", Live: true, After: 3 * time.Millisecond})
	m.observe(delivery.Observation{Transport: "wss", Live: true, Acked: true, After: 30 * time.Millisecond})
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, f := range families {
		for _, one := range f.GetMetric() {
			h := one.GetHistogram()
			if h.GetSampleCount() == 1 && len(h.GetBucket()) > 0 && len(h.GetPositiveSpan()) > 0 {
				found = append(found, f.GetName())
			}
		}
	}
	for _, name := range []string{"falconbridge_commit_to_ack_seconds", "falconbridge_commit_to_send_seconds"} {
		if !slices.Contains(found, name) {
			t.Errorf("%s is not both classic and native; those that are: %v", name, found)
		}
	}
}
