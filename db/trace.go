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

// Traced returns a hook for [Options] that records a span for each statement of a traced
// call. The statements are recorded with placeholders, never with their arguments.
// Statements that belong to no call, such as reads for deliveries and upkeep, are not
// recorded.
func Traced(p trace.TracerProvider) bun.QueryHook {
	return tracedHook{bunotel.NewQueryHook(bunotel.WithTracerProvider(p), bunotel.WithMeterProvider(noop.NewMeterProvider()))}
}

// tracedHook is Bun's hook, limited to traced calls and without the database's own error
// messages.
type tracedHook struct{ bun.QueryHook }

// BeforeQuery begins a span below that of the call. The call's span is in ctx, except in
// the committer, which runs apart from calls. Its ctx carries the traceparent of a command
// instead.
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

// AfterQuery ends the span. A database's error message may repeat the arguments, so the
// span gets only its cause.
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
