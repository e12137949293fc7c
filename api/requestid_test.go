package api

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/delivery"
)

func TestEveryResponseHasARequestID(t *testing.T) {
	e := newHarness(t, sqlite(t))
	for sent, kept := range map[string]bool{
		"": false, "abc-1.2_3": true, strings.Repeat("x", 128): true,
		strings.Repeat("x", 129): false, "two words": false, "a\"b": false, "é": false, "a=b": false,
	} {
		a := e.call("GET /no/such", "", "", requestID, sent).want(http.StatusNotFound)
		if got := a.Header().Get(requestID); got == "" || (got == sent) != kept {
			t.Errorf("sent %q, the response has %q", sent, got)
		}
	}
}

// A caller who complains is looked for by user or request id while it happens.
func TestAtLevelDebugEveryRequestButProbesIsALine(t *testing.T) {
	var level slog.LevelVar
	var log bytes.Buffer
	e := newHarness(t, sqlite(t), func(o *Options) { o.Logger = slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: &level})) })
	raw := tokenFor(t, "42")
	e.call("GET /notifications/count", raw, "", requestID, "r-1").want(http.StatusOK)
	if log.Len() > 0 {
		t.Errorf("at level info the log has %s", log.String())
	}
	level.Set(slog.LevelDebug)
	e.call("GET /notifications/count", raw, "", requestID, "r-2").want(http.StatusOK)
	e.call("GET /admin/stats", raw, "", requestID, "r-3").want(http.StatusForbidden)
	e.call("GET /readyz", "", "", requestID, "r-4").want(http.StatusOK)
	for _, line := range []string{
		`"component":"api","request_id":"r-2","operation":"countNotifications","status":200,"user":42,"remote":"192.0.2.1:1234","took":`,
		`"component":"api","request_id":"r-3","operation":"stats","status":403,"user":42,`,
	} {
		if !strings.Contains(log.String(), line) {
			t.Errorf("no %s in %s", line, log.String())
		}
	}
	if strings.Contains(log.String(), "r-4") || strings.Contains(log.String(), raw) {
		t.Errorf("the log has a probe or a token: %s", log.String())
	}
}

// gone is a history whose database is unavailable.
type gone struct{ bridge.History }

func (gone) Count(context.Context, bridge.UserID) (bridge.Count, error) {
	return bridge.Count{}, bridge.ErrUnavailable
}

func TestTheCauseOfA503IsLoggedWithItsRequestIDAtALimitedRate(t *testing.T) {
	var log bytes.Buffer
	e := bare(t, func(o *Options) {
		o.Logger = slog.New(slog.NewJSONHandler(&log, nil))
		o.Service = bridge.NewService(bridge.ServiceOptions{History: gone{}, Hub: delivery.NewHub(delivery.Options{}), Bus: silentBus{}})
	})
	for range 200 {
		e.call("GET /notifications/count", tokenFor(t, "42"), "", requestID, "r-1").want(http.StatusServiceUnavailable)
	}
	for _, part := range []string{`"level":"WARN"`, `"request_id":"r-1"`, `"operation":"countNotifications"`, `"status":503`, `"user":42`, `"error":`} {
		if !strings.Contains(log.String(), part) {
			t.Errorf("no %s in %s", part, log.String())
		}
	}
	if n := strings.Count(log.String(), "\n"); n >= 100 {
		t.Errorf("200 failed requests are %d lines", n)
	}
}
