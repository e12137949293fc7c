package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/falconalert/falconbridge/bridge"
)

// strict tells whether the reader takes b as one JSON text.
func strict(b []byte) error {
	r := &reader{b: b}
	if err := r.skip(); err != nil {
		return err
	}
	return r.end()
}

func TestReaderIsAsStrictAsItSays(t *testing.T) {
	for name, tt := range map[string]struct {
		text string
		ok   bool
	}{
		"an object":                     {` {"a" : [1, -0.5e+3 , true,false,null,"x"] } `, true},
		"a surrogate pair":              {`"\ud83d\ude00"`, true},
		"all escapes":                   {`"\"\\\/\b\f\n\r\t\u00e9"`, true},
		"32 levels":                     {strings.Repeat("[", 32) + strings.Repeat("]", 32), true},
		"13 names":                      {`{"1":0,"2":0,"3":0,"4":0,"5":0,"6":0,"7":0,"8":0,"9":0,"10":0,"11":0,"12":0,"13":0}`, true},
		"the same name in two objects":  {`{"a":{"a":0}}`, true},
		"the empty name":                {`{"":0}`, true},
		"33 levels":                     {strings.Repeat("[", 33) + strings.Repeat("]", 33), false},
		"a name twice":                  {`{"a":0,"a":0}`, false},
		"a name twice, after 12 others": {`{"1":0,"2":0,"3":0,"4":0,"5":0,"6":0,"7":0,"8":0,"9":0,"10":0,"11":0,"12":0,"13":0,"13":0}`, false},
		"an early name twice":           {`{"1":0,"2":0,"3":0,"4":0,"5":0,"6":0,"7":0,"8":0,"9":0,"10":0,"11":0,"12":0,"13":0,"1":0}`, false},
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
		"an escape of no kind":          {`"\x41"`, false},
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
	} {
		if err := strict([]byte(tt.text)); (err == nil) != tt.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestReaderMarksHugeNumbers(t *testing.T) {
	for text, huge := range map[string]bool{
		"1": false, "1e308": false, "1e309": true, "-1e400": true, "1e-400": false, "0.1": false,
		strings.Repeat("9", 309): true, strings.Repeat("9", 308): false,
	} {
		r := &reader{b: []byte(text)}
		if err := r.skip(); err != nil || r.huge != huge {
			t.Errorf("%.20s: huge %v, %v", text, r.huge, err)
		}
	}
}

// FuzzReader holds the reader to encoding/json: what it accepts, that accepts,
// too, and every string has the same content.
func FuzzReader(f *testing.F) {
	for _, seed := range []string{
		`{"title":"t","message":"m","created_by":1}`, `"\ud83d\ude00\u00e9\n"`, `[1,-2.5e+3,{"a":{}},[],true,null]`,
		`{"a":1,"\u0061":2}`, "\"\xff\"", `-0`, `{"":"\\u0000"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		err := strict(b)
		if !bytes.Equal(before, b) {
			t.Fatal("the reader changed what it read")
		}
		if err != nil {
			var syntax *syntaxError
			if !errors.As(err, &syntax) || syntax.at < 0 || syntax.at > len(b) {
				t.Fatalf("not a syntax error: %v", err)
			}
			return
		}
		if !json.Valid(b) || !utf8.Valid(b) {
			t.Fatalf("accepted %q", b)
		}
		r := &reader{b: b}
		if r.peek() != '"' {
			return
		}
		got, err := r.text()
		var want string
		if err != nil || json.Unmarshal(b, &want) != nil || string(got) != want {
			t.Fatalf("%q reads as %q, want %q (%v)", b, got, want, err)
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
		d, err := readDraft(b)
		if err == nil {
			sameDraft(t, b, d)
		}
		if drafts, err := readBatch(b); err == nil && len(drafts) > bridge.MaxBatch {
			t.Fatalf("a batch of %d", len(drafts))
		}
		if r, err := readReport(b); err == nil && (r.ID < 0 || r.Status < 0 || r.Status > bridge.Rejected) {
			t.Fatalf("a report %+v", r)
		}
		if _, err := readSettings(b); err == nil && !bytes.Contains(b, []byte("is")) && !bytes.Contains(b, []byte(`\u`)) {
			t.Fatal("settings without the name")
		}
		for _, err := range []error{err} {
			if err != nil && problemOf(err).kind == internal {
				t.Fatalf("an unknown error: %v", err)
			}
		}
	})
}

// sameDraft compares d with what encoding/json finds in b.
func sameDraft(t *testing.T, b []byte, d bridge.Draft) {
	t.Helper()
	var all map[string]json.RawMessage
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatalf("accepted %q: %v", b, err)
	}
	text := func(name string) (s string) {
		if raw, ok := all[name]; ok && json.Unmarshal(raw, &s) != nil {
			t.Fatalf("accepted %q as %s", raw, name)
		}
		return s
	}
	if d.Title != text("title") || d.Message != text("message") || string(d.Kind) != text("kind") {
		t.Fatalf("%q reads as %+v", b, d)
	}
	var want any
	if raw, ok := all["data"]; ok && json.Unmarshal(raw, &want) != nil {
		t.Fatalf("accepted %q as data", raw)
	}
	var got any
	if len(d.Data) > 0 && json.Unmarshal(d.Data, &got) != nil {
		t.Fatalf("data %q", d.Data)
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("data %v, want %v", got, want)
	}
}
