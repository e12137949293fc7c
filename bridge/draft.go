package bridge

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Draft is a notification before it has an id and a seq.
type Draft struct {
	User     UserID
	Kind     Kind // "" means KindMessage
	Title    string
	Message  string
	ReportID int64           // 0: none
	StatusID Status          // 0: none; set for KindReportStatus
	Data     json.RawMessage // a JSON object, or nil
}

// Check returns d made ready to store: default kind, compact data. Every fault
// is reported at once in an [*InvalidError] whose locations start with at, e.g.
// "body" or "body.notifications[3]".
func (d Draft) Check(at string) (Draft, error) {
	var bad InvalidError
	if _, err := ParseUserID(string(d.User)); err != nil {
		bad.Add(at+".created_by", err.Error())
	}
	if d.Kind == "" {
		d.Kind = KindMessage
	}
	if _, ok := kinds[d.Kind]; !ok {
		bad.Add(at+".kind", "is not a known kind")
	}
	checkText(&bad, at+".title", d.Title, MaxTitle)
	checkText(&bad, at+".message", d.Message, MaxMessage)
	if d.ReportID < 0 {
		bad.Add(at+".report_id", "is a positive integer")
	}
	data, err := compactObject(d.Data)
	if err != nil {
		bad.Add(at+".data", err.Error())
	}
	d.Data = data
	return d, bad.Err()
}

// checkText wants 1 to limit characters of valid UTF-8, not only blanks, and no
// NUL, which Postgres cannot store in text.
func checkText(bad *InvalidError, at, s string, limit int) {
	n := utf8.RuneCountInString(s)
	switch {
	case strings.TrimSpace(s) == "":
		bad.Add(at, "is required")
	case n > limit:
		bad.Add(at, fmt.Sprintf("has at most %d characters, not %d", limit, n))
	case !utf8.ValidString(s):
		bad.Add(at, "is not valid UTF-8")
	case strings.IndexByte(s, 0) >= 0:
		bad.Add(at, "holds a NUL character")
	}
}
