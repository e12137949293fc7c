package bridge

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestUserIDsReadAndWriteBothForms(t *testing.T) {
	for in, want := range map[string]string{
		`7`: `7`, `"7"`: `7`, `0`: `0`, `9007199254740991`: `9007199254740991`, `"9007199254740992"`: `"9007199254740992"`,
		`"007"`: `"007"`, `"a.b_c:d@e|f-g"`: `"a.b_c:d@e|f-g"`,
		`"..."`: `"..."`, `".a"`: `".a"`, `"a."`: `"a."`,
	} {
		var u UserID
		if err := json.Unmarshal([]byte(in), &u); err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		if out, _ := json.Marshal(u); string(out) != want {
			t.Errorf("%s was written as %s, want %s", in, out, want)
		}
	}
	for _, in := range []string{`""`, `"a/b"`, `"+"`, `"#"`, `"$x"`, `"a b"`, `"ñ"`, `1.5`, `-1`, `1e3`, `9007199254740992`, `null`, `true`, `{}`,
		`"` + strings.Repeat("a", 129) + `"`, `"a\u0000"`, `"."`, `".."`} {
		var u UserID
		if err := json.Unmarshal([]byte(in), &u); err == nil {
			t.Errorf("%s was read as %q", in, u)
		}
	}
}

func TestItemIsTheContractsJSON(t *testing.T) {
	n := Notification{ID: 27, Seq: 3, User: "1", Kind: KindReportStatus, Title: "El estado de su reporte ha cambiado a: Aprobado",
		Message:   "El estado de su reporte titulado Página de phishing detectada ha sido actualizado a Aprobado",
		CreatedAt: time.Date(2025, 10, 24, 2, 21, 32, 0, time.UTC), ReportID: 2, StatusID: Approved}
	const want = `{"id":27,"seq":3,"kind":"report.status","title":"El estado de su reporte ha cambiado a: Aprobado",` +
		`"message":"El estado de su reporte titulado Página de phishing detectada ha sido actualizado a Aprobado",` +
		`"created_by":1,"created_at":"2025-10-24T02:21:32.000Z","read_at":null,"report_id":2,"status_id":2}`
	if got := string(n.Item()); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	n.URL, n.Replaces, n.ExpiresAt, n.By = "/reports/2", "report-2", time.Date(2025, 10, 25, 0, 0, 0, 0, time.UTC), "moderator"
	more := want[:len(want)-1] + `,"url":"/reports/2","replaces":"report-2","expires_at":"2025-10-25T00:00:00.000Z"}`
	if got := string(n.Item()); got != more {
		t.Errorf("got  %s\nwant %s", got, more)
	}
}

func FuzzItemStringsReadBackAsWritten(f *testing.F) {
	for _, s := range []string{"", "a\"b\\c", "\x00\x1f\n\r\t", "\u2028 <&>", "\xff\xfe", "ñandú 🦅"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n := Notification{Title: s, CreatedAt: time.Now()}
		var back struct{ Title string }
		if err := json.Unmarshal(n.Item(), &back); err != nil {
			t.Fatalf("%q: %v", n.Item(), err)
		}
		if want := strings.ToValidUTF8(s, "\x00"); len([]rune(back.Title)) < len([]rune(want)) || strings.ToValidUTF8(s, "") == s && back.Title != s {
			t.Fatalf("%q was read back as %q", s, back.Title)
		}
	})
}

func TestEveryLocaleHasItsTexts(t *testing.T) {
	const report = "Viaje a la luna por $50"
	for _, tt := range []struct {
		locale         Locale
		title, message string
	}{
		{Spanish, "El estado de su reporte ha cambiado a: Rechazado",
			"El estado de su reporte titulado Viaje a la luna por $50 ha sido actualizado a Rechazado"},
		{English, "The status of your report has changed to: Rejected",
			"The status of your report titled Viaje a la luna por $50 has been updated to Rejected"},
	} {
		if title, message := tt.locale.StatusChanged(report, Rejected); title != tt.title || message != tt.message {
			t.Errorf("%s: %q, %q", tt.locale, title, message)
		}
	}
}

// A locale without one of its texts would use the Spanish one, or an empty one.
func TestEveryLocaleHasEveryText(t *testing.T) {
	const report, n = "Viaje", 7
	for _, l := range Locales() {
		title, message := l.StatusChanged(report, Approved)
		if status := l.Status(Approved); !strings.Contains(title, status) || !strings.Contains(message, status) || !strings.Contains(message, report) {
			t.Errorf("%s: a changed status is %q, %q", l, title, message)
		}
		if !strings.Contains(l.Many(n), "7") {
			t.Errorf("%s: many are %q", l, l.Many(n))
		}
		testTitle, testBody := l.TestPush()
		sampleTitle, sampleMessage := l.Sample()
		for name, text := range map[string]string{
			"created": l.Created(), "Pending": l.Status(Pending), "Approved": l.Status(Approved), "Rejected": l.Status(Rejected),
			"test title": testTitle, "test body": testBody, "sample title": sampleTitle, "sample message": sampleMessage,
		} {
			if text == "" {
				t.Errorf("%s: textTable in bridge/text.go has no text for %s", l, name)
			}
		}
	}
}

func TestDraftFaultsNameTheirField(t *testing.T) {
	good := Draft{User: "7", Title: "t", Message: "m"}
	for name, tt := range map[string]struct {
		change func(*Draft)
		field  string // "": the draft is valid
	}{
		"unchanged":             {func(*Draft) {}, ""},
		"no title":              {func(d *Draft) { d.Title = "" }, "body.title"},
		"blank title":           {func(d *Draft) { d.Title = " \t" }, "body.title"},
		"title of 255":          {func(d *Draft) { d.Title = strings.Repeat("ñ", 255) }, ""},
		"title of 256":          {func(d *Draft) { d.Title = strings.Repeat("ñ", 256) }, "body.title"},
		"message of 4000":       {func(d *Draft) { d.Message = strings.Repeat("🦅", 4000) }, ""},
		"message of 4001":       {func(d *Draft) { d.Message = strings.Repeat("🦅", 4001) }, "body.message"},
		"NUL in the message":    {func(d *Draft) { d.Message = "a\x00b" }, "body.message"},
		"broken UTF-8":          {func(d *Draft) { d.Title = "a\xff" }, "body.title"},
		"bad user":              {func(d *Draft) { d.User = "a/b" }, "body.created_by"},
		"an application's kind": {func(d *Draft) { d.Kind = "marketing.spring-2027" }, ""},
		"a kind in capitals":    {func(d *Draft) { d.Kind = "Marketing" }, "body.kind"},
		"a script as URL":       {func(d *Draft) { d.URL = "javascript:alert(1)" }, "body.url"},
		"a reserved key":        {func(d *Draft) { d.Replaces = "report-2" }, "body.replaces"},
		"a year":                {func(d *Draft) { d.ExpiresIn = MaxExpiry }, ""},
		"a second over a year":  {func(d *Draft) { d.ExpiresIn = MaxExpiry + time.Second }, "body.expires_in"},
		"data not an object":    {func(d *Draft) { d.Data = []byte(`[1]`) }, "body.data"},
		"data null":             {func(d *Draft) { d.Data = []byte(` null `) }, ""},
		"data of 4 KiB":         {func(d *Draft) { d.Data = []byte(`{"a":"` + strings.Repeat("x", 4088) + `"}`) }, ""},
		"data over 4 KiB":       {func(d *Draft) { d.Data = []byte(`{"a":"` + strings.Repeat("x", 4089) + `"}`) }, "body.data"},
		"data with NUL escaped": {func(d *Draft) { d.Data = []byte(`{"a":"\u0000"}`) }, "body.data"},
		"negative report":       {func(d *Draft) { d.ReportID = -1 }, "body.report_id"},
	} {
		d := good
		tt.change(&d)
		_, err := d.Check("body")
		var bad *InvalidError
		switch {
		case tt.field == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case tt.field != "" && (!errors.As(err, &bad) || bad.Fields[0].Location != tt.field):
			t.Errorf("%s: %v, want a fault in %s", name, err, tt.field)
		}
	}
}

func TestTopicsKnowExactlyTwoShapes(t *testing.T) {
	for name, tt := range map[string]struct {
		filter   string
		user     UserID
		everyone bool
		ok       bool
	}{
		"one user":            {"staging/users/7/reports/status", "7", false, true},
		"everyone":            {"staging/users/+/reports/status", "", true, true},
		"no prefix":           {"users/7/reports/status", "", false, false},
		"prefix twice":        {"staging/staging/users/7/reports/status", "", false, false},
		"multi-level":         {"staging/users/#", "", false, false},
		"empty user":          {"staging/users//reports/status", "", false, false},
		"a dot as user":       {"staging/users/./reports/status", "", false, false},
		"two dots as user":    {"staging/users/../reports/status", "", false, false},
		"user with a slash":   {"staging/users/7/8/reports/status", "", false, false},
		"shared subscription": {"$share/g/staging/users/7/reports/status", "", false, false},
		"NUL":                 {"staging/users/7\x00/reports/status", "", false, false},
	} {
		u, everyone, ok := Topics{Prefix: "staging/"}.Parse(tt.filter)
		if ok != tt.ok || ok && (u != tt.user || everyone != tt.everyone) {
			t.Errorf("%s: %q, %v, %v", name, u, everyone, ok)
		}
	}
}

func TestNULInDataIsRefusedButNotItsEscapedText(t *testing.T) {
	for data, refused := range map[string]bool{
		`{"a":"\\u0000"}`: false, `{"a":"\u0000"}`: true, `{"a":"\\\u0000"}`: true, `{"\u0000":1}`: true, `{"a":"\"u0000"}`: false,
	} {
		_, err := Draft{User: "7", Title: "t", Message: "m", Data: json.RawMessage(data)}.Check("body")
		if (err != nil) != refused {
			t.Errorf("%s: %v, want it refused: %v", data, err, refused)
		}
	}
}
