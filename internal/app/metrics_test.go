package app

import (
	"slices"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge/delivery"
)

// Classic buckets serve every Prometheus; one that scrapes native histograms has quantiles
// that do not depend on where these buckets end.
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
			t.Errorf("%s is not both: %v are", name, found)
		}
	}
}
