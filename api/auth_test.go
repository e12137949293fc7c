package api

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/token"
)

// rights is who may call what: the scope it needs, "" for any token, "open" for
// none at all.
var rights = map[string]string{
	"GET /notifications":                 "",
	"GET /notifications/count":           "",
	"POST /notifications/read":           "",
	"POST /notifications/1/read":         "",
	"DELETE /notifications/1":            "",
	"GET /settings":                      "",
	"PATCH /settings":                    "",
	"GET /reports":                       "",
	"GET /reports/1":                     "",
	"GET /users/1/notifications":         "notifications:read",
	"GET /notifications/1/deliveries":    "notifications:read",
	"GET /admin/notifications/1/explain": "notifications:read",
	"POST /notifications":                "notifications:write",
	"POST /notifications/batch":          "notifications:write",
	"POST /reports":                      "reports:write",
	"PUT /admin/reports/1/status":        "reports:write",
	"DELETE /admin/users/77":             "admin",
	"GET /admin/connections":             "admin",
	"DELETE /admin/users/77/connections": "admin",
	"POST /admin/revocations":            "admin",
	"GET /admin/stats":                   "admin",
	"GET /devices":                       "",
	"POST /admin/webhooks/1/redeliver":   "admin",
	"GET /healthz":                       "open",
	"GET /readyz":                        "open",
	"GET /openapi.json":                  "open",
	"GET /asyncapi.json":                 "open",
	"GET /docs":                          "open",
	"GET /problems/invalid":              "open",
}

func TestEveryCallRequiresItsScope(t *testing.T) {
	e := newHarness(t, sqlite(t))
	scopes := []string{"", "notifications:read", "notifications:write", "reports:write", "admin"}
	for at, needs := range rights {
		if needs == "open" {
			e.call(at, "", "").want(http.StatusOK)
			continue
		}
		if p := e.call(at, "", "{").problem(http.StatusUnauthorized); p.Type != "/problems/unauthorized" {
			t.Errorf("%s without a token: %s", at, p.Type)
		}
		for _, has := range scopes {
			a := e.call(at, tokenFor(t, "1", strings.Fields(has)...), "{")
			may := needs == "" || has == needs || has == "admin"
			if refused := a.Code == http.StatusForbidden; refused == may {
				t.Errorf("%s with scope %q: %d", at, has, a.Code)
			}
			if a.Code == http.StatusForbidden && !strings.Contains(a.Header().Get("WWW-Authenticate"), `error="insufficient_scope", scope="`+needs+`"`) {
				t.Errorf("%s with scope %q: WWW-Authenticate %q", at, has, a.Header().Get("WWW-Authenticate"))
			}
		}
	}
}

// untouched is a body that fails the test when it is read.
type untouched struct{ t *testing.T }

func (u untouched) Read([]byte) (int, error) {
	u.t.Error("the body was looked at")
	return 0, io.EOF
}

func TestTheTokenIsCheckedBeforeTheBodyIsRead(t *testing.T) {
	e := bare(t)
	for name, tt := range map[string]struct {
		auth, contentType string
		status            int
	}{
		"no token":                {"", "application/json", 401},
		"a bad token":             {"Bearer x.y.z", "text/plain", 401},
		"no scope":                {"Bearer " + tokenFor(t, "1"), "text/plain", 403},
		"a wrong media type":      {"Bearer " + tokenFor(t, "1", "notifications:write"), "text/plain", 415},
		"a body of 1 GiB":         {"Bearer " + tokenFor(t, "1", "notifications:write"), "application/json", 413},
		"1 GiB without the right": {"Bearer " + tokenFor(t, "1"), "application/json", 403},
		"no token, 1 GiB":         {"", "application/json", 401},
		"a wrong type, 1 GiB":     {"Bearer " + tokenFor(t, "1", "notifications:write"), "text/plain", 415},
	} {
		r := httptest.NewRequest(http.MethodPost, "/notifications", untouched{t})
		r.ContentLength = 1 << 30
		r.Header.Set("Content-Type", tt.contentType)
		if tt.auth != "" {
			r.Header.Set("Authorization", tt.auth)
		}
		w := httptest.NewRecorder()
		e.handler.ServeHTTP(w, r)
		if w.Code != tt.status {
			t.Errorf("%s: %d, want %d", name, w.Code, tt.status)
		}
	}
}

func TestATokenIsReadFromTheHeaderOnly(t *testing.T) {
	e := newHarness(t, sqlite(t))
	raw := tokenFor(t, "1")
	for _, query := range []string{"token", "access_token", "jwt", "auth"} {
		e.call("GET /notifications?"+query+"="+raw, "", "").problem(http.StatusUnauthorized)
	}
	e.call("GET /notifications", "", "", "Cookie", "token="+raw).problem(http.StatusUnauthorized)
	for name, header := range map[string]string{"basic": "Basic " + raw, "bare": raw, "none": "Bearer", "blank": "Bearer  "} {
		a := e.call("GET /notifications", "", "", "Authorization", header)
		a.problem(http.StatusUnauthorized)
		if got := a.Header().Get("WWW-Authenticate"); got != realm {
			t.Errorf("%s: WWW-Authenticate %q", name, got)
		}
	}
	e.call("GET /notifications", "", "", "Authorization", "bearer "+raw).want(http.StatusOK)

	r := httptest.NewRequest(http.MethodGet, "/notifications", nil)
	r.Header["Authorization"] = []string{"Bearer " + raw, "Bearer " + raw}
	w := httptest.NewRecorder()
	e.handler.ServeHTTP(w, r)
	if w.Code != http.StatusUnauthorized {
		t.Errorf("two headers: %d", w.Code)
	}
}

func TestARefusedTokenIsExplained(t *testing.T) {
	now := time.Now()
	revoked := false
	v, err := token.NewVerifier(t.Context(), token.Options{Secrets: [][]byte{testSecret}, Now: func() time.Time { return now },
		Revoked: func(context.Context, bridge.Claims) (bool, error) { return revoked, nil }})
	if err != nil {
		t.Fatal(err)
	}
	e := newHarness(t, sqlite(t), func(o *Options) { o.Verifier = v })
	raw := tokenFor(t, "1")
	refused := func(want string) {
		t.Helper()
		a := e.call("GET /notifications", raw, "")
		if p := a.problem(http.StatusUnauthorized); !strings.Contains(p.Detail, want) {
			t.Errorf("detail %q, want %q", p.Detail, want)
		}
		if got := a.Header().Get("WWW-Authenticate"); !strings.Contains(got, `error="invalid_token"`) || !strings.Contains(got, want) {
			t.Errorf("WWW-Authenticate %q", got)
		}
	}
	e.call("GET /notifications", raw, "").want(http.StatusOK)
	revoked = true
	refused("revoked")
	revoked = false
	now = now.Add(2 * time.Hour)
	refused("expired")
	raw = "x.y.z"
	refused("not valid")
}
