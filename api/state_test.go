package api

import (
	"net/http"
	"strings"
	"testing"
)

func (e *harness) notifyKind(kind string) {
	e.t.Helper()
	e.call("POST /notifications", tokenFor(e.t, "service", "notifications:write"),
		`{"title":"t","message":"m","created_by":1,"kind":"`+kind+`"}`).want(http.StatusCreated)
}

func TestChangesOfAnInbox(t *testing.T) {
	each(t, func(t *testing.T, e *harness) {
		user := tokenFor(t, "1")
		changes := func(since, want string) {
			t.Helper()
			e.call("GET /notifications/changes?since="+since, user, "").want(http.StatusOK).equal(want)
		}
		for range 4 {
			e.notifyKind("news")
		}
		if got := e.call("GET /notifications", user, "").want(http.StatusOK).Header().Get("X-Rev"); got != "0" {
			t.Errorf("rev %q of a list that only grew", got)
		}
		e.call("POST /notifications/read", user, `{"up_to":2}`).equal(`{"unread":2}`)
		e.call("POST /notifications/2/unread", user, "").want(http.StatusOK).equal(`{"unread":3}`)
		e.call("POST /notifications/2/unread", user, "").want(http.StatusOK).equal(`{"unread":3}`)
		e.call("POST /notifications/3/read", user, "").want(http.StatusOK)
		e.call("DELETE /notifications/4", user, "").want(http.StatusNoContent)
		changes("0", `{"rev":4,"from":0,"last_seq":4,"unread":1,"total":3,"is_review_enabled":1,"kinds":{},"read_up_to":2,"read":[3],"unread_ids":[2],"deleted":[4]}`)
		changes("3", `{"rev":4,"from":3,"last_seq":4,"unread":1,"total":3,"is_review_enabled":1,"kinds":{},"read_up_to":0,"read":[],"unread_ids":[],"deleted":[4]}`)
		changes("5", `{"rev":4,"from":null,"last_seq":4,"unread":1,"total":3,"is_review_enabled":1,"kinds":{},"read_up_to":0,"read":[],"unread_ids":[],"deleted":[]}`)
		if got := e.call("GET /notifications", user, "").want(http.StatusOK).Header().Get("X-Rev"); got != "4" {
			t.Errorf("rev %q", got)
		}
		e.call("PATCH /settings", user, `{"kinds":{"news":0}}`).want(http.StatusOK).equal(`{"is_review_enabled":1,"kinds":{"news":0}}`)
		changes("4", `{"rev":6,"from":null,"last_seq":4,"unread":0,"total":0,"is_review_enabled":1,"kinds":{"news":0},"read_up_to":0,"read":[],"unread_ids":[],"deleted":[]}`)
		e.call("POST /notifications/99/unread", user, "").problem(http.StatusNotFound)
		e.call("POST /notifications/1/unread", tokenFor(t, "2"), "").problem(http.StatusNotFound)
		for _, since := range []string{"", "?since=", "?since=-1", "?since=x"} {
			e.call("GET /notifications/changes"+since, user, "").problem(http.StatusUnprocessableEntity)
		}
	})
}

func TestAMutedKindIsListedOnlyOnRequest(t *testing.T) {
	each(t, func(t *testing.T, e *harness) {
		user := tokenFor(t, "1")
		listed := func(query string, want ...string) {
			t.Helper()
			body := e.call("GET /notifications"+query, user, "").want(http.StatusOK).Body.String()
			if n := strings.Count(body, `"kind"`); n != len(want) {
				t.Errorf("%s lists %d: %s", query, n, body)
			}
			for _, k := range want {
				if !strings.Contains(body, `"kind":"`+k+`"`) {
					t.Errorf("%s does not list %s: %s", query, k, body)
				}
			}
		}
		e.notifyKind("news")
		e.notifyKind("a.b")
		e.notifyKind("alarm")
		listed("?kind=news,a.b", "news", "a.b")
		e.call("PATCH /settings", user, `{"kinds":{"news":0,"x":true}}`).want(http.StatusOK).equal(`{"is_review_enabled":1,"kinds":{"news":0,"x":1}}`)
		e.call("PATCH /settings", user, `{"kinds":{"a.b":false,"x":null}}`).want(http.StatusOK).equal(`{"is_review_enabled":1,"kinds":{"a.b":0,"news":0}}`)
		e.notifyKind("news")
		e.notifyKind("alarm")
		listed("", "alarm", "alarm")
		listed("?muted=include", "news", "news", "a.b", "alarm", "alarm")
		listed("?muted=include&kind=news", "news", "news")
		listed("?kind=news")
		e.call("GET /notifications/count", user, "").equal(`{"total":2,"unread":2,"last_seq":5}`)
		e.call("POST /notifications/read", user, "").equal(`{"unread":0}`)
		e.call("DELETE /notifications/read", user, "").want(http.StatusNoContent)
		listed("?muted=include", "news", "news", "a.b")
		e.call("PATCH /settings", user, `{"is_review_enabled":0}`).want(http.StatusOK).equal(`{"is_review_enabled":0,"kinds":{"a.b":0,"news":0}}`)
		listed("")
		listed("?muted=include", "news", "news", "a.b")
		e.call("PATCH /settings", user, `{"is_review_enabled":1,"kinds":{"a.b":null,"news":null}}`).want(http.StatusOK).equal(`{"is_review_enabled":1,"kinds":{}}`)
		listed("", "news", "news", "a.b")
		e.call("GET /notifications/count", user, "").equal(`{"total":3,"unread":3,"last_seq":5}`)
	})
}

func TestAMutedKindWithManyNotificationsKeepsPagesBounded(t *testing.T) {
	e := newHarness(t, sqlite(t))
	user := tokenFor(t, "1")
	e.notifyKind("alarm")
	draft := `{"title":"t","message":"m","created_by":1,"kind":"flood"},`
	for range 5 {
		e.call("POST /notifications/batch", tokenFor(t, "service", "notifications:write"),
			`{"notifications":[`+strings.TrimSuffix(strings.Repeat(draft, 500), ",")+`]}`).want(http.StatusCreated)
	}
	e.call("PATCH /settings", user, `{"kinds":{"flood":0}}`).want(http.StatusOK)
	first := e.call("GET /notifications?limit=5", user, "").want(http.StatusOK).equal("[]")
	if got, want := first.Header().Get("Link"), `<?before=502&limit=5>; rel="next"`; got != want {
		t.Errorf("link %s, want %s", got, want)
	}
	if body := e.call("GET /notifications?before=502&limit=5", user, "").want(http.StatusOK).Body.String(); !strings.Contains(body, "alarm") {
		t.Errorf("the next page is %s", body)
	}
}
