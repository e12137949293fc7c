package api

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/delivery"
	"github.com/falconalert/falconbridge/bridge/token"
	"github.com/falconalert/falconbridge/internal/edge"
)

// auditFields is an entry as a client reads it.
type auditFields struct {
	ID     int64
	At     string
	Sub    bridge.UserID
	JTI    *string
	Action string
	User   *bridge.UserID
	Remote string
	Detail string
}

// audited returns the entries that sub made, oldest first, as "action user detail".
func (e *harness) audited(sub bridge.UserID) (out []string) {
	e.t.Helper()
	var page []auditFields
	e.call("GET /admin/audit?limit=200", tokenFor(e.t, "auditor", "admin"), "").want(http.StatusOK).into(&page)
	for i := len(page) - 1; i >= 0; i-- {
		f := page[i]
		if f.Sub != sub {
			continue
		}
		if _, err := time.Parse(time.RFC3339, f.At); err != nil || f.Remote != "192.0.2.1" { // httptest's
			e.t.Errorf("entry %+v", f)
		}
		user := "-"
		if f.User != nil {
			user = string(*f.User)
		}
		out = append(out, strings.TrimSpace(f.Action+" "+user+" "+f.Detail))
	}
	return out
}

func (e *harness) wantAudit(sub bridge.UserID, want ...string) {
	e.t.Helper()
	if got := e.audited(sub); strings.Join(got, "\n") != strings.Join(want, "\n") {
		e.t.Errorf("%s did\n  %s\nwant\n  %s", sub, strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

func TestEveryOperatorActionIsAudited(t *testing.T) {
	each(t, func(t *testing.T, e *harness) {
		admin := tokenFor(t, "root", "admin")
		e.call("POST /reports", admin, `{"id":2,"title":"T","created_by":42}`).want(http.StatusCreated)
		e.call("PUT /admin/reports/2/status", admin, `{"status_id":2}`).want(http.StatusOK)
		e.call("PUT /admin/reports/2/status", admin, `{"status_id":2}`).want(http.StatusOK) // changes nothing
		e.call("PUT /admin/reports/9/status", admin, `{"status_id":2}`).want(http.StatusNotFound)
		e.call("GET /users/42/notifications", admin, "").want(http.StatusOK)
		e.call("GET /users/root/notifications", admin, "").want(http.StatusOK) // one's own
		e.call("DELETE /admin/users/42/connections", admin, "").want(http.StatusNoContent)
		e.call("POST /admin/revocations", admin, `{"user":42}`).want(http.StatusCreated)
		e.call("POST /admin/revocations", admin, `{"jti":"stolen"}`).want(http.StatusCreated)
		e.call("POST /admin/revocations", admin, `{}`).want(http.StatusUnprocessableEntity)
		own, others := e.notify("root", "t"), e.notify("42", "t")
		e.call(fmt.Sprintf("DELETE /notifications/%d", own.ID), admin, "").want(http.StatusNoContent)
		e.call(fmt.Sprintf("DELETE /notifications/%d", others.ID), admin, "").want(http.StatusNoContent)
		e.call("DELETE /notifications?user=42&replaces=alarm", admin, "").want(http.StatusOK)
		e.call("DELETE /admin/users/42", admin, "").want(http.StatusNoContent)
		e.wantAudit("root", "report.status 42 report 2, status 2", "history.read 42", "connection.end 42",
			"user.revoke 42", "token.revoke - stolen", fmt.Sprintf("notification.withdraw 42 notification %d", others.ID),
			"notification.withdraw 42", "user.erase 42")
		e.call("GET /admin/audit", tokenFor(t, "42"), "").want(http.StatusForbidden)
		e.call("GET /admin/audit", tokenFor(t, "42", "notifications:read", "notifications:write", "reports:write"), "").want(http.StatusForbidden)
	})
}

func TestTheAuditLogIsPaged(t *testing.T) {
	e := newHarness(t, sqlite(t))
	admin := tokenFor(t, "root", "admin")
	for i := range 5 {
		e.call(fmt.Sprintf("DELETE /admin/users/%d/connections", i), admin, "").want(http.StatusNoContent)
	}
	var users []string
	for path, pages := "/admin/audit?limit=2", 0; path != ""; pages++ {
		if pages > 5 {
			t.Fatal("the pages do not end")
		}
		var page []auditFields
		a := e.call("GET "+path, admin, "").want(http.StatusOK).into(&page)
		for _, f := range page {
			users = append(users, string(*f.User))
		}
		path = nextPage(t, path, a.Header())
	}
	if got := strings.Join(users, ""); got != "43210" {
		t.Errorf("users in the order %s", got)
	}
}

// With every history read, a reader would push the rest of the log out of sight.
func TestRepeatedReadsOfAHistoryAreOneAuditEntryPerMinute(t *testing.T) {
	each(t, func(t *testing.T, e *harness) {
		reader := tokenFor(t, "reader", "notifications:read")
		for range 20 {
			e.call("GET /users/42/notifications", reader, "").want(http.StatusOK)
		}
		if n := len(e.audited("reader")); n < 1 || n > 2 { // the calls may span two minutes
			t.Errorf("%d entries", n)
		}
	})
}

// failingAudit takes no entry.
type failingAudit struct{ bridge.Audit }

func (failingAudit) Record(context.Context, ...bridge.AuditEntry) error { return bridge.ErrUnavailable }

func TestAnActionThatCannotBeAuditedIsNotPerformed(t *testing.T) {
	e := newHarness(t, sqlite(t))
	kept := e.notify("42", "t")
	report := e.call("POST /reports", tokenFor(t, "root", "admin"), `{"title":"T","created_by":42}`).want(http.StatusCreated)
	blind := newHarness(t, sqlite(t), func(o *Options) {
		o.Service = bridge.NewService(bridge.ServiceOptions{Log: e.db, History: e.db, Reports: e.db, Cluster: e.db,
			Audit: failingAudit{}, Hub: delivery.NewHub(delivery.Options{}), Bus: silentBus{}})
	})
	admin := tokenFor(t, "root", "admin")
	for _, call := range []struct{ at, body string }{
		{"DELETE /admin/users/42", ""}, {"DELETE /admin/users/42/connections", ""}, {"POST /admin/revocations", `{"user":42}`},
		{"PUT /admin/" + report.Header().Get("Location") + "/status", `{"status_id":2}`}, {"GET /users/42/notifications", ""},
		{fmt.Sprintf("DELETE /notifications/%d", kept.ID), ""}, {"DELETE /notifications?user=42&replaces=alarm", ""},
	} {
		blind.call(call.at, admin, call.body).problem(http.StatusServiceUnavailable)
	}
	e.call("GET /notifications/count", tokenFor(t, "42"), "").want(http.StatusOK).equal(`{"total":1,"unread":1,"last_seq":1}`)
}

func TestRefusedCallsOfVerifiedTokensAreAudited(t *testing.T) {
	each(t, func(t *testing.T, e *harness) {
		e.call("DELETE /admin/users/7", tokenFor(t, "mallory"), "").want(http.StatusForbidden)
		e.wantAudit("mallory", "refused 7 DELETE /admin/users/{id}")
		s, err := token.NewSigner(token.SignerOptions{Secret: testSecret})
		if err != nil {
			t.Fatal(err)
		}
		old, err := s.Sign(bridge.Claims{User: "late", ID: "t-1", ExpiresAt: time.Now().Add(-time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		e.call("GET /notifications", old, "").want(http.StatusUnauthorized)
		e.wantAudit("late", "refused - GET /notifications")
	})
}

// Behind a balancer every call comes from the balancer's address, which identifies no client.
func TestTheAuditLogHasTheClientsAddressBehindATrustedProxy(t *testing.T) {
	proxies, err := edge.ParseProxies([]string{"192.0.2.1"}) // httptest's
	if err != nil {
		t.Fatal(err)
	}
	e := newHarness(t, sqlite(t), func(o *Options) { o.TrustedProxies = proxies })
	admin := tokenFor(t, "root", "admin")
	e.call("DELETE /admin/users/7/connections", admin, "", "X-Forwarded-For", "198.51.100.9").want(http.StatusNoContent)
	var page []auditFields
	e.call("GET /admin/audit", admin, "").want(http.StatusOK).into(&page)
	if len(page) != 1 || page[0].Remote != "198.51.100.9" {
		t.Errorf("the log has %+v", page)
	}
}

// The name in a token without a valid signature is whatever an attacker writes.
func TestAForgedTokenWritesNothingIntoTheAuditLog(t *testing.T) {
	e := newHarness(t, sqlite(t))
	s, err := token.NewSigner(token.SignerOptions{Secret: []byte("another secret, which is also of 32 bytes")})
	if err != nil {
		t.Fatal(err)
	}
	forged, err := s.Sign(bridge.Claims{User: "victim", ExpiresAt: time.Now().Add(time.Hour), Scope: bridge.ScopeAdmin})
	if err != nil {
		t.Fatal(err)
	}
	e.call("DELETE /admin/users/7", forged, "").want(http.StatusUnauthorized)
	e.call("DELETE /admin/users/7", "", "").want(http.StatusUnauthorized)
	e.wantAudit("victim")
}

func TestAFloodOfRefusedCallsDoesNotFillTheAuditLog(t *testing.T) {
	e := newHarness(t, sqlite(t))
	begun := time.Now()
	for range 200 {
		e.call("DELETE /admin/users/7", tokenFor(t, "mallory"), "").want(http.StatusForbidden)
	}
	if n, most := len(e.audited("mallory")), 2+int(time.Since(begun)/time.Second); n < 1 || n > most {
		t.Errorf("%d entries, want at most %d: one a second", n, most)
	}
}
