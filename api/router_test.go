package api

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/delivery"
	"github.com/falconalert/falconbridge/bridge/token"
	"github.com/falconalert/falconbridge/internal/edge"
	"github.com/falconalert/falconbridge/internal/testserver"
)

func TestPathsAndMethods(t *testing.T) {
	pages := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if w.Header().Get("Content-Security-Policy") != "" || w.Header().Get("X-Content-Type-Options") != "nosniff" {
			t.Error("the pages do not set their own policy")
		}
		_, _ = io.WriteString(w, "page")
	})
	mqtt := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	e := bare(t, func(o *Options) { o.Pages, o.MQTT = pages, mqtt })
	for _, at := range []string{"GET /", "GET /console", "GET /static/app.js", "POST /", "GET /notificationsx"} {
		e.call(at, "", "").want(http.StatusOK).equal("page")
	}
	e.call("GET /mqtt", "", "").want(http.StatusTeapot)
	for _, at := range []string{"GET /notifications/x/y", "GET /admin", "GET /admin/none", "GET /users/1", "POST /reports/1/x", "GET /docs/none.js", "GET /users", "GET /devices/x/y", "GET /push/none", "GET /healthz/x"} {
		if p := e.call(at, "", "").problem(http.StatusNotFound); p.Type != "/problems/not-found" {
			t.Errorf("%s: %s", at, p.Type)
		}
	}
	for at, allowed := range map[string][]string{
		"PUT /notifications":           {"GET", "HEAD", "POST"},
		"DELETE /settings":             {"GET", "HEAD", "PATCH"},
		"GET /notifications/batch":     {"POST"},
		"GET /notifications/5":         {"DELETE"},
		"POST /notifications/count":    {"GET", "HEAD"},
		"POST /healthz":                {"GET", "HEAD"},
		"POST /mqtt":                   {"GET", "HEAD"},
		"FOO /reports":                 {"GET", "HEAD", "POST"},
		"OPTIONS /settings":            {"GET", "HEAD", "PATCH"},
		"GET /admin/reports/1/status":  {"PUT"},
		"POST /openapi.json":           {"GET", "HEAD"},
		"PATCH /admin/users/1":         {"DELETE"},
		"GET /admin/revocations":       {"POST"},
		"GET /notifications/1/read":    {"POST"},
		"PUT /notifications/read":      {"POST"},
		"POST /users/1/notifications":  {"GET", "HEAD"},
		"DELETE /notifications/1/read": {"POST"},
	} {
		a := e.call(at, "", "")
		a.problem(http.StatusMethodNotAllowed)
		got := strings.Split(a.Header().Get("Allow"), ", ")
		for _, m := range allowed {
			if !slices.Contains(got, m) {
				t.Errorf("%s: Allow %v, want %v", at, got, allowed)
			}
		}
	}
	none := bare(t)
	none.call("GET /", "", "").problem(http.StatusNotFound)
	none.call("GET /mqtt", "", "").problem(http.StatusNotFound)
}

func TestEveryResponseHasSecurityHeaders(t *testing.T) {
	e := newHarness(t, sqlite(t))
	for _, at := range []string{"GET /notifications", "GET /healthz", "GET /none", "PUT /settings", "GET /docs", "GET /openapi.json", "POST /notifications"} {
		a := e.call(at, tokenFor(t, "1"), "")
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY"} {
			if got := a.Header().Get(name); got != want {
				t.Errorf("%s: %s %q", at, name, got)
			}
		}
		if p := a.Header().Get("Content-Security-Policy"); !strings.Contains(p, "frame-ancestors 'none'") {
			t.Errorf("%s: policy %q", at, p)
		}
		if strings.Contains(a.Body.String(), "$schema") || strings.Contains(a.Header().Get("Link"), "describedBy") {
			t.Errorf("%s: speaks of a schema", at)
		}
	}
	if got := e.call("GET /notifications", tokenFor(t, "1"), "").Header().Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control %q", got)
	}
}

// Without it, an attacker on the network could keep a browser on HTTP and read its token.
func TestABrowserIsKeptOnHTTPS(t *testing.T) {
	e := newHarness(t, sqlite(t))
	for _, at := range []string{"GET /notifications", "GET /healthz", "GET /none", "GET /docs", "GET /", "POST /notifications"} {
		method, path, _ := strings.Cut(at, " ")
		for secure, want := range map[bool]string{true: "max-age=31536000", false: ""} {
			r := httptest.NewRequest(method, path, http.NoBody)
			if secure {
				r.TLS = &tls.ConnectionState{}
			}
			w := httptest.NewRecorder()
			e.handler.ServeHTTP(w, r)
			if got := w.Header().Get("Strict-Transport-Security"); got != want {
				t.Errorf("%s, over TLS: %v: Strict-Transport-Security %q, want %q", at, secure, got, want)
			}
		}
	}
}

func TestOnlyAllowedOriginsMayCallFromABrowser(t *testing.T) {
	origins, err := edge.ParseOrigins([]string{"https://app.example:443", "capacitor://localhost"})
	if err != nil {
		t.Fatal(err)
	}
	all, err := edge.ParseOrigins([]string{"*"})
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		origins edge.Origins
		origin  string
		want    string
	}{
		"none configured, the same": {edge.Origins{}, "http://example.com", "http://example.com"},
		"none configured, another":  {edge.Origins{}, "https://app.example", ""},
		"allowed":                   {origins, "https://app.example", "https://app.example"},
		"not allowed":               {origins, "https://evil.example", ""},
		"an app in a web view":      {origins, "capacitor://localhost", "capacitor://localhost"},
		"another scheme":            {origins, "http://app.example", ""},
		"a subdomain":               {origins, "https://x.app.example", ""},
		"null":                      {origins, "null", ""},
		"any":                       {all, "https://evil.example", "*"},
	} {
		e := bare(t, func(o *Options) { o.Origins = tt.origins })
		pre := e.call("OPTIONS /notifications", "", "", "Origin", tt.origin, "Access-Control-Request-Method", "POST",
			"Access-Control-Request-Headers", "authorization,content-type,idempotency-key").want(http.StatusNoContent)
		got := e.call("GET /healthz", "", "", "Origin", tt.origin).want(http.StatusOK)
		for _, a := range []answered{pre, got} {
			if allowed := a.Header().Get("Access-Control-Allow-Origin"); allowed != tt.want {
				t.Errorf("%s: Access-Control-Allow-Origin %q, want %q", name, allowed, tt.want)
			}
			if a.Header().Get("Access-Control-Allow-Credentials") != "" {
				t.Errorf("%s: allows credentials", name)
			}
		}
		if tt.want != "" {
			for _, h := range []string{"X-Last-Seq", "X-Unread-Count", "X-Epoch", "Link", "Idempotency-Replayed", "Retry-After"} {
				if !strings.Contains(got.Header().Get("Access-Control-Expose-Headers"), h) {
					t.Errorf("%s: %s is not exposed", name, h)
				}
			}
		}
	}
}

// failing is a log whose every call fails.
type failing struct{ err error }

func (l *failing) Append(ctx context.Context, _ bridge.Command) (bridge.Result, error) {
	if l.err == nil {
		<-ctx.Done()
		return bridge.Result{}, ctx.Err()
	}
	if errors.Is(l.err, errPanic) {
		panic("with a s3cret")
	}
	return bridge.Result{}, l.err
}

var errPanic = errors.New("panic")

func TestFailuresHaveTheirStatus(t *testing.T) {
	var logged bytes.Buffer
	for name, tt := range map[string]struct {
		err    error
		status int
		typ    string
		retry  bool
		logs   bool
	}{
		"the database is unavailable": {bridge.ErrUnavailable, 503, "/problems/unavailable", true, true},
		"the database does not end":   {nil, 503, "/problems/unavailable", true, true},
		"the key is in flight":        {bridge.ErrKeyInFlight, 409, "/problems/key-in-flight", true, false},
		"the key was reused":          {bridge.ErrKeyReused, 422, "/problems/key-reused", false, false},
		"a fault of the database":     {&bridge.InvalidError{Fields: []bridge.FieldError{{Location: "body", Message: "is refused"}}}, 422, "/problems/invalid", false, false},
		"something else":              {errors.New("s3cret of the server"), 500, "/problems/internal", false, true},
		"a panic":                     {errPanic, 500, "/problems/internal", false, true},
	} {
		logged.Reset()
		e := bare(t, func(o *Options) {
			log := &failing{err: tt.err}
			o.Service = bridge.NewService(bridge.ServiceOptions{Log: log, Hub: delivery.NewHub(delivery.Options{}), Bus: silentBus{}})
			o.Query = 20 * time.Millisecond
			o.Logger = slog.New(slog.NewTextHandler(&logged, nil))
		})
		a := e.call("POST /notifications", tokenFor(t, "s", "notifications:write"), `{"title":"t1tle","message":"m3ssage","created_by":1}`)
		p := a.problem(tt.status)
		if p.Type != tt.typ || strings.Contains(a.Body.String(), "s3cret") {
			t.Errorf("%s: %s", name, a.Body)
		}
		if retry := a.Header().Get("Retry-After") != ""; retry != tt.retry {
			t.Errorf("%s: Retry-After %q", name, a.Header().Get("Retry-After"))
		}
		if (logged.Len() > 0) != tt.logs || strings.Contains(logged.String(), "t1tle") || strings.Contains(logged.String(), "with a s3cret") {
			t.Errorf("%s: logged %q", name, &logged)
		}
	}
}

// unavailableKeys is a verifier whose key set does not respond.
type unavailableKeys struct{}

func (unavailableKeys) Verify(context.Context, string) (bridge.Claims, error) {
	return bridge.Claims{}, errors.Join(token.ErrInvalid, token.ErrUnavailable)
}

func TestATokenThatCannotBeVerifiedIsNotRefused(t *testing.T) {
	e := bare(t, func(o *Options) { o.Verifier = unavailableKeys{} })
	a := e.call("GET /settings", "x.y.z", "")
	a.problem(http.StatusServiceUnavailable)
	if a.Header().Get("Retry-After") == "" || a.Header().Get("WWW-Authenticate") != "" {
		t.Errorf("headers %v", a.Header())
	}
}

func TestReadyFollowsTheNode(t *testing.T) {
	var gone atomic.Bool
	e := bare(t, func(o *Options) {
		o.Ready = func(context.Context) error {
			if gone.Load() {
				return errors.New("postgres://user:s3cret@db is unavailable")
			}
			return nil
		}
	})
	e.call("GET /readyz", "", "").want(http.StatusOK).equal(`{"status":"ready"}`)
	gone.Store(true)
	var a answered
	testserver.Eventually(t, 5*time.Second, func() error { // the last result is reused for a moment
		if a = e.call("GET /readyz", "", ""); a.Code == http.StatusOK {
			return errors.New("it stays ready")
		}
		return nil
	})
	a.problem(http.StatusServiceUnavailable)
	if strings.Contains(a.Body.String(), "s3cret") || a.Header().Get("Retry-After") == "" {
		t.Errorf("%s", a.Body)
	}
	e.call("GET /healthz", "", "").want(http.StatusOK).equal(`{"status":"ok"}`)
}

func TestNewRequiresItsDependencies(t *testing.T) {
	if _, err := New(Options{}); err == nil {
		t.Error("an API without a service")
	}
}
