package app

import (
	"context"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/tracing"
)

// startTracing starts exporting traces, if --otel-endpoint is set and none of the standard
// variables turns them off. It is started before all traced parts, so it is stopped after
// them and gets their last spans.
func (a *App) startTracing(ctx context.Context) (err error) {
	if a.c.OTelEndpoint == nil || strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") || os.Getenv("OTEL_TRACES_EXPORTER") == "none" {
		return nil
	}
	a.tracing, err = tracing.New(ctx, tracing.Options{
		Endpoint: a.c.OTelEndpoint, Version: a.version, Node: a.node, Proxies: a.c.Proxies, Logger: a.log,
	})
	if err != nil {
		return err
	}
	a.undo.add("traces", 2*time.Second, a.tracing.Close)
	return nil
}

// tracer returns nil, not an interface with a nil pointer, if tracing is off.
func (a *App) tracer() bridge.Tracer {
	if a.tracing == nil {
		return nil
	}
	return a.tracing
}

// traced adds spans to the requests that next handles, if tracing is on.
func (a *App) traced(next http.Handler) http.Handler {
	if a.tracing == nil {
		return next
	}
	return a.tracing.Handler(next, routeOf)
}
