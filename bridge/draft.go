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

	URL       string        // the link that it opens, see checkURL; "": none
	Replaces  string        // key: supersedes the user's earlier notifications with the same one; "": none
	ExpiresIn time.Duration // from the append, in whole seconds up to MaxExpiry; 0: does not expire

	By     string // who made it: the caller's sub, [BySQL] or [ByImport]
	Source Source // how it was made
}

// MaxExpiry is the longest time after which a notification may expire.
const MaxExpiry = 365 * 24 * time.Hour

// Values of [Draft.By] for notifications that were not made with a token.
const (
	BySQL    = "sql" // the SQL function falcon_notify
	ByImport = "import"
)

// Source is how a notification was made. It is a label in metrics, and not stored.
type Source string

// The sources.
const (
	SourceREST   Source = "rest"
	SourceBatch  Source = "batch"
	SourceSQL    Source = "sql"
	SourceImport Source = "import"
	SourceReport Source = "report"
)

// Check returns d with the default kind and compact data, or an [*InvalidError] with all faults.
// Their locations begin with at, for example "body" or "body.notifications[3]".
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

// checkText adds a fault unless s has 1 to limit characters of valid UTF-8, not only white
// space, and no NUL, which Postgres cannot store in text.
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
