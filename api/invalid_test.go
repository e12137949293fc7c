package api

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// bad is a request that must change nothing, with its status and the location of the fault.
type bad struct {
	at, body string
	status   int
	where    string // "": no field is named
}

func draft(member string) string {
	return `{"title":"t","message":"m","created_by":1,` + member + `}`
}

var badDrafts = map[string]bad{
	"no title":                  {"POST /notifications", `{"message":"m","created_by":1}`, 422, "body.title"},
	"an empty title":            {"POST /notifications", `{"title":"","message":"m","created_by":1}`, 422, "body.title"},
	"a blank title":             {"POST /notifications", `{"title":" \n ","message":"m","created_by":1}`, 422, "body.title"},
	"a null title":              {"POST /notifications", `{"title":null,"message":"m","created_by":1}`, 422, "body.title"},
	"a number as title":         {"POST /notifications", `{"title":5,"message":"m","created_by":1}`, 422, "body.title"},
	"an object as title":        {"POST /notifications", `{"title":{"a":1},"message":"m","created_by":1}`, 422, "body.title"},
	"a title of 256":            {"POST /notifications", `{"title":"` + strings.Repeat("é", 256) + `","message":"m","created_by":1}`, 422, "body.title"},
	"a NUL in the title":        {"POST /notifications", `{"title":"a\u0000b","message":"m","created_by":1}`, 422, "body.title"},
	"no message":                {"POST /notifications", `{"title":"t","created_by":1}`, 422, "body.message"},
	"a message of 4001":         {"POST /notifications", `{"title":"t","message":"` + strings.Repeat("x", 4001) + `","created_by":1}`, 422, "body.message"},
	"a NUL in the message":      {"POST /notifications", `{"title":"t","message":"\u0000","created_by":1}`, 422, "body.message"},
	"another case of a name":    {"POST /notifications", `{"Title":"t","message":"m","created_by":1}`, 422, "body.title"},
	"no user":                   {"POST /notifications", `{"title":"t","message":"m"}`, 422, "body.created_by"},
	"an empty user":             {"POST /notifications", `{"title":"t","message":"m","created_by":""}`, 422, "body.created_by"},
	"a wildcard as user":        {"POST /notifications", `{"title":"t","message":"m","created_by":"+"}`, 422, "body.created_by"},
	"a path as user":            {"POST /notifications", `{"title":"t","message":"m","created_by":"a/b"}`, 422, "body.created_by"},
	"a negative user":           {"POST /notifications", `{"title":"t","message":"m","created_by":-1}`, 422, "body.created_by"},
	"a fraction as user":        {"POST /notifications", `{"title":"t","message":"m","created_by":1.0}`, 422, "body.created_by"},
	"a huge number as user":     {"POST /notifications", `{"title":"t","message":"m","created_by":9007199254740992}`, 422, "body.created_by"},
	"1e3 as user":               {"POST /notifications", `{"title":"t","message":"m","created_by":1e3}`, 422, "body.created_by"},
	"an array as user":          {"POST /notifications", `{"title":"t","message":"m","created_by":[1]}`, 422, "body.created_by"},
	"a long user":               {"POST /notifications", `{"title":"t","message":"m","created_by":"` + strings.Repeat("u", 129) + `"}`, 422, "body.created_by"},
	"a kind in capitals":        {"POST /notifications", draft(`"kind":"No.Such"`), 422, "body.kind"},
	"a script as url":           {"POST /notifications", draft(`"url":"javascript:alert(1)"`), 422, "body.url"},
	"an empty url":              {"POST /notifications", draft(`"url":""`), 422, "body.url"},
	"a number as url":           {"POST /notifications", draft(`"url":1`), 422, "body.url"},
	"a reserved key":            {"POST /notifications", draft(`"replaces":"report-7"`), 422, "body.replaces"},
	"an empty key":              {"POST /notifications", draft(`"replaces":""`), 422, "body.replaces"},
	"no life":                   {"POST /notifications", draft(`"expires_in":0`), 422, "body.expires_in"},
	"a life of a year and 1":    {"POST /notifications", draft(`"expires_in":31536001`), 422, "body.expires_in"},
	"a life in fractions":       {"POST /notifications", draft(`"expires_in":1.5`), 422, "body.expires_in"},
	"a withdrawal by key alone": {"DELETE /notifications?replaces=k", "", 422, "query.user"},
	"of anything":               {"DELETE /notifications?user=1", "", 422, "query.replaces"},
	"of an empty key":           {"DELETE /notifications?user=1&replaces=", "", 422, "query.replaces"},
	"of a report's key":         {"DELETE /notifications?user=1&replaces=report-7", "", 422, "query.replaces"},
	"a number as kind":          {"POST /notifications", draft(`"kind":1`), 422, "body.kind"},
	"report 0":                  {"POST /notifications", draft(`"report_id":0`), 422, "body.report_id"},
	"a negative report":         {"POST /notifications", draft(`"report_id":-3`), 422, "body.report_id"},
	"report 2^53":               {"POST /notifications", draft(`"report_id":9007199254740992`), 422, "body.report_id"},
	"report 1e400":              {"POST /notifications", draft(`"report_id":1e400`), 422, "body.report_id"},
	"a report of 1000 digits": {"POST /notifications", draft(`"report_id":` + strings.Repeat("9", 1000)), 422,
		"body.report_id"},
	"a string as report":      {"POST /notifications", draft(`"report_id":"2"`), 422, "body.report_id"},
	"status 4":                {"POST /notifications", draft(`"status_id":4`), 422, "body.status_id"},
	"an array as data":        {"POST /notifications", draft(`"data":[]`), 422, "body.data"},
	"a string as data":        {"POST /notifications", draft(`"data":"{}"`), 422, "body.data"},
	"data of more than 4 KiB": {"POST /notifications", draft(`"data":{"x":"` + strings.Repeat("x", 4096) + `"}`), 422, "body.data"},
	"a NUL in data":           {"POST /notifications", draft(`"data":{"x":"\u0000"}`), 422, "body.data"},
	"1e999999 in data":        {"POST /notifications", draft(`"data":{"x":1e999999}`), 422, "body.data"},

	"an empty body":            {"POST /notifications", "", 400, ""},
	"white space":              {"POST /notifications", " \n", 400, ""},
	"no JSON":                  {"POST /notifications", "hello", 400, ""},
	"half an object":           {"POST /notifications", `{"title":"t"`, 400, ""},
	"two objects":              {"POST /notifications", draft(`"kind":"message"`) + `{}`, 400, ""},
	"a trailing comma":         {"POST /notifications", `{"title":"t",}`, 400, ""},
	"single quotes":            {"POST /notifications", `{'title':'t'}`, 400, ""},
	"a comment":                {"POST /notifications", `{/* */}`, 400, ""},
	"NaN":                      {"POST /notifications", draft(`"data":{"x":NaN}`), 400, ""},
	"a leading zero":           {"POST /notifications", draft(`"report_id":007`), 400, ""},
	"a name twice":             {"POST /notifications", draft(`"title":"u"`), 400, ""},
	"a name twice by escape":   {"POST /notifications", draft(`"t\u0069tle":"u"`), 400, ""},
	"a name twice in data":     {"POST /notifications", draft(`"data":{"a":1,"a":2}`), 400, ""},
	"invalid UTF-8":            {"POST /notifications", "{\"title\":\"\xff\",\"message\":\"m\",\"created_by\":1}", 400, ""},
	"invalid UTF-8 in data":    {"POST /notifications", draft("\"data\":{\"x\":\"\xc3\"}"), 400, ""},
	"half a surrogate pair":    {"POST /notifications", draft(`"data":{"x":"\ud83d"}`), 400, ""},
	"a bare control character": {"POST /notifications", "{\"title\":\"a\x00b\",\"message\":\"m\",\"created_by\":1}", 400, ""},
	"a byte order mark":        {"POST /notifications", "\ufeff" + draft(`"kind":"message"`), 400, ""},
	"deep arrays":              {"POST /notifications", draft(`"data":{"x":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + `}`), 400, ""},
	"deep objects":             {"POST /notifications", strings.Repeat(`{"a":`, 40_000), 400, ""},
	"an array":                 {"POST /notifications", `[]`, 422, "body"},
	"a string":                 {"POST /notifications", `"title"`, 422, "body"},
	"null":                     {"POST /notifications", `null`, 422, "body"},
	"257 KiB":                  {"POST /notifications", `{"title":"` + strings.Repeat("x", 257<<10) + `"}`, 413, ""},

	"no entries":           {"POST /notifications/batch", `{}`, 422, "body.notifications"},
	"zero entries":         {"POST /notifications/batch", `{"notifications":[]}`, 422, "body.notifications"},
	"an object of entries": {"POST /notifications/batch", `{"notifications":{}}`, 422, "body.notifications"},
	"1001 entries": {"POST /notifications/batch", `{"notifications":[` + strings.Repeat(draft(`"kind":"message"`)+",", 1000) + draft(`"kind":"message"`) + `]}`, 422,
		"body.notifications"},
	"a million empty entries": {"POST /notifications/batch", `{"notifications":[` + strings.Repeat("{},", 1_000_000) + `{}]}`, 422, "body.notifications"},
	"a number as entry":       {"POST /notifications/batch", `{"notifications":[` + draft(`"kind":"message"`) + `,5]}`, 422, "body.notifications[1]"},
	"a fault in an entry":     {"POST /notifications/batch", `{"notifications":[` + draft(`"kind":"message"`) + `,{"title":1}]}`, 422, "body.notifications[1].title"},
	"a batch of 4 MiB":        {"POST /notifications/batch", `{"notifications":["` + strings.Repeat("x", 4<<20) + `"]}`, 413, ""},
}

var badOthers = map[string]bad{
	"limit 0":               {"GET /notifications?limit=0", "", 422, "query.limit"},
	"limit 201":             {"GET /notifications?limit=201", "", 422, "query.limit"},
	"limit in words":        {"GET /notifications?limit=many", "", 422, "query.limit"},
	"an empty limit":        {"GET /notifications?limit=", "", 422, "query.limit"},
	"before 0":              {"GET /notifications?before=0", "", 422, "query.before"},
	"before in words":       {"GET /notifications?before=x", "", 422, "query.before"},
	"after below 0":         {"GET /notifications?after=-1", "", 422, "query.after"},
	"after beyond all":      {"GET /notifications?after=99999999999999999999", "", 422, "query.after"},
	"before and after":      {"GET /notifications?before=5&after=1", "", 422, "query.before"},
	"unread perhaps":        {"GET /notifications?unread=perhaps", "", 422, "query.unread"},
	"a broken query":        {"GET /notifications?limit=%zz", "", 400, ""},
	"a semicolon":           {"GET /notifications?limit=1;unread=true", "", 400, ""},
	"another's limit":       {"GET /users/1/notifications?limit=x", "", 422, "query.limit"},
	"another of no name":    {"GET /users/%2B/notifications", "", 422, "path.id"},
	"another with a NUL":    {"GET /users/a%00/notifications", "", 422, "path.id"},
	"read a word":           {"POST /notifications/x/read", "", 422, "path.id"},
	"read 0":                {"POST /notifications/0/read", "", 422, "path.id"},
	"read up to a word":     {"POST /notifications/read", `{"up_to":"x"}`, 422, "body.up_to"},
	"read up to -1":         {"POST /notifications/read", `{"up_to":-1}`, 422, "body.up_to"},
	"read up to half":       {"POST /notifications/read", `{"up_to":0.5}`, 422, "body.up_to"},
	"read an array":         {"POST /notifications/read", `[1]`, 422, "body"},
	"delete a word":         {"DELETE /notifications/x", "", 422, "path.id"},
	"delete beyond all":     {"DELETE /notifications/99999999999999999999", "", 422, "path.id"},
	"deliveries of a word":  {"GET /notifications/x/deliveries", "", 422, "path.id"},
	"settings of nothing":   {"PATCH /settings", `{}`, 422, "body.is_review_enabled"},
	"settings of 2":         {"PATCH /settings", `{"is_review_enabled":2}`, 422, "body.is_review_enabled"},
	"settings of null":      {"PATCH /settings", `{"is_review_enabled":null}`, 422, "body.is_review_enabled"},
	"settings of a string":  {"PATCH /settings", `{"is_review_enabled":"1"}`, 422, "body.is_review_enabled"},
	"kinds that are a list": {"PATCH /settings", `{"kinds":["a"]}`, 422, "body.kinds"},
	"a kind set to 2":       {"PATCH /settings", `{"kinds":{"a":2}}`, 422, "body.kinds"},
	"a setting of no kind":  {"PATCH /settings", `{"kinds":{"A b":0}}`, 422, "body.kinds"},
	"a list of no kind":     {"GET /notifications?kind=a,B", "", 422, "query.kind"},
	"muted only":            {"GET /notifications?muted=only", "", 422, "query.muted"},
	"settings without body": {"PATCH /settings", "", 400, ""},
	"a report of no title":  {"POST /reports", `{"created_by":1}`, 422, "body.title"},
	"a report of no user":   {"POST /reports", `{"title":"t"}`, 422, "body.created_by"},
	"a report of id 0":      {"POST /reports", `{"id":0,"title":"t","created_by":1}`, 422, "body.id"},
	"a report of status 9":  {"POST /reports", `{"title":"t","created_by":1,"status_id":9}`, 422, "body.status_id"},
	"a report with a NUL":   {"POST /reports", `{"title":"\u0000","created_by":1}`, 422, "body.title"},
	"report x":              {"GET /reports/x", "", 422, "path.id"},
	"reports of limit x":    {"GET /reports?limit=x", "", 422, "query.limit"},
	"reports before x":      {"GET /reports?before=x", "", 422, "query.before"},
	"reports of /":          {"GET /reports?created_by=/", "", 422, "query.created_by"},
	"status of report x":    {"PUT /admin/reports/x/status", `{"status_id":2}`, 422, "path.id"},
	"no status":             {"PUT /admin/reports/1/status", `{}`, 422, "body.status_id"},
	"status 0":              {"PUT /admin/reports/1/status", `{"status_id":0}`, 422, "body.status_id"},
	"a status in words":     {"PUT /admin/reports/1/status", `{"status_id":"Aprobado"}`, 422, "body.status_id"},
	"erase +":               {"DELETE /admin/users/+", "", 422, "path.id"},
	"end connections of +":  {"DELETE /admin/users/+/connections", "", 422, "path.id"},
	"connections of /":      {"GET /admin/connections?user=/", "", 422, "query.user"},
	"connections of 0":      {"GET /admin/connections?limit=0", "", 422, "query.limit"},
	"connections after x":   {"GET /admin/connections?after=!", "", 422, "query.after"},
	"revoke nothing":        {"POST /admin/revocations", `{}`, 422, "body.user"},
	"revoke both":           {"POST /admin/revocations", `{"user":1,"jti":"a"}`, 422, "body.jti"},
	"revoke jti before":     {"POST /admin/revocations", `{"jti":"a","before":"2025-01-01T00:00:00Z"}`, 422, "body.before"},
	"revoke before words":   {"POST /admin/revocations", `{"user":1,"before":"yesterday"}`, 422, "body.before"},
	"revoke the future":     {"POST /admin/revocations", `{"user":1,"before":"2999-01-01T00:00:00Z"}`, 422, "body.before"},
	"revoke until before":   {"POST /admin/revocations", `{"jti":"a","exp":1600000000}`, 422, "body.exp"},
	"revoke until words":    {"POST /admin/revocations", `{"jti":"a","exp":"tomorrow"}`, 422, "body.exp"},
	"revoke until ms":       {"POST /admin/revocations", `{"jti":"a","exp":1764000000000}`, 422, "body.exp"},
	"revoke until 1e999":    {"POST /admin/revocations", `{"jti":"a","exp":1e999}`, 422, "body.exp"},
	"revoke until []":       {"POST /admin/revocations", `{"jti":"a","exp":[]}`, 422, "body.exp"},
	"revoke a user until":   {"POST /admin/revocations", `{"user":1,"exp":4000000000}`, 422, "body.exp"},
	"revoke a number":       {"POST /admin/revocations", `{"jti":5}`, 422, "body.jti"},
	"revoke a long jti":     {"POST /admin/revocations", `{"jti":"` + strings.Repeat("j", 256) + `"}`, 422, "body.jti"},
}

func TestBadInputGetsItsStatusAndNamesTheField(t *testing.T) {
	each(t, func(t *testing.T, e *harness) {
		admin := tokenFor(t, "1", "admin")
		e.notify("1", "stays")
		for _, table := range []map[string]bad{badDrafts, badOthers} {
			for name, tt := range table {
				t.Run(name, func(t *testing.T) {
					a := e.call(tt.at, admin, tt.body)
					a.t = t
					p := a.problem(tt.status)
					switch {
					case tt.where == "" && len(p.Errors) > 0:
						t.Errorf("names %+v, want no field", p.Errors)
					case tt.where != "" && (len(p.Errors) == 0 || p.Errors[0].Location != tt.where):
						t.Errorf("names %+v, want %s", p.Errors, tt.where)
					}
				})
			}
		}
		e.call("GET /notifications/count", admin, "").equal(`{"total":1,"unread":1,"last_seq":1}`)
		e.call("GET /settings", admin, "").equal(`{"is_review_enabled":1,"kinds":{}}`)
		e.call("GET /reports", admin, "").equal(`[]`)
	})
}

func TestAllFaultsAreReportedTogetherUpToALimit(t *testing.T) {
	e := newHarness(t, sqlite(t))
	service := tokenFor(t, "s", "notifications:write")
	p := e.call("POST /notifications", service, `{"title":"","message":"","created_by":"#","kind":"X"}`).problem(http.StatusUnprocessableEntity)
	if len(p.Errors) != 4 {
		t.Errorf("%d faults, want 4: %+v", len(p.Errors), p.Errors)
	}
	p = e.call("POST /notifications/batch", service, `{"notifications":[`+strings.Repeat(`{"title":1},`, 999)+`{}]}`).problem(http.StatusUnprocessableEntity)
	if len(p.Errors) != maxFaults {
		t.Errorf("%d faults, want %d", len(p.Errors), maxFaults)
	}
}

func TestErrorsNeverEchoTheRequest(t *testing.T) {
	e := newHarness(t, sqlite(t))
	admin := tokenFor(t, "1", "admin")
	const secret = "s3cret-v4lue"
	for _, at := range []string{
		"POST /notifications", "POST /notifications/batch", "PATCH /settings", "POST /reports", "PUT /admin/reports/1/status",
		"POST /admin/revocations", "POST /notifications/read",
	} {
		for _, body := range []string{
			secret, `"` + secret + `"`, `{"` + secret + `":`, fmt.Sprintf(`{"title":{"a":%q},"kind":%[1]q,"created_by":"/%[1]s","up_to":%[1]q,"is_review_enabled":%[1]q,"status_id":%[1]q,"before":%[1]q,"user":1}`, secret),
		} {
			if a := e.call(at, admin, body); a.Code < 400 || strings.Contains(a.Body.String(), secret) {
				t.Errorf("%s: %d %s", at, a.Code, a.Body)
			}
		}
	}
	for _, at := range []string{
		"GET /notifications?limit=" + secret, "GET /reports/" + secret, "GET /users/" + secret + "%2F/notifications",
		"GET /admin/connections?after=" + secret, "GET /notifications/" + secret, "GET /" + secret,
	} {
		if a := e.call(at, admin, ""); a.Code < 400 || strings.Contains(a.Body.String(), secret) {
			t.Errorf("%s: %d %s", at, a.Code, a.Body)
		}
	}
	if a := e.call("GET /notifications", secret, ""); a.Code != 401 || strings.Contains(a.Body.String()+fmt.Sprint(a.Header()), secret) {
		t.Errorf("a bad token: %d %s", a.Code, a.Body)
	}
}

func TestTheLargestBodyIsAccepted(t *testing.T) {
	e := newHarness(t, sqlite(t))
	body := draft(`"pad":""`)
	body = strings.Replace(body, `""`, `"`+strings.Repeat("x", MaxBody-len(body))+`"`, 1)
	e.call("POST /notifications", tokenFor(t, "s", "notifications:write"), body).want(http.StatusCreated)
	e.call("POST /notifications", tokenFor(t, "s", "notifications:write"), body+" ").problem(http.StatusRequestEntityTooLarge)
}
