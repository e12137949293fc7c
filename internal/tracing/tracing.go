// Package tracing records spans with OpenTelemetry and exports them over OTLP/HTTP. It is
// the one place, with the hook of package db, that knows OpenTelemetry; without
// --otel-endpoint nothing of it runs.
package tracing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.40.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/edge"
)

// Options are where spans go, and what describes the process that sends them.
type Options struct {
	Endpoint *url.URL // where spans are posted to, path included; required
	Version  string   // of the program
	Node     string   // unique among running nodes
	Proxies  edge.Proxies
	Logger   *slog.Logger // required
}

// Tracing implements [bridge.Tracer]. Its methods but Close do not block: spans that the
// endpoint does not take in time are dropped, and the log says so once.
type Tracing struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
	proxies  edge.Proxies
}

// maxValue bounds an attribute, in characters, unless OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT
// does: a client chooses its User-Agent and path, and spans wait in memory for their export.
const maxValue = 256

// New starts to export. It does not connect yet. Of the standard OTEL_* variables those of
// the exporter, of the batches, the sampler, the limits and the resource count.
func New(ctx context.Context, o Options) (*Tracing, error) {
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(o.Endpoint.String()))
	if err != nil {
		return nil, fmt.Errorf("make the exporter of traces: %w", err)
	}
	about, err := resource.New(ctx, resource.WithTelemetrySDK(),
		resource.WithAttributes(semconv.ServiceName("falconbridge"), semconv.ServiceVersion(o.Version), semconv.ServiceInstanceID(o.Node)),
		resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("read OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	limits := sdktrace.NewSpanLimits()
	if limits.AttributeValueLengthLimit < 0 {
		limits.AttributeValueLengthLimit = maxValue
	}
	t := &Tracing{proxies: o.Proxies, provider: sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(&reported{SpanExporter: exporter, log: o.Logger.With("component", "tracing")}),
		sdktrace.WithResource(about), sdktrace.WithRawSpanLimits(limits))}
	t.tracer = t.provider.Tracer("github.com/falconalert/falconbridge")
	return t, nil
}

// Close exports what is left, until ctx ends.
func (t *Tracing) Close(ctx context.Context) error {
	if err := t.provider.Shutdown(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("export the last traces: %w", err)
	}
	return nil // what an endpoint does not take must not make the program's end a failure
}

// Provider is for instrumentation.
func (t *Tracing) Provider() trace.TracerProvider { return t.provider }

// Start implements [bridge.Tracer].
func (t *Tracing) Start(parent, name string, at time.Time, attrs ...slog.Attr) (string, func(error)) {
	ctx := propagator{}.Extract(context.Background(), propagation.MapCarrier{header: parent})
	kind := trace.SpanKindInternal
	if name == bridge.SpanSend {
		kind = trace.SpanKindProducer
	}
	kvs := make([]attribute.KeyValue, len(attrs))
	for i, a := range attrs {
		kvs[i] = attribute.String(a.Key, a.Value.String())
		if a.Value.Kind() == slog.KindInt64 {
			kvs[i] = attribute.Int64(a.Key, a.Value.Int64())
		}
	}
	_, span := t.tracer.Start(ctx, name, trace.WithTimestamp(at), trace.WithSpanKind(kind), trace.WithAttributes(kvs...))
	return traceparent(span.SpanContext()), func(err error) {
		if err != nil {
			span.SetStatus(codes.Error, "") // its text may repeat what was sent; the log has it where it matters
		}
		span.End()
	}
}

// Handler records a span of each request but probes and WebSockets, which last too long for
// one, below the request's own traceparent where it has one. route returns the method and
// the route of a request that next has served.
//
// The span's traceparent takes the place of the request's: what next hands on is below the
// span.
func (t *Tracing) Handler(next http.Handler, route func(*http.Request) (method, path string)) http.Handler {
	name := func(_ string, r *http.Request) string {
		method, path := route(r)
		return method + " " + path
	}
	return otelhttp.NewHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		span := trace.SpanFromContext(r.Context())
		if span.IsRecording() {
			r.Header[header] = []string{traceparent(span.SpanContext())}
			// otelhttp believes the X-Forwarded-For of anybody.
			if client, err := t.proxies.Client(edge.ParseRemote(r.RemoteAddr), r.Header["X-Forwarded-For"]); err == nil {
				span.SetAttributes(semconv.ClientAddress(client.String()))
			}
		}
		next.ServeHTTP(w, r)
		if span.IsRecording() {
			_, path := route(r)
			span.SetName(name("", r)) // otelhttp does this only where the mux found the route
			span.SetAttributes(semconv.HTTPRoute(path))
		}
	}), "request", otelhttp.WithTracerProvider(t.provider), otelhttp.WithMeterProvider(noop.NewMeterProvider()), otelhttp.WithPropagators(propagator{}),
		otelhttp.WithSpanNameFormatter(name),
		otelhttp.WithFilter(func(r *http.Request) bool {
			return r.URL.Path != "/mqtt" && r.URL.Path != "/healthz" && r.URL.Path != "/readyz"
		}))
}

// header names the one header that is read. A tracestate and baggage are a caller's to
// choose, may be long, and go nowhere.
const header = "Traceparent"

// propagator reads and writes the traceparent alone, as package bridge reads it.
type propagator struct{}

func (propagator) Fields() []string { return []string{header} }

func (propagator) Inject(ctx context.Context, c propagation.TextMapCarrier) {
	if sc := trace.SpanContextFromContext(ctx); sc.IsValid() {
		c.Set(header, traceparent(sc))
	}
}

func (propagator) Extract(ctx context.Context, c propagation.TextMapCarrier) context.Context {
	s := c.Get(header)
	if h, ok := c.(propagation.HeaderCarrier); ok && len(h[header]) != 1 || !bridge.ValidTraceparent(s) {
		return ctx
	}
	return propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{"traceparent": s})
}

// traceparent is sc as W3C Trace Context §3.2.2 writes it.
func traceparent(sc trace.SpanContext) string {
	return fmt.Sprintf("00-%s-%s-%s", sc.TraceID(), sc.SpanID(), sc.TraceFlags())
}

// reported exports, and logs the first failure of a series and its end: the SDK would
// report each to a handler of the whole process.
type reported struct {
	sdktrace.SpanExporter
	log  *slog.Logger
	down atomic.Bool
}

// ExportSpans implements [sdktrace.SpanExporter].
func (r *reported) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := r.SpanExporter.ExportSpans(ctx, spans)
	switch {
	case err != nil && !r.down.Swap(true):
		r.log.Warn("traces are lost: the OTLP endpoint does not take them", "error", err)
	case err == nil && r.down.Swap(false):
		r.log.Info("traces are exported again")
	}
	return nil
}
