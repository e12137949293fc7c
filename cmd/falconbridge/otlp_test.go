package main

import (
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/testserver"
)

// otlpReceiver is a collector of traces.
type otlpReceiver struct {
	*httptest.Server
	mu    sync.Mutex
	spans []span
	raw   strings.Builder // every export, byte for byte
	paths []string
}

// span has the fields of a span that tests read.
type span struct {
	node, trace, id, parent, name string
	attrs                         map[string]string
	*otlp.Span
}

func newOTLPReceiver(t *testing.T) *otlpReceiver {
	r := new(otlpReceiver)
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		b, err := io.ReadAll(req.Body)
		var export collector.ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(b, &export)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.raw.Write(b)
		r.paths = append(r.paths, req.URL.Path)
		for _, of := range export.ResourceSpans {
			node := ""
			for _, a := range of.Resource.Attributes {
				if a.Key == "service.instance.id" {
					node = a.Value.GetStringValue()
				}
			}
			for _, scope := range of.ScopeSpans {
				for _, s := range scope.Spans {
					attrs := make(map[string]string)
					for _, a := range s.Attributes {
						attrs[a.Key] = a.Value.GetStringValue()
					}
					r.spans = append(r.spans, span{node, hex.EncodeToString(s.TraceId), hex.EncodeToString(s.SpanId), hex.EncodeToString(s.ParentSpanId), s.Name, attrs, s})
				}
			}
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(r.Close)
	return r
}

// of returns the spans of a trace by name, each list in the order of their ends.
func (r *otlpReceiver) of(trace string) map[string][]span {
	r.mu.Lock()
	defer r.mu.Unlock()
	byName := make(map[string][]span)
	for _, s := range r.spans {
		if s.trace == trace {
			byName[s.name] = append(byName[s.name], s)
		}
	}
	return byName
}

// wait waits until a trace has that many spans of each name.
func (r *otlpReceiver) wait(t *testing.T, trace string, want map[string]int) map[string][]span {
	t.Helper()
	var got map[string][]span
	testserver.Eventually(t, waitLimit, func() error {
		got = r.of(trace)
		for name, n := range want {
			if len(got[name]) < n {
				return fmt.Errorf("of %q there are %d spans, want %d; the trace is %v", name, len(got[name]), n, got)
			}
		}
		return nil
	})
	return got
}

const (
	callerTrace = "4bf92f3577b34da6a3ce929d0e0e4736"
	callerSpan  = "00f067aa0ba902b7"
)

// One POST is one trace from the caller's span to the device's acknowledgement, whichever
// node delivers it, and the exported spans have no content.
func TestOnePostIsOneTraceFromTheCallToTheAcknowledgement(t *testing.T) {
	t.Parallel()
	type system struct {
		env   func(t *testing.T) map[string]string
		nodes int
		args  func(t *testing.T) []string
	}
	none := func(*testing.T) []string { return nil }
	for name, sys := range map[string]system{
		"one node on SQLite":               {databases["sqlite"], 1, none},
		"two nodes on Postgres":            {databases["postgres"], 2, none},
		"two nodes on Postgres over Redis": {databases["postgres"], 2, func(t *testing.T) []string { return []string{"--bus=" + testserver.NewRedis(t).URL} }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newOTLPReceiver(t)
			env := sys.env(t)
			env["OTEL_BSP_SCHEDULE_DELAY"] = "50"
			args := append(sys.args(t), "--otel-endpoint="+r.URL)
			first := testserver.NewProgram(t, env, args...)
			last := first
			if sys.nodes > 1 {
				last = testserver.NewProgram(t, env, args...)
			}
			device := traces(t, last, "1", "phone")
			postTraced(t, first.HTTP, "1", "00-"+callerTrace+"-"+callerSpan+"-01")
			received := receive(t, device)

			got := r.wait(t, callerTrace, map[string]int{"POST /notifications": 1, bridge.SpanCommit: 1, bridge.SpanHint: 1, bridge.SpanSend: 1, bridge.SpanAck: 1})
			post, commit, hint, send, ack := got["POST /notifications"][0], got[bridge.SpanCommit][0], got[bridge.SpanHint][0], got[bridge.SpanSend][0], got[bridge.SpanAck][0]
			for _, link := range []struct {
				child  span
				parent string
			}{{post, callerSpan}, {commit, post.id}, {hint, commit.id}, {send, hint.id}, {ack, send.id}} {
				if link.child.parent != link.parent {
					t.Errorf("%s is below %s, want %s", link.child.name, link.child.parent, link.parent)
				}
			}
			if want := "00-" + callerTrace + "-" + send.id + "-01"; received.traceparent != want {
				t.Errorf("the device received the traceparent %q, want that of the span that sent it, %q", received.traceparent, want)
			}
			if other := sys.nodes > 1; (post.node != hint.node) != other || hint.node != send.node || post.node != commit.node {
				t.Errorf("the POST was on %s, its commit on %s, the hint on %s, the delivery on %s", post.node, commit.node, hint.node, send.node)
			}
			if post.Kind != otlp.Span_SPAN_KIND_SERVER || send.Kind != otlp.Span_SPAN_KIND_PRODUCER {
				t.Errorf("the kinds are %v and %v", post.Kind, send.Kind)
			}
			if post.attrs["http.route"] != "/notifications" || send.attrs["falconbridge.transport"] != "tcp" {
				t.Errorf("the attributes are %v and %v", post.attrs, send.attrs)
			}
			statements := 0
			for _, all := range got {
				for _, s := range all {
					if s.attrs["db.statement"] != "" {
						statements++
						if s.parent != commit.id && (s.name != "COMMIT" || s.parent != got["BEGIN"][0].id) { // which Bun puts below its BEGIN
							t.Errorf("%s is below %s, want the commit %s", s.attrs["db.statement"], s.parent, commit.id)
						}
					}
				}
			}
			if statements == 0 {
				t.Error("no statement of the commit was traced")
			}

			// A call without a traceparent begins a trace.
			postTraced(t, first.HTTP, "1", "")
			own := receive(t, device).traceparent
			if !bridge.ValidTraceparent(own) || strings.Contains(own, callerTrace) {
				t.Errorf("without a traceparent the device received %q", own)
			}
			r.wait(t, strings.Split(own, "-")[1], map[string]int{"POST /notifications": 1, bridge.SpanAck: 1})

			// If the caller does not record, this server does not either.
			unsampled := "00-" + strings.Repeat("a", 32) + "-" + callerSpan + "-00"
			postTraced(t, first.HTTP, "1", unsampled)
			if got := receive(t, device).traceparent; got != unsampled {
				t.Errorf("the traceparent of a caller that does not record comes as %q", got)
			}

			r.mu.Lock()
			defer r.mu.Unlock()
			if strings.Contains(r.raw.String(), "secret") {
				t.Error("a title or a message was exported")
			}
			if strings.Contains(r.raw.String(), strings.Repeat("\xaa", 16)) {
				t.Error("a trace whose caller does not record was exported")
			}
			if slices.ContainsFunc(r.paths, func(p string) bool { return p != "/v1/traces" }) {
				t.Errorf("exports went to %q", r.paths)
			}
		})
	}
}

// Reads are traced with their statements, errors without the text of the database, and a
// caller's tracestate, baggage, forged address and long names are not exported.
func TestOnlyTheTraceparentOfACallerIsExported(t *testing.T) {
	t.Parallel()
	r := newOTLPReceiver(t)
	p := testserver.NewProgram(t, with("OTEL_BSP_SCHEDULE_DELAY", "50"), "--otel-endpoint="+r.URL)
	for _, traceparents := range [][]string{{"00-" + callerTrace + "-" + callerSpan + "-01"}, {"00-" + strings.Repeat("b", 32) + "-" + callerSpan + "-01", "00-" + strings.Repeat("c", 32) + "-" + callerSpan + "-01"}} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", p.HTTP+"/notifications?kind=leaked-query", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header["Traceparent"] = traceparents
		for name, value := range map[string]string{
			"Authorization": "Bearer " + sign(t, "1", 0), "Tracestate": "leaked=state", "Baggage": "leaked=baggage",
			"X-Forwarded-For": "203.0.113.66", "User-Agent": strings.Repeat("long ", 200) + "leaked-end",
		} {
			req.Header.Set(name, value)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
	}
	got := r.wait(t, callerTrace, map[string]int{"GET /notifications": 1, "SELECT": 1})
	if list := got["GET /notifications"][0]; list.attrs["client.address"] != "127.0.0.1" {
		t.Errorf("the client's address is %q", list.attrs["client.address"])
	}
	if s := got["SELECT"][0]; s.parent != got["GET /notifications"][0].id || !strings.Contains(s.attrs["db.statement"], "?") {
		t.Errorf("the statement %q is below %s", s.attrs["db.statement"], s.parent)
	}
	caller{base: p.HTTP}.do(t, "GET", "/healthz", nil, 200, nil)
	if err := p.Stop(); err != nil { // which exports the pending spans
		t.Fatal(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, leaked := range []string{"leaked", "203.0.113.66", "eyJ", "/healthz"} {
		if strings.Contains(r.raw.String(), leaked) {
			t.Errorf("%q was exported", leaked)
		}
	}
	if n := len(r.spans); n > 50 {
		t.Errorf("%d spans: the program's own statements are among them", n)
	}
	for _, s := range r.spans {
		if b := s.trace[0]; s.trace == strings.Repeat(string(b), 32) {
			t.Errorf("of two traceparents one was chosen: %s", s.trace)
		}
	}
}

// An unavailable collector delays nothing, and is logged once.
func TestAnUnavailableTraceEndpointDelaysNothing(t *testing.T) {
	t.Parallel()
	down := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusForbidden) }))
	t.Cleanup(down.Close)
	p := testserver.NewProgram(t, with("OTEL_BSP_SCHEDULE_DELAY", "10"), "--otel-endpoint="+down.URL)
	device := traces(t, p, "1", "phone")
	for range 20 {
		postTraced(t, p.HTTP, "1", "")
		receive(t, device)
	}
	testserver.Eventually(t, waitLimit, func() error {
		if !strings.Contains(p.Log(), "traces are lost") {
			return fmt.Errorf("the log has no warning: %s", p.Log())
		}
		return nil
	})
	if err := p.Stop(); err != nil {
		t.Error(err)
	}
	if n := strings.Count(p.Log(), "traces are lost"); n != 1 {
		t.Errorf("the log says it %d times", n)
	}
}

// Without an endpoint there is no exporter and no goroutine of one.
func TestWithoutAnEndpointOpenTelemetryIsOff(t *testing.T) {
	t.Parallel()
	for name, env := range map[string]map[string]string{
		"by default":         with(),
		"by the flag's word": with("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1", "FALCON_OTEL_ENDPOINT", "off"),
		"by OTEL_SDK":        with("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1", "OTEL_SDK_DISABLED", "true"),
		"by the exporter":    with("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER", "none"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := testserver.NewProgram(t, env)
			device := traces(t, p, "1", "phone")
			postTraced(t, p.HTTP, "1", "00-"+callerTrace+"-"+callerSpan+"-01")
			if got := receive(t, device).traceparent; got != "00-"+callerTrace+"-"+callerSpan+"-01" {
				t.Errorf("the traceparent is handed on as %q", got)
			}
			stacks, err := fetch(p.Admin + "/debug/pprof/goroutine?debug=2")
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(stacks, "goroutine ") || strings.Contains(stacks, "opentelemetry") {
				t.Errorf("the goroutines are\n%s", stacks)
			}
		})
	}
}

// The standard variables configure the endpoint as well.
func TestTheStandardVariablesConfigureTraces(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ variable, path, want string }{
		"the general one": {"OTEL_EXPORTER_OTLP_ENDPOINT", "/base", "/base/v1/traces"},
		"that of traces":  {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "/as/it/is", "/as/it/is"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newOTLPReceiver(t)
			p := testserver.NewProgram(t, with(tt.variable, r.URL+tt.path, "OTEL_BSP_SCHEDULE_DELAY", "50"))
			postTraced(t, p.HTTP, "1", "00-"+callerTrace+"-"+callerSpan+"-01")
			r.wait(t, callerTrace, map[string]int{bridge.SpanCommit: 1})
			r.mu.Lock()
			defer r.mu.Unlock()
			if r.paths[0] != tt.want {
				t.Errorf("they went to %q, want %q", r.paths[0], tt.want)
			}
		})
	}
}
