package api

import (
	"context"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// listed has the fields of an entry that these tests read; stamp has no UnmarshalJSON.
type listed struct {
	ClientID       string `json:"client_id"`
	Connected      bool
	Lag            *int64
	Action, Detail string
}

// connect registers connections of user 7 to node n1, a minute apart.
func (e *harness) connect(clients ...string) {
	e.t.Helper()
	ctx := context.Background()
	if err := e.db.Beat(ctx, "n1", bridge.Figures{Sent: 5, Copies: 2, InFlight: 1}); err != nil {
		e.t.Fatal(err)
	}
	var opened []bridge.Connection
	for i, c := range clients {
		opened = append(opened, bridge.Connection{Device: bridge.Device{User: "7", ClientID: c}, Generation: int64(i + 1), Node: "n1", Protocol: 5,
			Transport: "ws", Remote: "192.0.2.7:1", Since: time.UnixMilli(1764000000000).Add(-time.Duration(i) * time.Minute)})
	}
	if err := e.db.Register(ctx, "n1", opened, nil); err != nil {
		e.t.Fatal(err)
	}
}

func TestConnectionsAreSortedFilteredAndPaged(t *testing.T) {
	each(t, func(t *testing.T, e *harness) {
		e.connect("a", "b", "c/%", "d")
		root := tokenFor(t, "root", "admin")
		for query, want := range map[string]string{
			"": "a b c/% d", "sort=-user": "d c/% b a", "sort=since": "d c/% b a", "sort=-since": "a b c/% d",
			"match=C%2F": "c/%", "match=%25": "c/%", "node=n1&transport=ws&protocol=5&user=7": "a b c/% d", "node=n2": "", "protocol=4": "", "user=8": "",
		} {
			for _, limit := range []string{"1", "3", "50"} {
				var all []string
				for at := "?limit=" + limit + "&" + query; at != ""; {
					var page []listed
					r := e.call("GET /admin/connections"+at, root, "").want(http.StatusOK).into(&page)
					for _, c := range page {
						all = append(all, c.ClientID)
					}
					at = ""
					if link := r.Header().Get("Link"); link != "" {
						at, _, _ = strings.Cut(strings.TrimPrefix(link, "<"), ">")
					}
				}
				if got := strings.Join(all, " "); got != want {
					t.Errorf("%s, %s a page: %s, want %s", query, limit, got, want)
				}
			}
		}
		for _, bad := range []string{"sort=node", "protocol=3", "transport=udp", "match=", "after=x", "after=1.x"} {
			e.call("GET /admin/connections?"+bad, root, "").problem(http.StatusUnprocessableEntity)
		}
	})
}

func TestFiguresCountTheListedConnections(t *testing.T) {
	each(t, func(t *testing.T, e *harness) {
		e.connect("a", "b", "c")
		var s struct {
			Connections, Sent, Copies int64
			InFlight                  int64 `json:"in_flight"`
			Nodes                     []struct{ Connections int64 }
		}
		e.call("GET /admin/stats", tokenFor(t, "root", "admin"), "").want(http.StatusOK).into(&s)
		if s.Connections != 3 || s.Sent != 5 || s.Copies != 2 || s.InFlight != 1 || len(s.Nodes) != 1 || s.Nodes[0].Connections != 3 {
			t.Errorf("figures %+v", s)
		}
	})
}

func TestAbsentDevicesAreListedWithTheirLag(t *testing.T) {
	each(t, func(t *testing.T, e *harness) {
		root, ctx := tokenFor(t, "root", "admin"), context.Background()
		dev := bridge.Device{User: "7", ClientID: "phone"}
		s, err := e.db.Open(ctx, bridge.OpenSession{Device: dev, Node: "n1", Expiry: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := e.db.Subscribe(ctx, dev, s.Generation, bridge.Subscription{QoS: 1}, nil); err != nil {
			t.Fatal(err)
		}
		e.notify("7", "one")
		e.notify("7", "two")
		if err := e.db.Advance(ctx, []bridge.Advance{{Device: dev, Generation: s.Generation, Closed: true, Expiry: time.Hour}}); err != nil {
			t.Fatal(err)
		}
		var page []listed
		e.call("GET /admin/devices?absent=true&behind=true&match=PHO", root, "").want(http.StatusOK).into(&page)
		if len(page) != 1 || page[0].ClientID != "phone" || page[0].Connected || page[0].Lag == nil || *page[0].Lag != 2 {
			t.Fatalf("listed %+v", page)
		}
		e.call("GET /admin/devices?user=8", root, "").equal("[]")
		e.call("GET /admin/devices?absent=maybe", root, "").problem(http.StatusUnprocessableEntity)

		e.call("DELETE /admin/users/7/devices/phone", root, "").want(http.StatusNoContent)
		e.call("DELETE /admin/users/7/devices/phone", root, "").problem(http.StatusNotFound)
		e.call("GET /admin/devices", root, "").equal("[]")
	})
}

func TestDisconnectingOneDeviceLeavesTheOthersConnected(t *testing.T) {
	each(t, func(t *testing.T, e *harness) {
		e.connect("a", "b/c")
		root := tokenFor(t, "root", "admin")
		e.call("DELETE /admin/users/7/connections/b%2Fc", root, "").want(http.StatusNoContent)
		orders, _, err := e.db.Poll(context.Background(), "n1", time.Time{})
		if err != nil || len(orders) != 1 || orders[0].User != "7" || orders[0].ClientID != "b/c" || orders[0].Reason != bridge.EndAdmin {
			t.Errorf("orders %+v, %v", orders, err)
		}
		var entries []listed
		e.call("GET /admin/audit", root, "").want(http.StatusOK).into(&entries)
		if len(entries) != 1 || entries[0].Action != string(bridge.AuditEnd) || entries[0].Detail != "device b/c" {
			t.Errorf("recorded %+v", entries)
		}
		e.call("DELETE /admin/users/7/connections/"+strings.Repeat("x", 257), root, "").problem(http.StatusUnprocessableEntity)
	})
}

func TestAnOperatorSeesThatAUserIsMuted(t *testing.T) {
	each(t, func(t *testing.T, e *harness) {
		e.call("PATCH /settings", tokenFor(t, "7"), `{"is_review_enabled":0}`).want(http.StatusOK)
		e.call("GET /users/7/settings", tokenFor(t, "reader", "notifications:read"), "").want(http.StatusOK).equal(`{"is_review_enabled":0,"kinds":{}}`)
		e.call("GET /users/8/settings", tokenFor(t, "root", "admin"), "").want(http.StatusOK).equal(`{"is_review_enabled":1,"kinds":{}}`)
	})
}

// Users may neither list nor end connections, not even their own.
func TestAUserCannotSeeOrEndDevicesAsAnOperatorDoes(t *testing.T) {
	e := newHarness(t, sqlite(t))
	e.connect("a")
	for _, at := range []string{"GET /admin/devices", "GET /admin/connections?match=a", "DELETE /admin/users/7/connections/a", "DELETE /admin/users/7/devices/a", "GET /users/7/settings"} {
		e.call(at, tokenFor(t, "7"), "").problem(http.StatusForbidden)
		e.call(at, "", "").problem(http.StatusUnauthorized)
	}
}

// A cursor comes from the client, so it may be forged. It is refused unless it names a device.
func TestAForgedCursorIsRefused(t *testing.T) {
	e := newHarness(t, sqlite(t))
	for _, device := range []string{"", "7", "a b/c", "7/\x00", "7/" + strings.Repeat("x", 300), "../7"} {
		cursor := base64.RawURLEncoding.EncodeToString([]byte(device))
		e.call("GET /admin/devices?after="+cursor, tokenFor(t, "root", "admin"), "").problem(http.StatusUnprocessableEntity)
		e.call("GET /admin/connections?after=5."+cursor, tokenFor(t, "root", "admin"), "").problem(http.StatusUnprocessableEntity)
	}
}
