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

// gone is a history whose database is unavailable.
type gone struct{ bridge.History }

func (gone) Count(context.Context, bridge.UserID) (bridge.Count, error) {
	return bridge.Count{}, bridge.ErrUnavailable
}

func TestTheCauseOfA503IsLoggedWithItsRequestIDAndNotByTheThousand(t *testing.T) {
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
