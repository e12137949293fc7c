package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/falconalert/falconbridge/bridge"
)

// follow pages through at and returns every element's value of name.
func (e *edge) follow(raw, at, name string) (all []int64, pages int) {
	e.t.Helper()
	for path := at; path != ""; pages++ {
		if pages > 20 {
			e.t.Fatal("the pages do not end")
		}
		var items []map[string]any
		a := e.call("GET "+path, raw, "").want(http.StatusOK).into(&items)
		for _, item := range items {
			all = append(all, int64(item[name].(float64)))
		}
		path = ""
		if link := a.Header().Get("Link"); link != "" {
			if !strings.HasPrefix(link, "</") || !strings.HasSuffix(link, `>; rel="next"`) {
				e.t.Fatalf("Link %q", link)
			}
			path = strings.TrimSuffix(link[1:], `>; rel="next"`)
		}
	}
	return all, pages
}

func TestPagesFollowTheLink(t *testing.T) {
	each(t, func(t *testing.T, e *edge) {
		for i := range 7 {
			e.notify("a@b:c|d", fmt.Sprint("n", i))
		}
		user, reader := tokenFor(t, "a@b:c|d"), tokenFor(t, "r", "notifications:read")
		e.call("POST /notifications/read", user, `{"up_to":3}`).equal(`{"unread":4}`)
		other := "/users/" + url.PathEscape("a@b:c|d") + "/notifications"
		for name, tt := range map[string]struct {
			raw, at string
			want    string
			pages   int
		}{
			"newest first":       {user, "/notifications?limit=3", "[7 6 5 4 3 2 1]", 3},
			"oldest first":       {user, "/notifications?limit=3&after=0", "[1 2 3 4 5 6 7]", 3},
			"after a seq":        {user, "/notifications?limit=2&after=4", "[5 6 7]", 2},
			"before a seq":       {user, "/notifications?limit=2&before=4", "[3 2 1]", 2},
			"unread":             {user, "/notifications?limit=3&unread=true", "[7 6 5 4]", 2},
			"unread, oldest":     {user, "/notifications?limit=3&unread=1&after=0", "[4 5 6 7]", 2},
			"exactly one page":   {user, "/notifications?limit=7", "[7 6 5 4 3 2 1]", 1},
			"one at a time":      {user, "/notifications?limit=1", "[7 6 5 4 3 2 1]", 7},
			"the default limit":  {user, "/notifications", "[7 6 5 4 3 2 1]", 1},
			"up to date":         {user, "/notifications?after=7", "[]", 1},
			"another's":          {reader, other + "?limit=4", "[7 6 5 4 3 2 1]", 2},
			"an unknown query":   {user, "/notifications?limit=4&other=1", "[7 6 5 4 3 2 1]", 2},
			"unread, explicitly": {user, "/notifications?unread=false", "[7 6 5 4 3 2 1]", 1},
		} {
			got, pages := e.follow(tt.raw, tt.at, "seq")
			if fmt.Sprint(got) != tt.want || pages != tt.pages {
				t.Errorf("%s: %v in %d pages, want %s in %d", name, got, pages, tt.want, tt.pages)
			}
		}

		moderator := tokenFor(t, "m", "reports:write")
		for i := range 5 {
			e.call("POST /reports", moderator, fmt.Sprintf(`{"id":%d,"title":"t","created_by":%d}`, i+1, i%2)).want(http.StatusCreated)
		}
		if got, pages := e.follow(moderator, "/reports?limit=2", "id"); fmt.Sprint(got) != "[5 4 3 2 1]" || pages != 3 {
			t.Errorf("reports %v in %d pages", got, pages)
		}
		if got, pages := e.follow(moderator, "/reports?limit=2&created_by=0", "id"); fmt.Sprint(got) != "[5 3 1]" || pages != 2 {
			t.Errorf("one's reports %v in %d pages", got, pages)
		}
	})
}

func TestHeadAnswersAsGetWithoutABody(t *testing.T) {
	e := newEdge(t, sqlite(t))
	e.notify("1", "t")
	srv := serve(t, e.handler, Timeouts{})
	get := srv.do(t, "GET /notifications", tokenFor(t, "1"), "")
	head := srv.do(t, "HEAD /notifications", tokenFor(t, "1"), "")
	if head.status != http.StatusOK || head.body != "" || head.header.Get("X-Last-Seq") != "1" {
		t.Errorf("HEAD: %+v", head)
	}
	if a, b := get.header.Get("Content-Length"), head.header.Get("Content-Length"); a == "" || a != b || a != fmt.Sprint(len(get.body)) {
		t.Errorf("Content-Length %q and %q for %d bytes", a, b, len(get.body))
	}
	if !json.Valid([]byte(get.body)) {
		t.Errorf("listed %s", get.body)
	}
}

func TestNumbersAndStringsNameTheSameUser(t *testing.T) {
	each(t, func(t *testing.T, e *edge) {
		service := tokenFor(t, "s", "notifications:write")
		for _, user := range []string{`42`, `"42"`, `042x`, `"042"`} {
			body := `{"title":"t","message":"m","created_by":` + user + `}`
			if user == "042x" {
				e.call("POST /notifications", service, body).problem(http.StatusBadRequest)
				continue
			}
			e.call("POST /notifications", service, body).want(http.StatusCreated)
		}
		e.call("GET /notifications/count", tokenFor(t, bridge.UserID("42")), "").equal(`{"total":2,"unread":2,"last_seq":2}`)
		e.call("GET /notifications/count", tokenFor(t, bridge.UserID("042")), "").equal(`{"total":1,"unread":1,"last_seq":1}`)
	})
}
