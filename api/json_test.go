package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/falconalert/falconbridge/bridge"
)

// member returns a body whose unknown field x has the value text.
func member(text string) []byte { return []byte(`{"x":` + text + `}`) }

func TestBodiesAreReadStrictly(t *testing.T) {
	for name, tt := range map[string]struct {
		text string
		ok   bool
	}{
		"an object":                     {` {"a" : [1, -0.5e+3 , true,false,null,"x"] } `, true},
		"a surrogate pair":              {`"\ud83d\ude00"`, true},
		"all escapes":                   {`"\"\\\/\b\f\n\r\t\u00e9"`, true},
		"31 levels below the body":      {strings.Repeat("[", 31) + strings.Repeat("]", 31), true},
		"brackets in a string":          {`"` + strings.Repeat("[", 100) + `\"{"`, true},
		"brackets side by side":         {"[" + strings.Repeat("[],", 100) + "[]]", true},
		"13 names":                      {`{"1":0,"2":0,"3":0,"4":0,"5":0,"6":0,"7":0,"8":0,"9":0,"10":0,"11":0,"12":0,"13":0}`, true},
		"the same name in two objects":  {`{"a":{"a":0}}`, true},
		"the empty name":                {`{"":0}`, true},
		"32 levels below the body":      {strings.Repeat("[", 32) + strings.Repeat("]", 32), false},
		"a name twice":                  {`{"a":0,"a":0}`, false},
		"a name twice by escape":        {`{"a":0,"\u0061":0}`, false},
		"a name twice, after 12 others": {`{"1":0,"2":0,"3":0,"4":0,"5":0,"6":0,"7":0,"8":0,"9":0,"10":0,"11":0,"12":0,"13":0,"13":0}`, false},
		"an early name twice":           {`{"1":0,"2":0,"3":0,"4":0,"5":0,"6":0,"7":0,"8":0,"9":0,"10":0,"11":0,"12":0,"13":0,"1":0}`, false},
		"an unknown name twice":         {`0,"x":0`, false},
		"nothing":                       {``, false},
		"a lone minus":                  {`-`, false},
		"a plus":                        {`+1`, false},
		"a point without digits":        {`1.`, false},
		"an exponent without digits":    {`1e`, false},
		"a leading zero":                {`01`, false},
		"a leading point":               {`.5`, false},
		"a high surrogate alone":        {`"\ud83d"`, false},
		"a low surrogate alone":         {`"\ude00"`, false},
		"a high surrogate and a letter": {`"\ud83d\u0041"`, false},
		"an invalid escape":             {`"\x41"`, false},
		"a short escape":                {`"\u12"`, false},
		"a string without end":          {`"abc`, false},
		"a backslash at the end":        {`"abc\`, false},
		"a bare newline":                {"\"a\nb\"", false},
		"a bare newline after escapes":  {"\"\\ta\nb\"", false},
		"invalid UTF-8":                 {"\"\xff\"", false},
		"invalid UTF-8 after escapes":   {"\"\\t\xff\"", false},
		"an overlong slash":             {"\"\xc0\xaf\"", false},
		"a surrogate in UTF-8":          {"\"\xed\xa0\x80\"", false},
		"no comma":                      {`[1 2]`, false},
		"a comma too many":              {`[1,]`, false},
		"no colon":                      {`{"a" 1}`, false},
		"no name":                       {`{1:1}`, false},
		"no value":                      {`{"a":}`, false},
		"half a word":                   {`tru`, false},
		"another word":                  {`True`, false},
		"a no-break space":              {"\u00a01", false},
		"two values":                    {`1 1`, false},
		"a second body":                 {`1} {`, false},
	} {
		err := decode(member(tt.text), &newNotification{}, false)
		var p *problem
		if (err == nil) != tt.ok || err != nil && (!errors.As(err, &p) || p.kind != malformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The decoder remembers every name of an object to detect duplicates.
func TestAnObjectWithTooManyFieldsIsRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		text string
		ok   bool
	}{
		"1000 fields":                {members(1000, "%d"), true},
		"1001 fields":                {members(1001, "%d"), false},
		"1001 in an object of 1":     {`{"a":` + members(1001, "%d") + `}`, false},
		"1001 after a short one":     {`[` + members(1, "%d") + `,` + members(1001, "%d") + `]`, false},
		"two objects of 1000":        {`[` + members(1000, "%d") + `,` + members(1000, "%d") + `]`, true},
		"1001 colons in a string":    {`"` + strings.Repeat(":", 1001) + `"`, true},
		"1001 after a quoted escape": {`{"\\":"\"","b":` + members(1001, "%d") + `}`, false},
	} {
		var bad *bridge.InvalidError
		err := decode(member(tt.text), &newNotification{}, false)
		if (err == nil) != tt.ok || err != nil && (!errors.As(err, &bad) || bad.Fields[0].Location != "body") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDataIsMeasuredWithoutWhiteSpace(t *testing.T) {
	for text, want := range map[string]struct {
		size int
		huge bool
	}{
		`{}`: {2, false}, " { \"a b\" : [ 1 ,\t2 ] }\r\n": {13, false}, `{"\" ":-1e308}`: {14, false}, `{"a":1e309}`: {11, true},
		`{"a":[-1e400]}`: {14, true}, `{"a":1e-400}`: {12, false}, `{"1e400":"1e400"}`: {17, false},
		`[` + strings.Repeat("9", 309) + `]`: {311, true}, `[` + strings.Repeat("9", 308) + `]`: {310, false},
	} {
		if size, huge := measure([]byte(text)); size != want.size || huge != want.huge {
			t.Errorf("%.30s: %d, %v, want %+v", text, size, huge, want)
		}
	}
}

// An application's data is listed with the same bytes that are delivered.
func TestDataIsListedAsItWasSent(t *testing.T) {
	e := newHarness(t, sqlite(t))
	const data = `{"x":"\u00e1<\/é","n":1.50}`
	e.call("POST /notifications", tokenFor(t, "s", "notifications:write"), draft(`"data":`+data)).want(http.StatusCreated)
	if got := e.call("GET /notifications", tokenFor(t, "1"), "").want(http.StatusOK).Body.String(); !strings.Contains(got, `"data":`+data+`}`) {
		t.Errorf("listed as %s", got)
	}
}

// FuzzDecode compares what is read with encoding/json: what decode accepts, that
// accepts, too, and title and data have the same content.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{"title":"t","message":"m","created_by":1}`, `{"title":"\ud83d\ude00\u00e9\n"}`, `{"data":{"a":[1,-2.5e+3,{"a":{}},[],true,null]}}`,
		`{"a":1,"\u0061":2}`, "{\"title\":\"\xff\"}", `{"report_id":-0}`, `{"":"\\u0000"}`, `{"t\u0069tle":"x","Title":"y"}`, `{"status_id":2,"kind":null}`, `[]`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		var n newNotification
		err := decode(b, &n, false)
		if !bytes.Equal(before, b) {
			t.Fatal("the decoder changed what it read")
		}
		var bad *bridge.InvalidError
		var p *problem
		switch {
		case errors.As(err, &bad):
			if !json.Valid(b) {
				t.Fatalf("a fault of %q, which is no JSON: %v", b, err)
			}
			return
		case errors.As(err, &p) && p.kind == malformed:
			return
		case err != nil:
			t.Fatalf("neither malformed nor invalid: %v", err)
		}
		var fields map[string]json.RawMessage
		if !utf8.Valid(b) || json.Unmarshal(b, &fields) != nil {
			t.Fatalf("accepted %q", b)
		}
		var title string
		if raw, ok := fields["title"]; ok && json.Unmarshal(raw, &title) != nil || title != n.Title {
			t.Fatalf("%q: title %q, want %q", b, n.Title, title)
		}
		if raw := fields["data"]; len(n.Data) > 0 && !bytes.Equal(bytes.TrimSpace(raw), n.Data) {
			t.Fatalf("%q: data %q, want %q", b, n.Data, raw)
		}
	})
}

// FuzzBodies reads every kind of body: none panics, and what is accepted means
// to encoding/json what it means here.
func FuzzBodies(f *testing.F) {
	for _, table := range []map[string]bad{badDrafts, badOthers} {
		for _, tt := range table {
			if len(tt.body) < 1000 {
				f.Add([]byte(tt.body))
			}
		}
	}
	f.Add([]byte(`{"title":"t","message":"m","created_by":"bob","kind":"message","report_id":5,"status_id":1,"data":{"a":[1]}}`))
	f.Add([]byte(`{"notifications":[{"title":"t","message":"m","created_by":1}],"up_to":4,"is_review_enabled":true}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var (
			draft    newNotification
			batch    newNotifications
			report   newReport
			settings settingsPatch
			status   newStatusBody
			revoked  newRevocation
			read     readUpToBody
		)
		for _, v := range []any{&draft, &batch, &report, &settings, &status, &revoked, &read} {
			if err := decode(b, v, false); err != nil && problemOf(err).kind == internal {
				t.Fatalf("%T: an unknown error: %v", v, err)
			}
		}
		if len(batch.Notifications) > bridge.MaxBatch {
			t.Fatalf("a batch of %d", len(batch.Notifications))
		}
		if report.ID < 0 || report.Status < 0 || report.Status > bridge.Rejected || status.Status > bridge.Rejected {
			t.Fatalf("a report %+v, a status %d", report, status.Status)
		}
		if read.UpTo != nil && *read.UpTo < 0 {
			t.Fatalf("read up to %d", *read.UpTo)
		}
		if settings.ReviewEnabled != nil && !bytes.Contains(b, []byte("is")) && !bytes.Contains(b, []byte(`\u`)) {
			t.Fatal("settings without the name")
		}
	})
}
