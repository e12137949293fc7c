package bridge

import (
	"context"
	"log/slog"
	"strings"
	"time"
)

// Tracer records what becomes of a notification as the spans of a trace. Spans are named
// by their traceparent (W3C Trace Context §3.2), so that the domain, the engine and the
// bus need not know what records them.
//
// Start begins a span below parent at a time, and returns its own traceparent and what
// ends it. Its methods do not block; callers ask [Sampled] first.
type Tracer interface {
	Start(parent, name string, at time.Time, attrs ...slog.Attr) (traceparent string, end func(error))
}

// Names of the spans of one notification, each below the one before it.
const (
	SpanCommit = "commit"          // the call waits for its transaction
	SpanHint   = "hint"            // a node with devices of the user is woken
	SpanSend   = "send"            // the PUBLISH to one device, from the claim until it is written
	SpanAck    = "acknowledgement" // of that device, from the claim until its PUBACK
)

// Sampled reports whether t records what happens below traceparent. It allocates nothing,
// so that what is not traced costs nothing.
func Sampled(t Tracer, traceparent string) bool {
	return t != nil && traceparent != "" && strings.IndexByte("13579bdf", traceparent[len(traceparent)-1]) >= 0
}

// traceKey is where a context has the traceparent of its call.
type traceKey struct{}

// WithTraceparent returns a context whose appends carry s, where s is a traceparent; else
// ctx.
func WithTraceparent(ctx context.Context, s string) context.Context {
	if !ValidTraceparent(s) {
		return ctx
	}
	return context.WithValue(ctx, traceKey{}, s)
}

// Traceparent returns what [WithTraceparent] put into ctx; "" where that is nothing.
func Traceparent(ctx context.Context) string {
	s, _ := ctx.Value(traceKey{}).(string)
	return s
}

// ValidTraceparent reports whether s is one of version 00 (W3C Trace Context §3.2.2): it
// goes to devices as it is, so it can have nothing else in it.
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
