package api

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/delivery"
)

func TestOperatorsSeeWhoIsConnected(t *testing.T) {
	each(t, func(t *testing.T, e *harness) {
		admin := tokenFor(t, "root", "admin")
		e.call("GET /admin/connections", admin, "").want(http.StatusOK).equal(`[]`)
		if err := e.db.Beat(t.Context(), "n1", bridge.Figures{Connections: 3, Sent: 20, Acked: 19, Reads: 4, Oversize: 1}); err != nil {
			t.Fatal(err)
		}
		if err := e.db.Beat(t.Context(), "n2", bridge.Figures{Connections: 1, Sent: 1}); err != nil {
			t.Fatal(err)
		}
		since := time.Date(2026, 1, 2, 3, 4, 5, 6_000_000, time.UTC)
		var opened []bridge.Connection
		for i, client := range []string{"tablet/&?", "phone", "ü"} {
			opened = append(opened, bridge.Connection{Device: bridge.Device{User: "42", ClientID: client}, Generation: int64(i + 1),
				Node: "n1", Protocol: 5, Transport: "wss", Remote: "192.0.2.7:51000", Persistent: true, Since: since})
		}
		opened = append(opened, bridge.Connection{Device: bridge.Device{User: "bob", ClientID: "c"}, Generation: 9, Node: "n1", Protocol: 4, Transport: "tcp", Remote: "r", Since: since})
		if err := e.db.Register(t.Context(), "n1", opened, nil); err != nil {
			t.Fatal(err)
		}
		e.call("GET /admin/connections?user=bob", admin, "").want(http.StatusOK).
			equal(`[{"user":"bob","client_id":"c","node":"n1","protocol":4,"transport":"tcp","remote":"r","persistent":false,"since":"2026-01-02T03:04:05.006Z"}]`)

		var clients []string
		for path, pages := "/admin/connections?limit=1", 0; path != ""; pages++ {
			if pages > 5 {
				t.Fatal("the pages do not end")
			}
			var page []connectionFields
			a := e.call("GET "+path, admin, "").want(http.StatusOK).into(&page)
			for _, c := range page {
				clients = append(clients, fmt.Sprint(c.User, " ", c.ClientID))
			}
			path = nextPage(t, path, a.Header())
		}
		if got := strings.Join(clients, ", "); got != "42 phone, 42 tablet/&?, 42 ü, bob c" {
			t.Errorf("connected: %s", got)
		}

		var stats statsFields
		e.call("GET /admin/stats", admin, "").want(http.StatusOK).into(&stats)
		if stats.Connections != 4 || stats.Sent != 21 || stats.Acked != 19 || len(stats.Nodes) != 2 || stats.Version != "test" {
			t.Errorf("stats %+v", stats)
		}
	})
}

type connectionFields struct {
	User     any
	ClientID string `json:"client_id"`
}

type statsFields struct {
	Version                  string
	Connections, Sent, Acked int64
	Nodes                    []struct{ Node string }
}

func TestOperatorsEndConnectionsAndRevoke(t *testing.T) {
	each(t, func(t *testing.T, e *harness) {
		admin := tokenFor(t, "root", "admin")
		if err := e.db.Beat(t.Context(), "n1", bridge.Figures{}); err != nil {
			t.Fatal(err)
		}
		e.call("DELETE /admin/users/42/connections", admin, "").want(http.StatusNoContent)

		begun := time.Now().Add(-time.Second)
		var v revocationFields
		e.call("POST /admin/revocations", admin, `{"user":42}`).want(http.StatusCreated).into(&v)
		if v.User != "42" || v.Before.Before(begun) || v.Before.After(time.Now().Add(time.Second)) || v.JTI != "" {
			t.Errorf("revoked %+v", v)
		}
		e.call("POST /admin/revocations", admin, `{"user":"bob","before":"2026-01-02T03:04:05+01:00"}`).want(http.StatusCreated).
			equal(`{"user":"bob","before":"2026-01-02T02:04:05.000Z"}`)
		e.call("POST /admin/revocations", admin, `{"jti":"abc"}`).want(http.StatusCreated).equal(`{"jti":"abc"}`)

		stored, err := e.db.Revocations(t.Context(), bridge.Revocation{}, 1000)
		if err != nil {
			t.Fatal(err)
		}
		var known delivery.Revocations
		known.Add(stored...)
		for name, tt := range map[string]struct {
			claims bridge.Claims
			want   bool
		}{
			"the jti":           {bridge.Claims{User: "7", ID: "abc"}, true},
			"another jti":       {bridge.Claims{User: "7", ID: "abd"}, false},
			"issued before":     {bridge.Claims{User: "42", IssuedAt: begun.Add(-time.Minute)}, true},
			"issued after":      {bridge.Claims{User: "42", IssuedAt: time.Now().Add(time.Minute)}, false},
			"without iat":       {bridge.Claims{User: "bob"}, true},
			"bob's of February": {bridge.Claims{User: "bob", IssuedAt: time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)}, false},
		} {
			if got, err := known.Revoked(t.Context(), tt.claims); err != nil || got != tt.want {
				t.Errorf("%s: revoked %v, %v", name, got, err)
			}
		}
	})
}

type revocationFields struct {
	User   bridge.UserID
	Before time.Time
	JTI    string
}

func TestAnErasedUserLeavesNothing(t *testing.T) {
	each(t, func(t *testing.T, e *harness) {
		admin, user := tokenFor(t, "root", "admin"), tokenFor(t, "42")
		e.notify("42", "t")
		e.notify("43", "t")
		e.call("POST /reports", admin, `{"id":5,"title":"t","created_by":42}`).want(http.StatusCreated)
		e.call("PATCH /settings", user, `{"is_review_enabled":0}`).want(http.StatusOK)
		e.call("DELETE /admin/users/42", admin, "").want(http.StatusNoContent).equal("")
		e.call("GET /notifications/count", user, "").equal(`{"total":0,"unread":0,"last_seq":0}`)
		e.call("GET /settings", user, "").equal(`{"is_review_enabled":1,"kinds":{}}`)
		e.call("GET /reports/5", admin, "").problem(http.StatusNotFound)
		e.call("GET /notifications/count", tokenFor(t, "43"), "").equal(`{"total":1,"unread":1,"last_seq":1}`)
		e.call("DELETE /admin/users/42", admin, "").want(http.StatusNoContent)
	})
}

func TestDeliveriesNameTheDevices(t *testing.T) {
	each(t, func(t *testing.T, e *harness) {
		reader := tokenFor(t, "r", "notifications:read")
		e.notify("42", "before either")
		generations := map[string]int64{}
		for _, client := range []string{"phone", "tablet"} {
			dev := bridge.Device{User: "42", ClientID: client}
			s, err := e.db.Open(t.Context(), bridge.OpenSession{Device: dev, Node: "n1", Expiry: time.Hour})
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := e.db.Subscribe(t.Context(), dev, s.Generation, bridge.Subscription{QoS: 1}, nil); err != nil {
				t.Fatal(err)
			}
			generations[client] = s.Generation
		}
		e.notify("42", "to both")
		e.call("GET /notifications/2/deliveries", reader, "").want(http.StatusOK).
			equal(`[{"client_id":"phone","acknowledged":false,"acknowledged_at":null},{"client_id":"tablet","acknowledged":false,"acknowledged_at":null}]`)
		acked := bridge.Advance{Device: bridge.Device{User: "42", ClientID: "phone"}, Generation: generations["phone"], Acked: 2, Sent: 2}
		if err := e.db.Advance(t.Context(), []bridge.Advance{acked}); err != nil {
			t.Fatal(err)
		}
		var at []struct {
			ClientID string    `json:"client_id"`
			At       time.Time `json:"acknowledged_at"`
		}
		e.call("GET /notifications/2/deliveries", reader, "").want(http.StatusOK).into(&at)
		if len(at) != 2 || at[0].ClientID != "phone" || time.Since(at[0].At).Abs() > time.Minute || !at[1].At.IsZero() {
			t.Errorf("acknowledged at %v", at)
		}
		e.call("GET /notifications/1/deliveries", reader, "").want(http.StatusOK).equal(`[]`)
	})
}

// unfinished is a history whose steps take longer than a call may.
type unfinished struct{ bridge.History }

func (unfinished) Erase(context.Context, bridge.UserID) (bool, error) { return false, nil }

func (unfinished) ReadUpTo(context.Context, bridge.UserID, bridge.Seq) (int64, bool, error) {
	return 380_000, false, nil
}

func TestUnfinishedWorkIsReportedAs202(t *testing.T) {
	e := bare(t, func(o *Options) {
		o.Service = bridge.NewService(bridge.ServiceOptions{History: unfinished{}, Hub: delivery.NewHub(delivery.Options{}), Bus: silentBus{}})
	})
	e.call("DELETE /admin/users/42", tokenFor(t, "root", "admin"), "").want(http.StatusAccepted).equal("")
	e.call("POST /notifications/read", tokenFor(t, "42"), "").want(http.StatusAccepted).equal(`{"unread":380000}`)
}

// An explanation is for operators: it has the shape of the contract, and nothing of what
// the notification says.
func TestExplainNeverShowsANotificationsContent(t *testing.T) {
	each(t, func(t *testing.T, e *harness) {
		reader := tokenFor(t, "r", "notifications:read")
		dev := bridge.Device{User: "42", ClientID: "phone"}
		s, err := e.db.Open(t.Context(), bridge.OpenSession{Device: dev, Node: "n1", Expiry: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := e.db.Subscribe(t.Context(), dev, s.Generation, bridge.Subscription{QoS: 1}, nil); err != nil {
			t.Fatal(err)
		}
		e.call("POST /notifications", tokenFor(t, "shop", "notifications:write"),
			`{"created_by":"42","title":"hush","message":"hush","data":{"hush":1}}`).want(http.StatusCreated)
		explain := func(token string) string {
			a := e.call("GET /admin/notifications/1/explain", token, "").want(http.StatusOK)
			if strings.Contains(a.Body.String(), "hush") {
				t.Errorf("shows content: %s", a.Body)
			}
			return regexp.MustCompile(`"(committed_at|at)":"[^"]*"`).ReplaceAllString(strings.TrimSpace(a.Body.String()), `"$1":"T"`)
		}
		want := `{"id":1,"user":42,"seq":1,"kind":"message","committed_at":"T","by":"shop","state":"live",` +
			`"devices":[{"client_id":"phone","state":"behind","at":null,"why":""}],"pushes":[],"webhooks":[]}`
		for _, token := range []string{reader, tokenFor(t, "a", "admin")} {
			if got := explain(token); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		}
		e.call("GET /admin/notifications/1/explain", tokenFor(t, "42"), "").problem(http.StatusForbidden)
		e.call("GET /admin/notifications/99/explain", reader, "").problem(http.StatusNotFound)
		closed := bridge.Advance{Device: dev, Generation: s.Generation, Closed: true, Expiry: time.Hour}
		if err := e.db.Advance(t.Context(), []bridge.Advance{closed}); err != nil {
			t.Fatal(err)
		}
		e.call("DELETE /notifications/1", tokenFor(t, "42"), "").want(http.StatusNoContent)
		if got := explain(reader); !strings.Contains(got, `"state":"deleted","devices":[{"client_id":"phone","state":"skipped","at":"T","why":"deleted"}]`) {
			t.Errorf("deleted: %s", got)
		}
	})
}
