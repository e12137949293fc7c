package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// request is one entry of the corpus. Requests run in the order of the corpus
// against one database, so later ones see what earlier ones changed.
type request struct {
	at, body string
	headers  []string
}

// corpus returns valid and invalid requests to every operation, by the token they carry.
func corpus() map[string][]request {
	bads := func(table map[string]bad) (rs []request) {
		for _, name := range slices.Sorted(maps.Keys(table)) {
			rs = append(rs, request{at: table[name].at, body: table[name].body})
		}
		return rs
	}
	n := `{"title":"t","message":"m","created_by":7}`
	key := func(k string) []string { return []string{"Idempotency-Key", k} }
	ct := func(t string) []string { return []string{"Content-Type", t} }
	good := []request{
		{at: "POST /notifications", body: n},
		{at: "POST /notifications", body: `{"title":" \u00e1\ud83d\ude00<>&","message":"m","created_by":"7","kind":"message","report_id":3,"status_id":2,"data":{"b" : 1, "a":[ {} ]},"unknown":{"x":1}}`},
		{at: "POST /notifications", body: `{"title":"t","message":"m","created_by":"user@example.org|x","kind":null,"report_id":null,"status_id":null,"data":null}`},
		{at: "POST /notifications", body: n, headers: key("k1")},
		{at: "POST /notifications", body: n, headers: key("k1")},
		{at: "POST /notifications", body: n + " ", headers: key("k1")},
		{at: "POST /notifications/batch", body: `{"notifications":[` + n + `]}`, headers: key("k1")},
		{at: "POST /notifications/batch", body: `{"notifications":[` + n + `,{"title":"u","message":"v","created_by":"x"}]}`, headers: key("k2")},
		{at: "POST /notifications/batch", body: `{"notifications":[` + n + `,{"title":"u","message":"v","created_by":"x"}]}`, headers: key("k2")},
		{at: "POST /notifications", body: n, headers: ct("application/json; charset=utf-8")},
		{at: "POST /notifications", body: n, headers: ct(`application/json; profile="a+b"`)},
		{at: "GET /notifications"}, {at: "GET /notifications?limit=2"}, {at: "GET /notifications?after=1&limit=1"},
		{at: "GET /notifications?before=3&unread=true"}, {at: "GET /notifications?unread=0&other=x"}, {at: "GET /notifications?limit=007"},
		{at: "GET /users/7/notifications"}, {at: "GET /users/7/notifications?limit=1&unread=1"}, {at: "GET /users/nobody/notifications"},
		{at: "GET /notifications/count"}, {at: "POST /notifications/1/read"}, {at: "POST /notifications/1/read", body: `ignored`},
		{at: "POST /notifications/999/read"}, {at: "POST /notifications/read", body: `{"up_to":0}`}, {at: "POST /notifications/read", body: `{"up_to":2}`},
		{at: "POST /notifications/read", body: `{"up_to":null}`}, {at: "POST /notifications/read", body: `{}`}, {at: "POST /notifications/read"},
		{at: "GET /notifications/1/deliveries"}, {at: "GET /notifications/999/deliveries"},
		{at: "DELETE /notifications/1"}, {at: "DELETE /notifications/1"},
		{at: "GET /settings"}, {at: "PATCH /settings", body: `{"is_review_enabled":0}`}, {at: "GET /notifications"}, {at: "PATCH /settings", body: `{"is_review_enabled":true}`},
		{at: "PATCH /settings", body: `{"is_review_enabled":false,"x":[]}`}, {at: "PATCH /settings", body: `{"is_review_enabled":1}`},
		{at: "POST /reports", body: `{"title":"Página","created_by":7}`}, {at: "POST /reports", body: `{"id":40,"title":"t","created_by":"8","status_id":3}`},
		{at: "POST /reports", body: `{"id":40,"title":"t","created_by":"8"}`}, {at: "GET /reports"}, {at: "GET /reports?limit=1"}, {at: "GET /reports?created_by=8"},
		{at: "GET /reports/40"}, {at: "GET /reports/41"},
		{at: "PUT /admin/reports/40/status", body: `{"status_id":2}`}, {at: "PUT /admin/reports/40/status", body: `{"status_id":2}`}, {at: "PUT /admin/reports/99/status", body: `{"status_id":2}`},
		{at: "GET /admin/connections"}, {at: "GET /admin/connections?user=7&limit=3"}, {at: "DELETE /admin/users/7/connections"},
		{at: "POST /admin/revocations", body: `{"jti":"a"}`}, {at: "POST /admin/revocations", body: `{"jti":"b","exp":4000000000.5}`}, {at: "POST /admin/revocations", body: `{"jti":"c","exp":"2096-10-02T09:06:40+02:00"}`}, {at: "POST /admin/revocations", body: `{"user":9,"before":"2025-01-01T00:00:00.1239Z"}`},
		{at: "GET /admin/stats"}, {at: "DELETE /admin/users/8"}, {at: "GET /healthz"}, {at: "GET /readyz"},
		{at: "HEAD /notifications"}, {at: "GET /no/such"}, {at: "GET /notifications/1/nothing"}, {at: "PUT /notifications"}, {at: "POST /healthz"},
	}
	odd := []request{
		{at: "POST /notifications", body: `{"title":5,"message":6,"created_by":[],"kind":7,"report_id":"x","status_id":"y","data":8}`},
		{at: "POST /notifications", body: `{"title":5,"kind":"x","created_by":"#"}`},
		{at: "POST /notifications", body: `{"title":true,"message":false,"created_by":null,"kind":{},"report_id":1.5,"status_id":2.0,"data":true}`},
		{at: "POST /notifications", body: `{"report_id":1e2,"title":"t","message":"m","created_by":-0}`},
		{at: "POST /notifications", body: `{"title":"t","message":"m","created_by":"042"}`},
		{at: "POST /notifications", body: `{"title":"t","message":"m","created_by":042}`},
		{at: "POST /notifications", body: draft(`"data":{"x":[1e400]}`)}, {at: "POST /notifications", body: draft(`"data":{"x":"` + strings.Repeat(" ", 5000) + `"}`)},
		{at: "POST /notifications", body: draft(`"data":{` + strings.Repeat(" ", 5000) + `"x":1}`)},
		{at: "POST /notifications", body: draft(`"data":` + strings.Repeat(`{"a":`, 31) + "1" + strings.Repeat("}", 31))},
		{at: "POST /notifications", body: draft(`"data":` + strings.Repeat(`{"a":`, 32) + "1" + strings.Repeat("}", 32))},
		{at: "POST /notifications", body: draft(`"kind":"report.status"`)}, {at: "POST /notifications", body: draft(`"kind":""`)},
		{at: "POST /notifications", body: n, headers: ct("text/plain")}, {at: "POST /notifications", body: n, headers: ct("application/json; charset=latin1")},
		{at: "POST /notifications", body: n, headers: ct("application/problem+json")}, {at: "POST /notifications", body: n, headers: ct("application/json; q")},
		{at: "POST /notifications", body: n, headers: []string{"Content-Encoding", "gzip"}}, {at: "POST /notifications", body: n, headers: []string{"Accept", "text/html"}},
		{at: "POST /notifications", body: n, headers: []string{"Accept", "application/json;q=0"}},
		{at: "POST /notifications", body: n, headers: key("")}, {at: "POST /notifications", body: "{", headers: key("a b")}, {at: "POST /notifications", body: n, headers: key(strings.Repeat("k", 256))},
		{at: "POST /notifications/batch", body: `{"notifications":[{"title":1,"kind":2},{"message":3,"data":[]}]}`}, {at: "POST /notifications/batch", body: `{"notifications":[{},{}]}`},
		{at: "POST /notifications/batch", body: `{"notifications":[[],null,"x",{"created_by":1.5}]}`}, {at: "POST /notifications/batch", body: `{"notifications":null}`},
		{at: "POST /notifications/batch", body: `{"notifications":"x"}`}, {at: "POST /notifications/batch", body: `[]`}, {at: "POST /notifications/batch", body: `{"notifications":[{"a":1,"a":2}]}`},
		{at: "GET /notifications?limit=%2B5"}, {at: "GET /notifications?limit=-0"}, {at: "GET /notifications?limit=5.0"}, {at: "GET /notifications?limit=1&limit=x"}, {at: "GET /notifications?limit=x&before=&after=y&unread=2"},
		{at: "GET /notifications?unread"}, {at: "GET /notifications?unread=T"}, {at: "GET /notifications?unread="}, {at: "GET /notifications?after="}, {at: "GET /notifications?after=0"}, {at: "GET /notifications?after=9007199254740991"}, {at: "GET /notifications?after=9007199254740992"},
		{at: "GET /users/%2f/notifications?limit=x"}, {at: "GET /users/" + strings.Repeat("u", 129) + "/notifications"}, {at: "GET /users/-1/notifications"}, {at: "GET /users/1.5/notifications"},
		{at: "POST /notifications/+5/read"}, {at: "POST /notifications/5.0/read"}, {at: "POST /notifications/-5/read"},
		{at: "POST /notifications/read", body: " "}, {at: "POST /notifications/read", body: "null"}, {at: "POST /notifications/read", body: `{"up_to":9007199254740992}`}, {at: "POST /notifications/read", body: `{"up_to":1.0}`},
		{at: "PATCH /settings", body: `{"is_review_enabled":1.0}`}, {at: "PATCH /settings", body: `{"is_review_enabled":[1]}`}, {at: "PATCH /settings", body: `{"IS_REVIEW_ENABLED":1}`}, {at: "PATCH /settings", body: `5`},
		{at: "POST /reports", body: `{"id":"x","title":5,"created_by":{},"status_id":[]}`}, {at: "POST /reports", body: `{"title":5}`}, {at: "POST /reports", body: `{"id":1.5,"title":"t","created_by":1,"status_id":0}`},
		{at: "GET /reports?created_by="}, {at: "GET /reports?created_by=%23&limit=x"}, {at: "GET /reports?before=0"}, {at: "GET /reports/0"},
		{at: "PUT /admin/reports/x/status", body: `{`}, {at: "PUT /admin/reports/x/status", body: `{"status_id":9}`}, {at: "PUT /admin/reports/40/status", body: `{"status_id":null}`}, {at: "PUT /admin/reports/40/status"},
		{at: "POST /admin/revocations", body: `{"user":5.5,"jti":7,"before":9}`}, {at: "POST /admin/revocations", body: `{"user":"#"}`}, {at: "POST /admin/revocations", body: `{"jti":"x","exp":true}`}, {at: "POST /admin/revocations", body: `{"jti":"x","exp":"x"}`}, {at: "POST /admin/revocations", body: `{"user":1,"before":"","jti":""}`}, {at: "POST /admin/revocations", body: `{"user":1,"jti":"x","before":"x"}`},
		{at: "GET /admin/connections?after=&user=&limit="}, {at: "GET /admin/connections?after=bm9ib2R5"},
		{at: "GET /admin/connections?%zz"}, {at: "GET /healthz?%zz"}, {at: "GET /settings?%zz"}, {at: "DELETE /notifications/0", body: "{"},
	}
	own := []request{
		{at: "GET /reports"}, {at: "GET /reports?created_by=7"}, {at: "GET /reports?created_by=9"}, {at: "GET /reports?created_by=9&limit=x"}, {at: "GET /reports/40"},
		{at: "POST /notifications", body: "{"}, {at: "POST /reports", body: "{"}, {at: "GET /users/x/notifications?limit=x"}, {at: "DELETE /admin/users/+"},
		{at: "GET /notifications/x/deliveries"}, {at: "PUT /admin/reports/x/status", body: "{"}, {at: "DELETE /notifications/2"}, {at: "GET /notifications?limit=1"},
		{at: "POST /notifications", body: n, headers: ct("text/plain")}, {at: "GET /settings"}, {at: "GET /notifications/count"},
	}
	return map[string][]request{
		"1 good":     good,
		"2 drafts":   bads(badDrafts),
		"3 others":   bads(badOthers),
		"4 odd":      odd,
		"5 own":      own,
		"6 no token": append([]request{{at: "POST /notifications", body: "{", headers: ct("text/plain")}, {at: "GET /no/such"}, {at: "GET /healthz"}, {at: "GET /readyz"}}, own[:5]...),
	}
}

var (
	stamps = regexp.MustCompile(`"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"`)
	epochs = regexp.MustCompile(`"epoch":"[^"]+"`)
)

// record returns what a client relies on: of a problem its status, type, locations and
// challenge, of any other response everything that does not depend on the time.
func record(a answered) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d", a.Code)
	for _, h := range []string{"Content-Type", "Link", "Location", "X-Last-Seq", "X-Unread-Count", "Idempotency-Replayed", "WWW-Authenticate", "Retry-After", "Allow"} {
		if v, ok := a.Header()[h]; ok {
			fmt.Fprintf(&b, " | %s: %s", h, strings.Join(v, ", "))
		}
	}
	body := a.Body.Bytes()
	if a.Header().Get("Content-Type") == problemType {
		var p problemBody
		a.into(&p)
		var where []string
		for _, e := range p.Errors {
			where = append(where, e.Location)
		}
		slices.Sort(where)
		fmt.Fprintf(&b, " | %s %v", p.Type, where)
	} else {
		body = stamps.ReplaceAll(epochs.ReplaceAll(body, []byte(`"epoch":"E"`)), []byte(`"T"`))
		fmt.Fprintf(&b, " | %s", body)
	}
	return b.String()
}

// What clients rely on must not change with the implementation: the golden file
// was recorded before operations were registered with huma.
func TestEveryResponseIsAsRecorded(t *testing.T) {
	e := newHarness(t, sqlite(t))
	raw := map[string]string{"5 own": tokenFor(t, "7"), "6 no token": ""}
	admin := tokenFor(t, "7", "admin")
	var out bytes.Buffer
	all := corpus()
	for _, part := range slices.Sorted(maps.Keys(all)) {
		token, special := raw[part]
		if !special {
			token = admin
		}
		for i, r := range all[part] {
			headers := append([]string{"X-Test", part, "Accept-Language", ""}, r.headers...)
			a := e.call(r.at, token, r.body, headers...)
			body, _ := json.Marshal(r.body)
			fmt.Fprintf(&out, "%s.%d %s %.120s %.60q\n\t%s\n", part, i+1, r.at, body, r.headers, record(a))
		}
	}
	file := filepath.Join("testdata", "answers.txt")
	if *update {
		if err := os.WriteFile(file, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	old, now := strings.Split(string(want), "\n"), strings.Split(out.String(), "\n")
	for i := range max(len(old), len(now)) {
		if i >= len(old) || i >= len(now) {
			t.Fatalf("%d lines, want %d", len(now), len(old))
		}
		if old[i] != now[i] {
			t.Errorf("%s\n got %s\nwant %s", now[max(0, i-1)], now[i], old[i])
		}
	}
}
