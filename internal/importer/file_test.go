package importer

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

var importedAt = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func TestTheSampleFileIsRead(t *testing.T) {
	t.Parallel()
	f, err := os.Open("../../testdata/falconalert.json")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p, err := Read(f, importedAt, false)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.reports) != 30 || len(p.settings) != 12 || len(p.notifications) != 7 {
		t.Fatalf("%d reports, %d settings, %d notifications", len(p.reports), len(p.settings), len(p.notifications))
	}
	if r := p.reports[3]; r.ID != 5 || r.User != "2" || r.Status != bridge.Rejected || !r.CreatedAt.Equal(importedAt) {
		t.Errorf("the fourth report is %+v", r)
	}
	if n := p.notifications[0]; n.ID != 6 || n.Kind != bridge.KindReportStatus || n.StatusID != bridge.Rejected || !n.ReadAt.IsZero() {
		t.Errorf("the first notification is %+v", n)
	}
	muted := 0
	for _, s := range p.settings {
		if !s.Settings.ReviewEnabled {
			muted++
		}
	}
	if muted != 2 {
		t.Errorf("%d are muted, want 2", muted)
	}
}

func TestAnImportedNotificationMayHaveAURLReplaceAndExpire(t *testing.T) {
	t.Parallel()
	p, err := Read(strings.NewReader(`{"users": [{"id": 1}], "notifications": [{"id": 1, "created_by": 1, "title": "t", "message": "m",
		"url": "/orders/7", "replaces": "order-7", "expires_at": "2099-01-01T00:00:00Z"}]}`), importedAt, false)
	if err != nil {
		t.Fatal(err)
	}
	if n := p.notifications[0]; n.URL != "/orders/7" || n.Replaces != "order-7" || n.ExpiresAt.Year() != 2099 {
		t.Errorf("read %+v", n)
	}
	for field, value := range map[string]string{"url": `"//evil.example"`, "replaces": `"report-1"`, "expires_at": `"soon"`} {
		_, err := Read(strings.NewReader(`{"users": [{"id": 1}], "notifications": [{"id": 1, "created_by": 1, "title": "t", "message": "m", "`+
			field+`": `+value+`}]}`), importedAt, false)
		if err == nil || !strings.Contains(err.Error(), "notifications[0]."+field) {
			t.Errorf("%s %s: %v", field, value, err)
		}
	}
}

func TestImportedNotificationsAreSortedByTime(t *testing.T) {
	t.Parallel()
	p, err := Read(strings.NewReader(`{"users": [{"id": 1}], "notifications": [
		{"id": 1, "created_by": 1, "title": "none", "message": "m"},
		{"id": 2, "created_by": "a", "title": "zone", "message": "m", "created_at": "2025-10-24T02:21:32.123-05:00", "read_at": "2025-10-25 00:00:00"},
		{"id": 3, "created_by": 1, "title": "sql", "message": "m", "created_at": "2025-10-24 02:21:32+00", "read_at": null, "data": {"a": 1}},
		{"id": 4, "created_by": 1, "title": "mysql", "message": "m", "created_at": "2024-10-24 02:21:32.5", "kind": "message", "report_id": 3, "status_id": 2}
	]}`), importedAt, true)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, n := range p.notifications {
		got = append(got, n.Title+" "+n.CreatedAt.Format(time.RFC3339Nano)+" "+n.ReadAt.Format(time.DateOnly))
	}
	want := "mysql 2024-10-24T02:21:32.5Z 2026-01-02|sql 2025-10-24T02:21:32Z 2026-01-02|zone 2025-10-24T07:21:32.123Z 2025-10-25|none 2026-01-02T03:04:05Z 2026-01-02"
	if strings.Join(got, "|") != want {
		t.Errorf("read %s, want %s", strings.Join(got, "|"), want)
	}
	if len(p.Ignored) != 1 || p.Ignored[0] != "users" {
		t.Errorf("ignored %v", p.Ignored)
	}
}

func TestFaultsNameTheirEntries(t *testing.T) {
	t.Parallel()
	list := func(name, entries string) string { return `{"` + name + `": [` + entries + `]}` }
	const good = `{"id": 1, "created_by": 1, "title": "T", "message": "M"}`
	for name, tt := range map[string]struct{ file, want string }{
		"an id twice":              {list("notifications", good+","+good), "notifications[1].id is the same as that of notifications[0]"},
		"no id":                    {list("notifications", strings.Replace(good, `"id": 1, `, "", 1)), "notifications[0].id must be a positive whole number"},
		"a fraction":               {list("reports", strings.Replace(good, "1", "1.5", 1)), "reports[0].id must be a whole number"},
		"a time that is none":      {list("notifications", strings.Replace(good, "{", `{"created_at": "ayer", `, 1)), "notifications[0].created_at must be a time"},
		"a number for a time":      {list("notifications", strings.Replace(good, "{", `{"created_at": 5, `, 1)), "notifications[0].created_at must be a time"},
		"a time to come":           {list("reports", strings.Replace(good, "{", `{"updated_at": "2026-01-04T00:00:00Z", `, 1)), "reports[0].updated_at is in the future"},
		"a time long ago":          {list("reports", strings.Replace(good, "{", `{"created_at": "1969-01-04T00:00:00Z", `, 1)), "reports[0].created_at is before 1970"},
		"a title that is too long": {list("reports", strings.Replace(good, `"T"`, `"`+strings.Repeat("x", 256)+`"`, 1)), "reports[0].title must have at most 255 characters"},
		"no message":               {list("notifications", good+","+`{"id": 2, "created_by": 1, "title": "T"}`), "notifications[1].message is required"},
		"a kind in capitals":       {list("notifications", strings.Replace(good, "{", `{"kind": "X", `, 1)), "notifications[0].kind must have 1 to 64 characters"},
		"an unknown status":        {list("notifications", strings.Replace(good, "{", `{"status_id": 9, `, 1)), "notifications[0].status_id must be 1, 2 or 3"},
		"a report without a user":  {list("reports", `{"id": 1, "title": "T"}`), "reports[0].created_by is required"},
		"a user that is a dot":     {list("reports", strings.Replace(good, `"created_by": 1`, `"created_by": ".."`, 1)), "reports[0].created_by must be a user id"},
		"a BOM":                    {"\xef\xbb\xbf" + list("reports", good), "byte order mark"},
		"UTF-16":                   {"\xff\xfe{\x00", "byte order mark"},
		"a user that cannot be":    {list("reports", strings.Replace(good, `"created_by": 1`, `"created_by": "a/b"`, 1)), "reports[0].created_by must be a user id"},
		"a setting of 2":           {list("user_settings", `{"user_id": 1, "is_review_enabled": 2}`), "user_settings[0].is_review_enabled must be 0 or 1"},
		"no setting":               {list("user_settings", `{"user_id": 1}`), "user_settings[0].is_review_enabled is required"},
		"a user twice":             {list("user_settings", `{"user_id": 1, "is_review_enabled": 1}, {"user_id": "1", "is_review_enabled": true}`), "user_settings[1].user_id is the same as that of user_settings[0]"},
		"an entry that is none":    {list("reports", "5"), "reports[0] must be an object"},
		"a list that is none":      {`{"reports": {}}`, "line 1: reports is not a list"},
		"none of the lists":        {`{"users": []}`, "the file has none of the lists"},
		"another file":             {"[]", "line 1: is not a JSON object"},
		"no JSON":                  {"{\n\"reports\": [\n{\"id\": 1},\n{x}]}", "line 4: is not JSON"},
		"half a file":              {"{\n\"reports\": [\n" + `{"id": 1`, "line 3: the file ends too early"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Read(strings.NewReader(tt.file), importedAt, false)
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "ayer") {
				t.Fatalf("error %v, want %q", err, tt.want)
			}
			if bad := (*bridge.InvalidError)(nil); errors.As(err, &bad) && len(bad.Fields) != 1 {
				t.Errorf("%d faults: %v", len(bad.Fields), err)
			}
		})
	}
}
