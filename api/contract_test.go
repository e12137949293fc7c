package api

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

const createdFormat = `{"message":"Notificación creada correctamente","id":1,"seq":1}`

func TestANotificationIsCreatedListedReadAndDeleted(t *testing.T) {
	each(t, func(t *testing.T, e *harness) {
		service, user := tokenFor(t, "service", "notifications:write"), tokenFor(t, "42")
		e.call("POST /notifications", service,
			`{"title":"Hola","message":"¿Qué tal?","created_by":42,"data":{"a": [1, 2.50]}}`, "Accept-Language", "").want(http.StatusCreated).equal(createdFormat)
		e.call("POST /notifications", service,
			`{"title":"Otra","message":"<b>&</b>","created_by":"42","kind":"report.status","report_id":7,"status_id":2,"unknown":{"x":null}}`).want(http.StatusCreated)

		list := e.call("GET /notifications", user, "").want(http.StatusOK)
		for name, want := range map[string]string{"X-Last-Seq": "2", "X-Unread-Count": "2", "X-Epoch": e.service.Epoch(), "Link": "", "Content-Type": "application/json"} {
			if got := list.Header().Get(name); got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
		stamps := regexp.MustCompile(`"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"`)
		got := stamps.ReplaceAllString(list.Body.String(), `"T"`)
		want := `[{"id":2,"seq":2,"kind":"report.status","title":"Otra","message":"<b>&</b>","created_by":42,"created_at":"T","read_at":null,"report_id":7,"status_id":2},` +
			`{"id":1,"seq":1,"kind":"message","title":"Hola","message":"¿Qué tal?","created_by":42,"created_at":"T","read_at":null,"data":{"a":[1,2.50]}}]`
		if got != want {
			t.Errorf("listed\n  %s\nwant\n  %s", got, want)
		}

		e.call("GET /notifications/count", user, "").equal(`{"total":2,"unread":2,"last_seq":2}`)
		e.call("POST /notifications/1/read", user, "").want(http.StatusOK).equal(`{"unread":1}`)
		e.call("POST /notifications/1/read", user, "").want(http.StatusOK).equal(`{"unread":1}`)
		e.call("GET /notifications?unread=true", user, "").want(http.StatusOK)
		e.call("POST /notifications/read", user, `{"up_to":0}`).equal(`{"unread":1}`)
		e.call("POST /notifications/read", user, `{"up_to":1}`).equal(`{"unread":1}`)
		e.call("POST /notifications/read", user, "").want(http.StatusOK).equal(`{"unread":0}`)

		e.call("DELETE /notifications/1", user, "").want(http.StatusNoContent).equal("")
		e.call("DELETE /notifications/1", user, "").problem(http.StatusNotFound)
		e.call("GET /notifications/count", user, "").equal(`{"total":1,"unread":0,"last_seq":2}`)
	})
}

func TestAnEmptyInboxIsAnEmptyArray(t *testing.T) {
	each(t, func(t *testing.T, e *harness) {
		e.call("GET /notifications", tokenFor(t, "nobody"), "").want(http.StatusOK).equal(`[]`)
		e.call("GET /reports", tokenFor(t, "nobody"), "").want(http.StatusOK).equal(`[]`)
	})
}

func TestABatchIsStoredEntirelyOrNotAtAll(t *testing.T) {
	each(t, func(t *testing.T, e *harness) {
		service := tokenFor(t, "service", "notifications:write")
		e.call("POST /notifications/batch", service,
			`{"notifications":[{"title":"a","message":"m","created_by":1},{"title":"b","message":"m","created_by":"bob"},{"title":"c","message":"m","created_by":1}]}`).
			want(http.StatusCreated).
			equal(`{"notifications":[{"id":1,"seq":1,"created_by":1},{"id":2,"seq":1,"created_by":"bob"},{"id":3,"seq":2,"created_by":1}]}`)
		p := e.call("POST /notifications/batch", service,
			`{"notifications":[{"title":"d","message":"m","created_by":1},{"title":"","message":"m","created_by":1}]}`).problem(http.StatusUnprocessableEntity)
		if len(p.Errors) != 1 || p.Errors[0].Location != "body.notifications[1].title" {
			t.Errorf("errors %+v", p.Errors)
		}
		e.call("GET /notifications/count", tokenFor(t, "1"), "").equal(`{"total":2,"unread":2,"last_seq":2}`)
	})
}

func TestMuteHidesAndUnmuteShows(t *testing.T) {
	each(t, func(t *testing.T, e *harness) {
		user := tokenFor(t, "9")
		e.call("GET /settings", user, "").want(http.StatusOK).equal(`{"is_review_enabled":1,"kinds":{}}`)
		e.notify("9", "before")
		for _, off := range []string{"0", "false"} {
			e.call("PATCH /settings", user, `{"is_review_enabled": `+off+`}`).want(http.StatusOK).equal(`{"is_review_enabled":0,"kinds":{}}`)
		}
		e.notify("9", "muted")
		e.call("GET /settings", user, "").equal(`{"is_review_enabled":0,"kinds":{}}`)
		e.call("GET /notifications", user, "").want(http.StatusOK).equal(`[]`)
		e.call("GET /notifications/count", user, "").equal(`{"total":0,"unread":0,"last_seq":2}`)
		for _, on := range []string{"1", "true"} {
			e.call("PATCH /settings", user, `{"is_review_enabled": `+on+`}`).want(http.StatusOK).equal(`{"is_review_enabled":1,"kinds":{}}`)
		}
		e.call("GET /notifications/count", user, "").equal(`{"total":2,"unread":2,"last_seq":2}`)
	})
}

func TestAReportsOwnerIsNotifiedOfItsStatus(t *testing.T) {
	each(t, func(t *testing.T, e *harness) {
		moderator, owner, other := tokenFor(t, "m", "reports:write"), tokenFor(t, "5"), tokenFor(t, "6")
		created := e.call("POST /reports", moderator, `{"id":2,"title":"Página de phishing detectada","created_by":5}`).want(http.StatusCreated).equal(`{"reportId":2}`)
		if got := created.Header().Get("Location"); got != "reports/2" {
			t.Errorf("location %q", got)
		}
		if p := e.call("POST /reports", moderator, `{"id":2,"title":"x","created_by":6}`).problem(http.StatusConflict); p.Type != "/problems/conflict" {
			t.Errorf("type %s", p.Type)
		}
		var made reportIDBody
		e.call("POST /reports", moderator, `{"title":"ohne Nummer","created_by":"6","status_id":3}`).want(http.StatusCreated).into(&made)
		if made.ID <= 2 {
			t.Errorf("report id %d, want one above 2", made.ID)
		}

		var status struct {
			ReportBodyFields
			Notification *appendedBody
		}
		e.call("PUT /admin/reports/2/status", moderator, `{"status_id":2}`).want(http.StatusOK).into(&status)
		if status.ID != 2 || status.Status != 2 || status.Notification == nil || status.Notification.Seq != 1 {
			t.Errorf("changed: %+v", status)
		}
		again := e.call("PUT /admin/reports/2/status", moderator, `{"status_id":2}`).want(http.StatusOK)
		if !strings.HasSuffix(again.Body.String(), `"notification":null}`) {
			t.Errorf("the same status again: %s", again.Body)
		}
		e.call("PUT /admin/reports/99/status", moderator, `{"status_id":2}`).problem(http.StatusNotFound)

		var items []itemFields
		e.call("GET /notifications", owner, "").into(&items)
		if len(items) != 1 || items[0].Title != "El estado de su reporte ha cambiado a: Aprobado" ||
			items[0].Message != "El estado de su reporte titulado Página de phishing detectada ha sido actualizado a Aprobado" ||
			items[0].Kind != "report.status" || items[0].ReportID != 2 || items[0].StatusID != 2 {
			t.Errorf("the owner was notified with %+v", items)
		}

		e.call("GET /reports/2", owner, "").want(http.StatusOK)
		e.call("GET /reports/2", moderator, "").want(http.StatusOK)
		e.call("GET /reports/2", other, "").problem(http.StatusNotFound)
		count := func(raw, query string, want int) {
			t.Helper()
			var list []json.RawMessage
			if e.call("GET /reports"+query, raw, "").want(http.StatusOK).into(&list); len(list) != want {
				t.Errorf("%d reports, want %d", len(list), want)
			}
		}
		count(owner, "", 1)
		count(owner, "?created_by=5", 1)
		count(moderator, "", 2)
		count(moderator, "?created_by=6", 1)
		e.call("GET /reports?created_by=6", owner, "").problem(http.StatusForbidden)
	})
}

// ReportBodyFields and itemFields decode what the API writes.
type ReportBodyFields struct {
	ID     int64 `json:"id"`
	Status int   `json:"status_id"`
}

type itemFields struct {
	ID       int64  `json:"id"`
	Seq      int64  `json:"seq"`
	Kind     string `json:"kind"`
	Title    string `json:"title"`
	Message  string `json:"message"`
	ReportID int64  `json:"report_id"`
	StatusID int    `json:"status_id"`
}

func TestOtherUsersResourcesAreNotFound(t *testing.T) {
	each(t, func(t *testing.T, e *harness) {
		n := e.notify("1", "mine")
		other := tokenFor(t, "2")
		for _, at := range []string{"POST /notifications/1/read", "DELETE /notifications/1", "DELETE /notifications/77"} {
			if p := e.call(at, other, "").problem(http.StatusNotFound); p.Type != "/problems/not-found" {
				t.Errorf("%s: type %s", at, p.Type)
			}
		}
		e.call("GET /notifications/count", tokenFor(t, "1"), "").equal(`{"total":1,"unread":1,"last_seq":1}`)
		reader := tokenFor(t, "r", "notifications:read")
		e.call("DELETE /notifications/1", reader, "").problem(http.StatusNotFound)
		var items []itemFields
		e.call("GET /users/1/notifications", reader, "").want(http.StatusOK).into(&items)
		if len(items) != 1 || items[0].ID != n.ID {
			t.Errorf("another's list: %+v", items)
		}
		e.call("GET /notifications/1/deliveries", reader, "").want(http.StatusOK).equal(`[]`)
		e.call("GET /notifications/77/deliveries", reader, "").problem(http.StatusNotFound)
		e.call("DELETE /notifications/1", tokenFor(t, "a", "admin"), "").want(http.StatusNoContent)
	})
}
