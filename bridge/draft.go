package bridge

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
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

	URL       string        // where it leads, see checkURL; "": nowhere
	Replaces  string        // supersedes the user's earlier ones with the same value; "": none
	ExpiresIn time.Duration // whole seconds from the append, at most MaxExpiry; 0: it does not expire

	By     string // who made it: the caller's sub, [BySQL] or [ByImport]
	Source Source // the way it came
}

// MaxExpiry is how long after its append a notification may expire.
const MaxExpiry = 365 * 24 * time.Hour

// What By says where no caller with a token made a notification.
const (
	BySQL    = "sql" // falcon_notify
	ByImport = "import"
)

// Source is the way a notification came. It is counted, and not stored.
type Source string

// The sources.
const (
	SourceREST   Source = "rest"
	SourceBatch  Source = "batch"
	SourceSQL    Source = "sql"
	SourceImport Source = "import"
	SourceReport Source = "report"
)

// Check returns d made ready to store: default kind, compact data. Every fault
// is reported at once in an [*InvalidError] whose locations start with at, e.g.
// "body" or "body.notifications[3]".
func (d Draft) Check(at string) (Draft, error) {
	var bad InvalidError
	if d.User == "" {
		bad.Add(at+".created_by", "is required")
	} else if _, err := ParseUserID(string(d.User)); err != nil {
		bad.Add(at+".created_by", err.Error())
	}
	if d.Kind == "" {
		d.Kind = KindMessage
	}
	if !d.Kind.Valid() {
		bad.Add(at+".kind", "must have 1 to 64 characters of a-z 0-9 . _ - and start with a letter or a digit")
	}
	checkText(&bad, at+".title", d.Title, MaxTitle)
	checkText(&bad, at+".message", d.Message, MaxMessage)
	if d.ReportID < 0 {
		bad.Add(at+".report_id", "must be a positive integer")
	}
	data, err := compactObject(d.Data)
	if err != nil {
		bad.Add(at+".data", err.Error())
	}
	d.Data = data
	if err := checkURL(d.URL); err != nil {
		bad.Add(at+".url", err.Error())
	}
	if d.Replaces != "" {
		if err := CheckReplaces(d.Replaces); err != nil {
			bad.Add(at+".replaces", err.Error())
		}
	}
	if d.ExpiresIn < 0 || d.ExpiresIn > MaxExpiry || d.ExpiresIn%time.Second != 0 {
		bad.Add(at+".expires_in", "must be a whole number of seconds from 1 to 31536000")
	}
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
		bad.Add(at, fmt.Sprintf("must have at most %d characters, not %d", limit, n))
	case !utf8.ValidString(s):
		bad.Add(at, "must be valid UTF-8")
	case strings.IndexByte(s, 0) >= 0:
		bad.Add(at, "must not contain a NUL character")
	}
}
