package crashtest

import (
	"context"
	"encoding/json"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"

	"github.com/falconalert/falconbridge/internal/testserver"
)

// wire is a proxy to a server whose connections can be disturbed.
type wire struct {
	t     *testing.T
	proxy *toxiproxy.Proxy
	addr  string
}

func newWire(t *testing.T, upstream string) *wire {
	t.Helper()
	s := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	w := &wire{t: t, addr: loopback(t)}
	w.proxy = toxiproxy.NewProxy(s, "wire", w.addr, upstream)
	if err := w.proxy.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.proxy.Stop)
	return w
}

// toxic is toxiproxy's description of a disturbance, in the direction of the client
// ("downstream") or of the server ("upstream").
type toxic struct {
	Name       string         `json:"name"`
	Type       string         `json:"type"`
	Stream     string         `json:"stream"`
	Toxicity   float32        `json:"toxicity"`
	Attributes map[string]any `json:"attributes"`
}

// poison disturbs the wire until heal is called.
func (w *wire) poison(x toxic) (heal func()) {
	w.t.Helper()
	x.Name, x.Toxicity = "it", 1
	b, err := json.Marshal(x)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.proxy.Toxics.AddToxicJson(strings.NewReader(string(b))); err != nil {
		w.t.Fatal(err)
	}
	return func() {
		if err := w.proxy.Toxics.RemoveToxic(context.Background(), "it"); err != nil {
			w.t.Fatal(err)
		}
	}
}

// cut stops the proxy, so that connections end and new ones are refused.
func (w *wire) cut() { w.proxy.Stop() }

func (w *wire) restore() {
	w.t.Helper()
	if err := w.proxy.Start(); err != nil {
		w.t.Fatal(err)
	}
}

// through returns the URL with its host replaced by the proxy's address.
func (w *wire) through(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		w.t.Fatal(err)
	}
	u.Host = w.addr
	return u.String()
}

func host(t *testing.T, raw string) string {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

// The connection between the bridge and Postgres is slow, reset in the middle of responses (among
// them that to COMMIT, which then never arrives), or half-open.
func TestTroubleBetweenBridgeAndPostgresLosesNothing(t *testing.T) {
	for name, x := range map[string]toxic{
		"latency":                    {Type: "latency", Stream: "downstream", Attributes: map[string]any{"latency": 60, "jitter": 40}},
		"responses are cut":          {Type: "limit_data", Stream: "downstream", Attributes: map[string]any{"bytes": 6000}},
		"requests are cut":           {Type: "limit_data", Stream: "upstream", Attributes: map[string]any{"bytes": 9000}},
		"reset":                      {Type: "reset_peer", Stream: "downstream", Attributes: map[string]any{"timeout": 20}},
		"half-open: nothing arrives": {Type: "timeout", Stream: "downstream", Attributes: map[string]any{"timeout": 0}},
	} {
		t.Run(name, func(t *testing.T) {
			raw := testserver.Postgres(t)
			w := newWire(t, host(t, raw))
			f := newFleet(t, 1, withDatabase(w.through(raw)))
			us := users(3)
			ds := f.devices(us, nil)
			l, stop := f.posters(4, us)
			for range 2 {
				<-time.After(300 * time.Millisecond) // under load, undisturbed
				heal := w.poison(x)
				<-time.After(1500 * time.Millisecond) // disturbed
				heal()
			}
			f.nodes[0].ready(t)
			stop()
			f.check(l, ds)
		})
	}
}

func TestPostgresGoneAndBackLosesNothing(t *testing.T) {
	raw := testserver.Postgres(t)
	w := newWire(t, host(t, raw))
	f := newFleet(t, 1, withDatabase(w.through(raw)))
	us := users(3)
	ds := f.devices(us, nil)
	l, stop := f.posters(4, us)
	<-time.After(300 * time.Millisecond) // under load
	w.cut()
	<-time.After(4 * time.Second) // longer than a poll
	w.restore()
	f.nodes[0].ready(t)
	stop()
	f.check(l, ds)
}

// The connection between a device and the bridge is slow, delivers a few bytes at a time, stalls,
// or is cut in the middle of packets.
func TestTroubleBetweenDeviceAndBridgeLosesNothing(t *testing.T) {
	for name, x := range map[string]toxic{
		"slow":                      {Type: "bandwidth", Stream: "downstream", Attributes: map[string]any{"rate": 8}},
		"a few bytes at a time":     {Type: "slicer", Stream: "downstream", Attributes: map[string]any{"average_size": 3, "size_variation": 2, "delay": 200}},
		"acknowledgements by bytes": {Type: "slicer", Stream: "upstream", Attributes: map[string]any{"average_size": 1, "delay": 500}},
		"stalled":                   {Type: "timeout", Stream: "downstream", Attributes: map[string]any{"timeout": 0}},
		"cut in mid-packet":         {Type: "limit_data", Stream: "downstream", Attributes: map[string]any{"bytes": 1501}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFleet(t, 1, func(int) []string { return nil })
			w := newWire(t, f.nodes[0].mqtt)
			us := users(2)
			ds := f.devices(us, func() (net.Conn, error) { return net.DialTimeout("tcp", w.addr, 2*time.Second) })
			healthy := f.devices(us, nil) // of the same users, at the same node as the disturbed ones
			l, stop := f.posters(3, us)
			heal := w.poison(x)
			<-time.After(2 * time.Second)
			stop()
			f.check(l, healthy) // while the other devices are still disturbed, which must not affect these
			heal()
			for _, d := range ds {
				if name == "stalled" {
					d.hop() // toxiproxy leaves connections that it stalled as they are
				}
			}
			f.check(l, ds)
		})
	}
}
