package api

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestReplacesURLAndExpiryAreAcceptedShownAndWithdrawn(t *testing.T) {
	each(t, func(t *testing.T, e *harness) {
		service, user := tokenFor(t, "orders", "notifications:write"), tokenFor(t, "7", "")
		post := func(more string) {
			t.Helper()
			e.call("POST /notifications", service, `{"title":"t","message":"m","created_by":7,`+more+`}`).want(http.StatusCreated)
		}
		list := func() (items []map[string]any) {
			t.Helper()
			if err := json.Unmarshal(e.call("GET /notifications", user, "").want(http.StatusOK).Body.Bytes(), &items); err != nil {
				t.Fatal(err)
			}
			return items
		}
		post(`"kind":"order.shipped","replaces":"order-7"`)
		post(`"kind":"order.shipped","replaces":"order-7","url":"/orders/7","expires_in":3600`)
		items := list()
		if len(items) != 1 || items[0]["seq"] != 2.0 || items[0]["kind"] != "order.shipped" || items[0]["url"] != "/orders/7" || items[0]["replaces"] != "order-7" {
			t.Fatalf("the history has %v", items)
		}
		at, err := time.Parse(time.RFC3339, items[0]["expires_at"].(string))
		if left := time.Until(at); err != nil || left < 59*time.Minute || left > 61*time.Minute {
			t.Errorf("it expires in %v, %v", left, err)
		}
		e.call("GET /notifications/count", user, "").equal(`{"total":1,"unread":1,"last_seq":2}`)
		batch := `{"notifications":[` + strings.TrimSuffix(strings.Repeat(`{"title":"t","message":"m","created_by":7,"replaces":"a"},`, 3), ",") + `]}`
		e.call("POST /notifications/batch", service, batch).want(http.StatusCreated)
		if items := list(); len(items) != 2 || items[0]["seq"] != 5.0 {
			t.Errorf("after a batch the history has %v", items)
		}
		e.call("DELETE /notifications?user=7&replaces=order-7", user, "").problem(http.StatusForbidden)
		e.call("DELETE /notifications?user=7&replaces=order-7", service, "").equal(`{"deleted":1}`)
		e.call("DELETE /notifications?user=7&replaces=order-7", service, "").equal(`{"deleted":0}`)
		if items := list(); len(items) != 1 {
			t.Errorf("after a withdrawal the history has %v", items)
		}
	})
}

func TestAReportsStatusReplacesItsEarlierOnes(t *testing.T) {
	each(t, func(t *testing.T, e *harness) {
		moderator, user := tokenFor(t, "m", "reports:write"), tokenFor(t, "8", "")
		e.call("POST /reports", moderator, `{"id":71,"title":"a","created_by":8}`).want(http.StatusCreated)
		for _, status := range []string{"2", "3", "2"} {
			e.call("PUT /admin/reports/71/status", moderator, `{"status_id":`+status+`}`).want(http.StatusOK)
		}
		var items []map[string]any
		if err := json.Unmarshal(e.call("GET /notifications", user, "").want(http.StatusOK).Body.Bytes(), &items); err != nil {
			t.Fatal(err)
		}
		if len(items) != 1 || items[0]["seq"] != 3.0 || items[0]["replaces"] != "report-71" {
			t.Errorf("the history has %v", items)
		}
	})
}
