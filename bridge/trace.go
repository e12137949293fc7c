package bridge

import (
	"context"
	"strings"
)

// traceKey is where a context has the traceparent of its call.
type traceKey struct{}

// WithTraceparent returns a context whose appends carry s, where s is a traceparent; else
// ctx.
func WithTraceparent(ctx context.Context, s string) context.Context {
	if !validTraceparent(s) {
		return ctx
	}
	return context.WithValue(ctx, traceKey{}, s)
}

func traceparentOf(ctx context.Context) string {
	s, _ := ctx.Value(traceKey{}).(string)
	return s
}

// validTraceparent reports whether s is one of version 00 (W3C Trace Context §3.2.2): it
// goes to devices as it is, so it can have nothing else in it.
func validTraceparent(s string) bool {
	if len(s) != 55 || s[:3] != "00-" || s[35] != '-' || s[52] != '-' {
		return false
	}
	trace, span, flags := s[3:35], s[36:52], s[53:]
	return lowerHex(trace) && lowerHex(span) && lowerHex(flags) && strings.Trim(trace, "0") != "" && strings.Trim(span, "0") != ""
}

func lowerHex(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return !(r >= '0' && r <= '9' || r >= 'a' && r <= 'f') }) < 0
}
