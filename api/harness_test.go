package api

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/delivery"
	"github.com/falconalert/falconbridge/db"
	"github.com/falconalert/falconbridge/internal/testserver"
)

// harness is the API with the real service and a real database.
type harness struct {
	t       *testing.T
	handler http.Handler
	db      *db.DB
	service *bridge.Service
}

// each runs f on every database.
func each(t *testing.T, f func(t *testing.T, e *harness)) {
	t.Helper()
	t.Run("SQLite", func(t *testing.T) { f(t, newHarness(t, sqlite(t))) })
	t.Run("Postgres", func(t *testing.T) { f(t, newHarness(t, testserver.Postgres(t))) })
}

func sqlite(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "falcon.db") }

func newHarness(t *testing.T, url string, change ...func(*Options)) *harness {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	d, err := db.Open(t.Context(), db.Options{URL: url, Logger: quiet})
	if err != nil {
		t.Fatalf("open the database: %v", err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Errorf("close the database: %v", err)
		}
	})
	if _, err := d.Up(t.Context()); err != nil {
		t.Fatalf("migrate: %v", err)
	}
	hub := delivery.NewHub(delivery.Options{Log: d, Sessions: d, Feed: d, Cluster: d, Bus: silentBus{}, Epoch: d.Epoch, Logger: quiet})
	e := &harness{t: t, db: d, service: bridge.NewService(bridge.ServiceOptions{
		Log: d, History: d, Reports: d, Cluster: d, Audit: d, Hub: hub, Bus: silentBus{},
	})}
	o := Options{Service: e.service, Devices: d, Verifier: testVerifier(t), Logger: quiet, Version: "test"}
	for _, c := range change {
		c(&o)
	}
	if e.handler, err = New(o); err != nil {
		t.Fatal(err)
	}
	return e
}

// answered is a response.
type answered struct {
	*httptest.ResponseRecorder
	t *testing.T
}

// call sends a request; headers come in pairs. An empty raw token sends none, an
// empty body none.
func (e *harness) call(at, raw, body string, headers ...string) answered {
	e.t.Helper()
	method, path, _ := strings.Cut(at, " ")
	var b io.Reader
	if body != "" {
		b = strings.NewReader(body)
	}
	r := httptest.NewRequest(method, path, b)
	r.Header.Set("Accept-Language", "en") // that of these tests
	if raw != "" {
		r.Header.Set("Authorization", "Bearer "+raw)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	e.handler.ServeHTTP(w, r)
	return answered{w, e.t}
}

// want fails the test if the status differs.
func (a answered) want(status int) answered {
	a.t.Helper()
	if a.Code != status {
		a.t.Fatalf("status %d, want %d: %s", a.Code, status, a.Body)
	}
	return a
}

// into decodes the body.
func (a answered) into(v any) answered {
	a.t.Helper()
	if err := json.Unmarshal(a.Body.Bytes(), v); err != nil {
		a.t.Fatalf("the body is not JSON (%v): %s", err, a.Body)
	}
	return a
}

// problem decodes a problem and checks the fields that every problem has.
func (a answered) problem(status int) problemBody {
	a.t.Helper()
	a.want(status)
	if ct := a.Header().Get("Content-Type"); ct != problemType {
		a.t.Errorf("content type %q, want %q", ct, problemType)
	}
	var p problemBody
	a.into(&p)
	if p.Status != status || !strings.HasPrefix(p.Type, "/problems/") || p.Title == "" || p.Detail == "" {
		a.t.Errorf("an incomplete problem: %s", a.Body)
	}
	return p
}

// equal compares the body byte by byte.
func (a answered) equal(body string) answered {
	a.t.Helper()
	if got := a.Body.String(); got != body {
		a.t.Errorf("body\n  %s\nwant\n  %s", got, body)
	}
	return a
}

// notify creates a notification for u.
func (e *harness) notify(u bridge.UserID, title string) createdBody {
	e.t.Helper()
	user, err := json.Marshal(u)
	if err != nil {
		e.t.Fatal(err)
	}
	var created createdBody
	e.call("POST /notifications", tokenFor(e.t, "service", "notifications:write"),
		`{"title":"`+title+`","message":"m","created_by":`+string(user)+`}`).want(http.StatusCreated).into(&created)
	return created
}
