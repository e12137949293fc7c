package api

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/fakeclock"
)

// The X-Request-Id of a 503 leads to its cause in the log. Every operation of the
// document is called while the database is unavailable.
func TestEveryOperationLogsTheCauseOfItsFailureWithTheRequestID(t *testing.T) {
	var o Options
	e := newHarness(t, sqlite(t), func(made *Options) {
		made.Ready = func(context.Context) error { return bridge.ErrUnavailable }
		made.Redeliver = func(context.Context, string) error { return bridge.ErrUnavailable }
		o = *made
	})
	admin := tokenFor(t, "root", "admin", "notifications:read", "notifications:write", "reports:write")
	var document struct {
		Paths map[string]map[string]struct{ OperationID string }
	}
	e.call("GET /openapi.json", "", "").into(&document)
	if err := e.db.Close(); err != nil {
		t.Fatal(err)
	}
	bodies := map[string]string{
		"patchSettings": `{"is_review_enabled":1}`, "createReport": `{"title":"t","created_by":1}`, "setReportStatus": `{"status_id":2}`,
		"createNotification":  `{"title":"t","message":"m","created_by":1}`,
		"createNotifications": `{"notifications":[{"title":"t","message":"m","created_by":1}]}`, "revoke": `{"user":1}`,
		"readNotifications": `{}`, "putDevice": `{}`,
	}
	queries := map[string]string{"withdrawNotification": "?user=1&replaces=k", "listChanges": "?since=1"}
	// These do not ask the database: the process is alive, Web Push is off.
	without := map[string]bool{"alive": true, "pushKey": true, "putDevice": true, "testDevice": true}
	failed := 0
	for path, methods := range document.Paths {
		for method, op := range methods {
			if strings.HasPrefix(path, "/mqtt") {
				continue
			}
			var log bytes.Buffer
			o.Logger = slog.New(slog.NewTextHandler(&log, nil))
			h, err := New(o) // a new one each time, as warnings are limited
			if err != nil {
				t.Fatal(err)
			}
			one := &harness{t: t, handler: h}
			at := strings.ToUpper(method) + " " + strings.NewReplacer("{id}", "1", "{client_id}", "c", "{name}", "internal").Replace(path) + queries[op.OperationID]
			if op.OperationID == "redeliverWebhook" {
				at = strings.Replace(at, "/1/", "/msg_1/", 1)
			}
			id := "request-" + op.OperationID
			a := one.call(at, admin, bodies[op.OperationID], requestID, id)
			if without[op.OperationID] {
				continue
			}
			if a.Code < http.StatusInternalServerError {
				t.Errorf("%s (%s) returns %d: %s", op.OperationID, at, a.Code, a.Body)
				continue
			}
			failed++
			lines := strings.Split(strings.TrimSpace(log.String()), "\n")
			if len(lines) != 1 || !strings.Contains(lines[0], "level=WARN") || !strings.Contains(lines[0], "request_id="+id) || !strings.Contains(lines[0], "error=") {
				t.Errorf("%s returns %d and logs %q", op.OperationID, a.Code, lines)
			}
		}
	}
	if failed < 30 {
		t.Errorf("only %d operations failed", failed)
	}
}

// A balancer probes every few seconds: an outage is one log line, and its end another.
func TestTheCauseOfAnOutageIsLoggedOnce(t *testing.T) {
	synctest.Test(t, notReady)
}

func notReady(t *testing.T) {
	var log bytes.Buffer
	ready := make(chan error, 1)
	e := bare(t, func(o *Options) {
		o.Logger = slog.New(slog.NewTextHandler(&log, nil))
		o.Ready = func(context.Context) error { return <-ready }
	})
	for i, err := range []error{nil, bridge.ErrUnavailable, bridge.ErrUnavailable, nil, bridge.ErrUnavailable} {
		ready <- err
		status := http.StatusOK
		if err != nil {
			status = http.StatusServiceUnavailable
		}
		e.call("GET /readyz", "", "", requestID, fmt.Sprint("probe-", i)).want(status)
		fakeclock.Advance(2 * readyFor) // the last result is reused for a moment
	}
	for text, want := range map[string]int{"level=WARN": 2, "level=INFO": 1, "request_id=probe-1": 1, "request_id=probe-2": 0, "request_id=probe-3": 1, "request_id=probe-4": 1, "error=": 2} {
		if n := strings.Count(log.String(), text); n != want {
			t.Errorf("%q is logged %d times, want %d: %s", text, n, want, log.String())
		}
	}
}
