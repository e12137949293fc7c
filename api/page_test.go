package api

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/falconalert/falconbridge/bridge"
)

// follow reads all pages from at on and returns the value of name of every element.
func (e *harness) follow(raw, at, name string) (all []int64, pages int) {
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
		path = nextPage(e.t, path, a.Header())
	}
	return all, pages
}

// nextPage returns the target of a page's Link, resolved against the page's URL; "" for the last page.
func nextPage(t testing.TB, at string, h http.Header) string {
	t.Helper()
	link := h.Get("Link")
	if link == "" {
		return ""
	}
	ref, ok := strings.CutPrefix(link, "<")
	ref, end := strings.CutSuffix(ref, `>; rel="next"`)
	base, err := url.Parse(at)
	if !ok || !end || err != nil {
		t.Fatalf("Link %q (%v)", link, err)
	}
	next, err := base.Parse(ref)
	if err != nil {
		t.Fatalf("Link %q: %v", link, err)
	}
	return next.String()
}

// TestReferencesWorkBelowAProxysPath calls the API through a proxy
// that serves it below /falcon/ and strips that prefix, so that the server never sees it.
func TestReferencesWorkBelowAProxysPath(t *testing.T) {
	e := newHarness(t, sqlite(t))
	for range 3 {
		e.notify("1", "t")
	}
	proxy := httptest.NewServer(http.StripPrefix("/falcon", e.handler))
	t.Cleanup(proxy.Close)
	get := func(at, raw string) (http.Header, string) {
		t.Helper()
		r, err := http.NewRequest(http.MethodGet, at, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if raw != "" {
			r.Header.Set("Authorization", "Bearer "+raw)
		}
		a, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Body.Close()
		body, err := io.ReadAll(a.Body)
		if err != nil || a.StatusCode != http.StatusOK {
			t.Fatalf("GET %s: %s (%v)", at, a.Status, err)
		}
		return a.Header, string(body)
	}
	at := proxy.URL + "/falcon/notifications?limit=1"
	pages := 0
	for ; at != ""; pages++ {
		h, _ := get(at, tokenFor(t, "1"))
		at = nextPage(t, at, h)
	}
	if pages != 3 {
		t.Errorf("the Link headers lead through %d pages, want 3", pages)
	}

	moderator := tokenFor(t, "m", "reports:write")
	r, err := http.NewRequest(http.MethodPost, proxy.URL+"/falcon/reports", strings.NewReader(`{"title":"t","created_by":1}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = http.Header{"Authorization": {"Bearer " + moderator}, "Content-Type": {"application/json"}}
	created, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = created.Body.Close()
	where, err := created.Location()
	if err != nil {
		t.Fatal(err)
	}
	get(where.String(), moderator)

	var document struct{ Servers []struct{ URL string } }
	_, body := get(proxy.URL+"/falcon/openapi.json", "")
	if err := json.Unmarshal([]byte(body), &document); err != nil || len(document.Servers) != 1 {
		t.Fatalf("servers %+v (%v)", document.Servers, err)
	}
	base, err := url.Parse(proxy.URL + "/falcon/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	if server, err := base.Parse(document.Servers[0].URL); err != nil || server.Path != "/falcon/" {
		t.Errorf("the OpenAPI document says that the API is at %v (%v)", server, err)
	}
}

func TestPagesFollowTheLink(t *testing.T) {
	each(t, func(t *testing.T, e *harness) {
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

func TestHeadIsGetWithoutABody(t *testing.T) {
	e := newHarness(t, sqlite(t))
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
	each(t, func(t *testing.T, e *harness) {
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
