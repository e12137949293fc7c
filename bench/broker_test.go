package bench

import (
	"strings"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/internal/bench"
)

// The load generator is tested with another project's server, so that a mistake in both our
// client and our server is found.

func TestAPlainBrokerDeliversEverything(t *testing.T) {
	r, err := bench.Post{Posters: 4, Users: 10, Devices: 2, Size: 300, Rate: 200, Max: 50, Duration: 10 * time.Second,
		Connect: 10 * time.Second, Grace: 10 * time.Second}.Run(t.Context(), mosquitto(t, signer(t)).target)
	if err != nil {
		t.Fatal(err)
	}
	if want := (bench.Delivery{Expected: 100, Received: 100}); r.Delivery != want {
		t.Errorf("%+v", r.Delivery)
	}
	if r.Posts != 50 || r.Seconds < 49.0/200 {
		t.Errorf("%d posts at 200 a second took %v s", r.Posts, r.Seconds)
	}
	if r.Delivered.Count == 0 || r.Delivered.P50 <= 0 || r.Answer.Count == 0 {
		t.Errorf("nothing was measured: %+v %+v", r.Delivered, r.Answer)
	}
	var out strings.Builder
	if err := r.Print(&out); err != nil || !strings.Contains(out.String(), "0 lost, 0 duplicated, 0 misrouted") {
		t.Errorf("%v: %s", err, out.String())
	}
}

func TestIdleConnectionsAreKeptAndReopened(t *testing.T) {
	r, err := bench.Idle{Connections: 20, PerUser: 2, Waves: 2, Connect: 10 * time.Second}.Run(t.Context(), mosquitto(t, signer(t)).target)
	if err != nil || r.Fault() != nil || len(r.Waves) != 2 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestLoginsEndAtTheirMaximum(t *testing.T) {
	r, err := bench.Connect{Workers: 4, Users: 10, Subscribe: true, Max: 25, Duration: 30 * time.Second}.Run(t.Context(), mosquitto(t, signer(t)).target)
	if err != nil || r.Logins != 25 || r.Failed != 0 || r.Latency.Count != 25 {
		t.Errorf("%+v, %v", r, err)
	}
}
