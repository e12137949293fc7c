package db

import (
	"context"
	"errors"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/extra/bunotel"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/falconalert/falconbridge/bridge"
)

// Traced returns a hook for [Options] that records a span of each statement a traced call
// asks for. Statements have placeholders in place of their arguments. What the program asks
// for by itself, such as reads to deliver from and upkeep, belongs to no call and is not
// recorded.
func Traced(p trace.TracerProvider) bun.QueryHook {
	return tracedHook{bunotel.NewQueryHook(bunotel.WithTracerProvider(p), bunotel.WithMeterProvider(noop.NewMeterProvider()))}
}

// tracedHook is Bun's own hook, for calls that have a trace and without the database's
// words.
type tracedHook struct{ bun.QueryHook }

// BeforeQuery begins a span below that of the call: its context's, or for the committer,
// which runs apart from calls, the traceparent that the command brought.
func (h tracedHook) BeforeQuery(ctx context.Context, e *bun.QueryEvent) context.Context {
	sc := trace.SpanContextFromContext(ctx)
	if s := bridge.Traceparent(ctx); s != "" && !sc.IsValid() {
		ctx = propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{"traceparent": s})
		sc = trace.SpanContextFromContext(ctx)
	}
	if !sc.IsSampled() {
		return ctx
	}
	return h.QueryHook.BeforeQuery(ctx, e)
}

// AfterQuery ends the span. A database's error may repeat what was sent: the span has its
// cause alone.
func (h tracedHook) AfterQuery(ctx context.Context, e *bun.QueryEvent) {
	if !trace.SpanFromContext(ctx).IsRecording() {
		return
	}
	shown := *e
	if e.Err != nil && classify(e.Err) != missing {
		shown.Err = errors.New(cause(e.Err))
	}
	h.QueryHook.AfterQuery(ctx, &shown)
}
