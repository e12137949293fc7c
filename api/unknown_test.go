package api

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
)

func TestUnknownFieldsAreNamedInAHeader(t *testing.T) {
	e := bare(t)
	service := tokenFor(t, "s", "notifications:write")
	for name, tt := range map[string]struct{ at, body, want string }{
		"none":              {"POST /notifications", `{"title":"t","message":"m","created_by":1,"data":{"any":1}}`, ""},
		"one":               {"POST /notifications", `{"title":"t","message":"m","created_by":1,"titel":{"title":1}}`, "titel"},
		"two":               {"POST /notifications", `{"a":1,"title":"t","message":"m","created_by":1,"b":[{}]}`, "a, b"},
		"of an entry":       {"POST /notifications/batch", `{"notifications":[{"title":"t","message":"m","created_by":1},{"title":"t","message":"m","created_by":1,"x":1}],"y":2}`, "notifications[1].x, y"},
		"escaped":           {"POST /notifications", `{"title":"t","message":"m","created_by":1,"a, b\r\nSet-Cookie: c=ñ":1}`, "a%2C%20b%0D%0ASet-Cookie:%20c=%C3%B1"},
		"a long name, cut":  {"POST /notifications", `{"title":"t","message":"m","created_by":1,"` + strings.Repeat("x", 5000) + `":1}`, strings.Repeat("x", maxUnknownName)},
		"strict is not 1":   {"POST /notifications?strict=0", `{"title":"t","message":"m","created_by":1,"titel":1}`, "titel"},
		"a name known only": {"POST /notifications", `{"title":"t","message":"m","created_by":1,"Title":1}`, "Title"},
	} {
		got := e.call(tt.at, service, tt.body).want(http.StatusCreated).Header().Get("X-Unknown-Fields")
		if got != tt.want {
			t.Errorf("%s: X-Unknown-Fields is %q, want %q", name, got, tt.want)
		}
	}
	many := `{"title":"t","message":"m","created_by":1`
	for i := range 50 {
		many += `,"f` + strconv.Itoa(i) + `":1`
	}
	got := e.call("POST /notifications", service, many+"}").want(http.StatusCreated).Header().Get("X-Unknown-Fields")
	if n := len(strings.Split(got, ", ")); n != maxUnknown {
		t.Errorf("%d names, want %d: %q", n, maxUnknown, got)
	}
}

func TestStrictRefusesEachUnknownField(t *testing.T) {
	e := bare(t)
	service := tokenFor(t, "s", "notifications:write")
	good := `{"title":"t","message":"m","created_by":1}`
	e.call("POST /notifications?strict=1", service, good).want(http.StatusCreated)
	for name, tt := range map[string]struct {
		at, body string
		want     []string
	}{
		"one":            {"POST /notifications?strict=1", `{"title":"t","message":"m","created_by":1,"titel":1}`, []string{"body.titel"}},
		"with a fault":   {"POST /notifications?strict=1", `{"message":"m","created_by":1,"titel":1}`, []string{"body.titel", "body.title"}},
		"of the entries": {"POST /notifications/batch?strict=1", `{"notifications":[` + good + `,{"title":"t","message":"m","created_by":1,"x":1}],"y":2}`, []string{"body.notifications[1].x", "body.y"}},
	} {
		a := e.call(tt.at, service, tt.body)
		var got []string
		for _, f := range a.problem(http.StatusUnprocessableEntity).Errors {
			got = append(got, f.Location)
		}
		if strings.Join(got, " ") != strings.Join(tt.want, " ") {
			t.Errorf("%s: faults at %q, want %q", name, got, tt.want)
		}
	}
}

func TestAMissingRecipientIsRequired(t *testing.T) {
	e := bare(t)
	p := e.call("POST /notifications", tokenFor(t, "s", "notifications:write"), `{"title":"t","message":"m"}`).problem(http.StatusUnprocessableEntity)
	if len(p.Errors) != 1 || p.Errors[0] != (fieldProblem{"body.created_by", "is required", "required"}) {
		t.Errorf("%+v", p.Errors)
	}
}

func TestProblemsSayMoreThanTheirTitle(t *testing.T) {
	e := newHarness(t, sqlite(t))
	service := tokenFor(t, "s", "notifications:write")
	for name, tt := range map[string]struct {
		got  answered
		code int
		want string
	}{
		"415":               {e.call("POST /notifications", service, "x", "Content-Type", "text/plain"), 415, "application/json"},
		"404 of a path":     {e.call("GET /notifications/1/x", service, ""), 404, "no such path"},
		"404 of a resource": {e.call("POST /notifications/99/read", service, ""), 404, "another user"},
		"405":               {e.call("PUT /settings", service, "{}"), 405, "GET, HEAD, PATCH"},
	} {
		if p := tt.got.problem(tt.code); !strings.Contains(p.Detail, tt.want) || p.Detail == p.Title {
			t.Errorf("%s: detail %q does not contain %q", name, p.Detail, tt.want)
		}
	}
}
