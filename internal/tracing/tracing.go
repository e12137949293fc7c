// Package tracing records spans with OpenTelemetry and exports them over OTLP/HTTP. Apart from
// the query hook in package db, it is the only package that knows OpenTelemetry. Without
// --otel-endpoint none of it runs.
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

// Options say where spans are sent and describe the process that sends them.
type Options struct {
	Endpoint *url.URL // where spans are posted, including the path; required
	Version  string   // of the program
	Node     string   // unique among running nodes
	Proxies  edge.Proxies
	Logger   *slog.Logger // required
}

// Tracing implements [bridge.Tracer]. Except for Close its methods do not block: spans that the
// endpoint does not accept in time are dropped, which is logged once.
type Tracing struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
	proxies  edge.Proxies
}

// maxValue is the longest attribute, in characters, unless
// OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT says otherwise. A client chooses its User-Agent and
// path, and spans wait in memory until they are exported.
const maxValue = 256

// New returns a Tracing that exports in the background. It does not connect yet. The standard
// OTEL_* variables for the exporter, batches, sampler, limits and resource apply.
func New(ctx context.Context, o Options) (*Tracing, error) {
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(o.Endpoint.String()))
	if err != nil {
		return nil, fmt.Errorf("create the exporter of traces: %w", err)
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
		sdktrace.WithBatcher(&loggedExporter{SpanExporter: exporter, log: o.Logger.With("component", "tracing")}),
		sdktrace.WithResource(about), sdktrace.WithRawSpanLimits(limits))}
	t.tracer = t.provider.Tracer("github.com/falconalert/falconbridge")
	return t, nil
}

// Close exports the remaining spans, until ctx ends.
func (t *Tracing) Close(ctx context.Context) error {
	if err := t.provider.Shutdown(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("export the last traces: %w", err)
	}
	return nil // an endpoint that accepts no spans must not make the program exit with an error
}

// Provider returns the provider for other instrumentation.
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
			span.SetStatus(codes.Error, "") // without the text, which may repeat what was sent
		}
		span.End()
	}
}

// Handler returns a handler that calls next and records a span for each request. A span is a
// child of the request's traceparent, if there is one. Probes get no span, and neither do
// WebSockets, which last too long for one. route returns the method and the route of a request
// that next has served.
//
// In the request that next gets, the span's traceparent replaces the original one, so that what
// next passes on becomes a child of the span.
func (t *Tracing) Handler(next http.Handler, route func(*http.Request) (method, path string)) http.Handler {
	name := func(_ string, r *http.Request) string {
		method, path := route(r)
		return method + " " + path
	}
	return otelhttp.NewHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		span := trace.SpanFromContext(r.Context())
		if span.IsRecording() {
			r.Header[header] = []string{traceparent(span.SpanContext())}
			// otelhttp would trust the X-Forwarded-For of any client.
			if client, err := t.proxies.Client(edge.ParseRemote(r.RemoteAddr), r.Header["X-Forwarded-For"]); err == nil {
				span.SetAttributes(semconv.ClientAddress(client.String()))
			}
		}
		next.ServeHTTP(w, r)
		if span.IsRecording() {
			_, path := route(r)
			span.SetName(name("", r)) // otelhttp does so only if the mux found the route
			span.SetAttributes(semconv.HTTPRoute(path))
		}
	}), "request", otelhttp.WithTracerProvider(t.provider), otelhttp.WithMeterProvider(noop.NewMeterProvider()), otelhttp.WithPropagators(propagator{}),
		otelhttp.WithSpanNameFormatter(name),
		otelhttp.WithFilter(func(r *http.Request) bool {
			return r.URL.Path != "/mqtt" && r.URL.Path != "/healthz" && r.URL.Path != "/readyz"
		}))
}

// header is the only header of W3C Trace Context that is read. tracestate and baggage are chosen
// by the caller and may be long, so they are not passed on.
const header = "Traceparent"

// propagator reads and writes only the traceparent, and accepts what package bridge accepts.
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

// traceparent formats sc as in W3C Trace Context §3.2.2.
func traceparent(sc trace.SpanContext) string {
	return fmt.Sprintf("00-%s-%s-%s", sc.TraceID(), sc.SpanID(), sc.TraceFlags())
}

// loggedExporter logs when exports begin to fail and when they work again. The SDK would report
// every failure to a handler of the whole process.
type loggedExporter struct {
	sdktrace.SpanExporter
	log  *slog.Logger
	down atomic.Bool
}

// ExportSpans implements [sdktrace.SpanExporter].
func (r *loggedExporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := r.SpanExporter.ExportSpans(ctx, spans)
	switch {
	case err != nil && !r.down.Swap(true):
		r.log.Warn("traces are lost: the OTLP endpoint does not accept them", "error", err)
	case err == nil && r.down.Swap(false):
		r.log.Info("traces are exported again")
	}
	return nil
}
