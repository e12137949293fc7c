package tracing

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

const sampled = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

// newTracing returns a Tracing whose endpoint accepts nothing.
func newTracing(t *testing.T) *Tracing {
	t.Helper()
	down := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(down.Close)
	u, err := url.Parse(down.URL)
	if err != nil {
		t.Fatal(err)
	}
	made, err := New(t.Context(), Options{Endpoint: u, Version: "test", Node: "n", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := made.Close(context.Background()); err != nil {
			t.Errorf("an endpoint that accepts nothing makes Close fail: %v", err)
		}
	})
	return made
}

func TestASpanKeepsItsParentsTraceAndSamplingDecision(t *testing.T) {
	made := newTracing(t)
	for parent, want := range map[string]bool{sampled: true, sampled[:53] + "00": false} {
		child, end := made.Start(parent, bridge.SpanSend, time.Now(), slog.String("a", "b"), slog.Int64("n", 1))
		end(errors.New("failed"))
		if !bridge.ValidTraceparent(child) || child[:35] != parent[:35] || child[36:52] == parent[36:52] {
			t.Errorf("the child of %s is %s", parent, child)
		}
		if bridge.Sampled(made, parent) != want || bridge.Sampled(made, child) != want {
			t.Errorf("sampled: %s %v, %s %v, want %v", parent, bridge.Sampled(made, parent), child, bridge.Sampled(made, child), want)
		}
	}
	if bridge.Sampled(nil, sampled) || bridge.Sampled(made, "") {
		t.Error("something is recorded without a tracer or a traceparent")
	}
}

func TestAHandlerSeesItsOwnSpanInPlaceOfTheCallers(t *testing.T) {
	made := newTracing(t)
	var got []string
	h := made.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.Header["Traceparent"] }),
		func(*http.Request) (string, string) { return "GET", "/route" })
	for name, tt := range map[string]struct {
		path string
		sent []string
		want func(got []string) bool
	}{
		"a caller's trace continues": {"/a", []string{sampled}, func(got []string) bool {
			return len(got) == 1 && got[0] != sampled && strings.HasPrefix(got[0], sampled[:35])
		}},
		"two are ignored":        {"/a", []string{sampled, sampled}, func(got []string) bool { return len(got) == 1 && got[0][:35] != sampled[:35] }},
		"without one it begins":  {"/a", nil, func(got []string) bool { return len(got) == 1 && bridge.Sampled(made, got[0]) }},
		"an invalid one":         {"/a", []string{"00-x"}, func(got []string) bool { return len(got) == 1 && bridge.ValidTraceparent(got[0]) }},
		"an unsampled one stays": {"/a", []string{sampled[:53] + "00"}, func(got []string) bool { return len(got) == 1 && got[0] == sampled[:53]+"00" }},
		"a WebSocket's stays":    {"/mqtt", []string{sampled}, func(got []string) bool { return len(got) == 1 && got[0] == sampled }},
		"a probe has no span":    {"/readyz", nil, func(got []string) bool { return got == nil }},
	} {
		r := httptest.NewRequest("GET", tt.path, nil)
		if tt.sent != nil {
			r.Header["Traceparent"] = tt.sent
		}
		h.ServeHTTP(httptest.NewRecorder(), r)
		if !tt.want(got) {
			t.Errorf("%s: the handler sees %q", name, got)
		}
	}
}
