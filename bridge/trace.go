package bridge

import (
	"context"
	"log/slog"
	"strings"
	"time"
)

// Tracer records the spans of a trace. Spans are identified by their traceparent (W3C Trace
// Context §3.2), so this package does not depend on a tracing library.
//
// Start begins a span with the parent parent at the time at. It returns the traceparent of the
// span and the function that ends it. Neither blocks. Callers check [Sampled] first.
type Tracer interface {
	Start(parent, name string, at time.Time, attrs ...slog.Attr) (traceparent string, end func(error))
}

// Names of the spans of one notification. Each is a child of the one before.
const (
	SpanCommit = "commit"          // the call waits for its transaction
	SpanHint   = "hint"            // a node with devices of the user is woken
	SpanSend   = "send"            // a message to one device, from its reservation until it is written
	SpanAck    = "acknowledgement" // from the reservation of the message until its PUBACK
)

// Sampled reports whether t records spans with the parent traceparent, that is, whether its
// sampled flag is set. It does not allocate, so that calls that are not traced cost nothing.
func Sampled(t Tracer, traceparent string) bool {
	return t != nil && traceparent != "" && strings.IndexByte("13579bdf", traceparent[len(traceparent)-1]) >= 0
}

// traceKey is the context key of the traceparent of a call.
type traceKey struct{}

// WithTraceparent returns a context with the traceparent s, or ctx if s is not valid.
func WithTraceparent(ctx context.Context, s string) context.Context {
	if !ValidTraceparent(s) {
		return ctx
	}
	return context.WithValue(ctx, traceKey{}, s)
}

// Traceparent returns the traceparent that [WithTraceparent] has put into ctx, or "".
func Traceparent(ctx context.Context) string {
	s, _ := ctx.Value(traceKey{}).(string)
	return s
}

// ValidTraceparent reports whether s is a traceparent of version 00 (W3C Trace Context §3.2.2).
// It is sent to devices unchanged, so the check is strict.
func ValidTraceparent(s string) bool {
	if len(s) != 55 || s[:3] != "00-" || s[35] != '-' || s[52] != '-' {
		return false
	}
	trace, span, flags := s[3:35], s[36:52], s[53:]
	return lowerHex(trace) && lowerHex(span) && lowerHex(flags) && strings.Trim(trace, "0") != "" && strings.Trim(span, "0") != ""
}

func lowerHex(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return !(r >= '0' && r <= '9' || r >= 'a' && r <= 'f') }) < 0
}
