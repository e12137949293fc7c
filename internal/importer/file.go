// Package importer loads a JSON file with what an application kept before it used falconbridge,
// its reports, settings and notifications, into the database.
package importer

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/db"
)

// File is the checked content of an import file, in the order in which it will be stored.
type File struct {
	reports       []db.ImportedReport
	settings      []db.ImportedSettings
	notifications []db.ImportedNotification
	Ignored       []string // unknown members of the file

	now    time.Time // the time of entries that have none
	asRead bool
	bad    bridge.InvalidError
	ids    map[string]string // the first entry with each list and id
}

// Read parses a file like testdata/falconalert.json. If entries are invalid it fails with a
// *bridge.InvalidError that names all of them by their location, such as reports[3].title, and
// never repeats their content. Entries without a time get now. With asRead, notifications
// without read_at count as read.
func Read(r io.Reader, now time.Time, asRead bool) (*File, error) {
	f := &File{now: now, asRead: asRead, ids: make(map[string]string)}
	text := bufio.NewReader(r)
	if start, _ := text.Peek(3); hasByteOrderMark(start) {
		return nil, errors.New("the file begins with a byte order mark (BOM): save it as UTF-8 without one")
	}
	lines := &lineCounter{r: text}
	dec := json.NewDecoder(lines)
	if err := f.decode(dec); err != nil {
		offset := dec.InputOffset()
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = errors.New("the file ends too early")
		}
		if syntax := (*json.SyntaxError)(nil); errors.As(err, &syntax) {
			if syntax.Offset != offset { // relative to the current value
				offset += syntax.Offset
			}
			err = errors.New("is not JSON")
		}
		return nil, fmt.Errorf("line %d: %w", lines.at(offset), err)
	}
	if err := f.bad.Err(); err != nil {
		return nil, err
	}
	slices.SortStableFunc(f.notifications, func(a, b db.ImportedNotification) int { return a.CreatedAt.Compare(b.CreatedAt) })
	return f, nil
}

// hasByteOrderMark reports whether b begins with a byte order mark of UTF-8 or UTF-16, which
// editors on Windows write invisibly at the start of a text.
func hasByteOrderMark(b []byte) bool {
	return bytes.HasPrefix(b, []byte("\xef\xbb\xbf")) || bytes.HasPrefix(b, []byte("\xff\xfe")) || bytes.HasPrefix(b, []byte("\xfe\xff"))
}

func (f *File) decode(dec *json.Decoder) error {
	if err := expect(dec, '{', "is not a JSON object"); err != nil {
		return err
	}
	found := false
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return err
		}
		read := map[string]func(entry){"reports": f.report, "user_settings": f.setting, "notifications": f.notification}[fmt.Sprint(name)]
		if read == nil {
			f.Ignored = append(f.Ignored, fmt.Sprint(name))
			var skipped json.RawMessage
			if err := dec.Decode(&skipped); err != nil {
				return err
			}
			continue
		}
		found = true
		if err := f.list(dec, fmt.Sprint(name), read); err != nil {
			return err
		}
	}
	if err := expect(dec, '}', "is not a JSON object"); err != nil {
		return err
	}
	if !found {
		return errors.New("the file has none of the lists reports, user_settings and notifications")
	}
	return nil
}

// list decodes one list, entry by entry.
func (f *File) list(dec *json.Decoder, name string, read func(entry)) error {
	if err := expect(dec, '[', name+" is not a list"); err != nil {
		return err
	}
	for i := 0; dec.More(); i++ {
		e := entry{at: fmt.Sprintf("%s[%d]", name, i), bad: &f.bad}
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return fmt.Errorf("%s: %w", e.at, err)
		}
		if json.Unmarshal(raw, &e.fields) != nil || e.fields == nil {
			f.bad.Add(e.at, "must be an object")
			continue
		}
		read(e)
	}
	return expect(dec, ']', name+" is not a list")
}

// expect reads one delimiter. If another token comes, it fails with otherwise.
func expect(dec *json.Decoder, d json.Delim, otherwise string) error {
	t, err := dec.Token()
	if err == nil && t != d {
		err = errors.New(otherwise)
	}
	return err
}

// entry is one entry of a list.
type entry struct {
	at     string // its location, such as reports[3]
	fields map[string]json.RawMessage
	bad    *bridge.InvalidError
}

// read decodes a field into a variable, unless the field is missing or null. If it has the wrong
// type, the fault want is recorded.
func (e entry) read(name string, into any, want string) {
	raw, ok := e.fields[name]
	if ok && string(raw) != "null" && json.Unmarshal(raw, into) != nil {
		e.bad.Add(e.at+"."+name, want)
	}
}

// id reads the id, which must be unique in the list.
func (f *File) id(e entry) (id int64) {
	faults := len(f.bad.Fields)
	e.read("id", &id, "must be a whole number")
	if id < 1 && len(f.bad.Fields) == faults {
		f.bad.Add(e.at+".id", "must be a positive whole number")
	}
	f.once(e, "id", fmt.Sprint(id))
	return id
}

// once records a fault if an earlier entry of the list has the same value.
func (f *File) once(e entry, field, value string) {
	list, _, _ := strings.Cut(e.at, "[")
	if first, used := f.ids[list+value]; used {
		f.bad.Add(e.at+"."+field, "is the same as that of "+first)
		return
	}
	f.ids[list+value] = e.at
}

// time reads a time in the past. It returns otherwise if the entry has no time, or an invalid one.
func (f *File) time(e entry, name string, otherwise time.Time) time.Time {
	t := f.anyTime(e, name, otherwise)
	if t.After(f.now.Add(24 * time.Hour)) { // a time without a zone may be a little ahead
		f.bad.Add(e.at+"."+name, "is in the future")
	}
	return t
}

// anyTime is like time, but accepts times in the future.
func (f *File) anyTime(e entry, name string, otherwise time.Time) time.Time {
	var text string
	faults := len(f.bad.Fields)
	e.read(name, &text, wantTime)
	if text == "" || len(f.bad.Fields) > faults {
		return otherwise
	}
	t, err := parseTime(text)
	switch {
	case err != nil:
		f.bad.Add(e.at+"."+name, wantTime)
	case t.Before(time.UnixMilli(1)):
		f.bad.Add(e.at+"."+name, "is before 1970")
	}
	return t
}

const wantTime = "must be a time such as 2025-10-24T02:21:32Z"

// parseTime parses RFC 3339 and the formats that databases print. Without a zone it assumes UTC.
func parseTime(text string) (t time.Time, err error) {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", time.DateTime, time.DateTime + "Z07:00", time.DateTime + "Z07"} {
		if t, err = time.Parse(layout, text); err == nil {
			return t.UTC().Truncate(time.Millisecond), nil
		}
	}
	return t, err
}

// lineCounter remembers where lines end, to find the line of an offset.
type lineCounter struct {
	r    io.Reader
	read int64
	ends []int64 // the offsets of line ends
}

func (c *lineCounter) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	for i, ch := range b[:n] {
		if ch == '\n' {
			c.ends = append(c.ends, c.read+int64(i))
		}
	}
	c.read += int64(n)
	return n, err
}

func (c *lineCounter) at(offset int64) int {
	n, _ := slices.BinarySearch(c.ends, offset)
	return n + 1
}

const (
	wantUser   = "must be a user id: a whole number, or 1 to 128 characters of A-Z a-z 0-9 . _ : @ | -, but neither . nor .."
	wantStatus = "must be 1, 2 or 3"
	wantOnOff  = "must be 0 or 1"
)

func (f *File) report(e entry) {
	r := db.ImportedReport{At: e.at}
	r.ID = f.id(e)
	e.read("title", &r.Title, "must be a string")
	e.read("created_by", &r.User, wantUser)
	e.read("status_id", &r.Status, wantStatus)
	r.CreatedAt = f.time(e, "created_at", f.now)
	r.UpdatedAt = f.time(e, "updated_at", r.CreatedAt)
	var err error
	r.NewReport, err = r.NewReport.Check()
	f.faults(e, err)
	f.reports = append(f.reports, r)
}

func (f *File) setting(e entry) {
	s := db.ImportedSettings{Settings: bridge.DefaultSettings()}
	e.read("user_id", &s.User, wantUser)
	if s.User == "" {
		f.fault(e.at+".user_id", wantUser)
	} else {
		f.once(e, "user_id", string(s.User))
	}
	var on onOff
	e.read("is_review_enabled", &on, wantOnOff)
	if len(e.fields["is_review_enabled"]) > 0 {
		s.Settings.ReviewEnabled = bool(on)
	} else {
		f.fault(e.at+".is_review_enabled", "is required: 0 or 1")
	}
	f.settings = append(f.settings, s)
}

func (f *File) notification(e entry) {
	n := db.ImportedNotification{ID: f.id(e)}
	e.read("created_by", &n.User, wantUser)
	e.read("title", &n.Title, "must be a string")
	e.read("message", &n.Message, "must be a string")
	e.read("kind", &n.Kind, "must be a string")
	e.read("report_id", &n.ReportID, "must be a whole number")
	e.read("status_id", &n.StatusID, wantStatus)
	e.read("data", &n.Data, "must be an object")
	e.read("url", &n.URL, "must be a string")
	e.read("replaces", &n.Replaces, "must be a string")
	n.CreatedAt = f.time(e, "created_at", f.now)
	n.ReadAt = f.time(e, "read_at", n.ReadAt)
	n.ExpiresAt = f.anyTime(e, "expires_at", n.ExpiresAt)
	if n.ReadAt.IsZero() && f.asRead {
		n.ReadAt = f.now
	}
	if n.StatusID != 0 && !n.StatusID.Valid() {
		f.fault(e.at+".status_id", wantStatus)
	}
	if n.Kind == "" {
		n.Kind, n.StatusID = kindByTitle(n.Title, n.StatusID)
	}
	var err error
	n.Draft, err = n.Draft.Check(e.at)
	f.faults(e, err)
	f.notifications = append(f.notifications, n)
}

// kindByTitle recognizes status changes by their built-in titles, which applications without kinds
// also used. For other titles it returns the kind message.
func kindByTitle(title string, status bridge.Status) (bridge.Kind, bridge.Status) {
	for s := bridge.Pending; s.Valid(); s++ {
		for _, l := range bridge.Locales() {
			if t, _ := l.StatusChanged("", s); t == title {
				return bridge.KindReportStatus, s
			}
		}
	}
	return bridge.KindMessage, status
}

// faults records what a check of the domain found, at the location of the entry.
func (f *File) faults(e entry, err error) {
	var bad *bridge.InvalidError
	if !errors.As(err, &bad) {
		return
	}
	for _, b := range bad.Fields {
		f.fault(strings.Replace(b.Location, "body", e.at, 1), b.Message)
	}
}

// maxFields is more than the number of fields that any entry has.
const maxFields = 20

// fault records a fault of a field, unless one is recorded already.
func (f *File) fault(at, message string) {
	of := f.bad.Fields[max(0, len(f.bad.Fields)-maxFields):] // the faults of one entry are next to each other
	if !slices.ContainsFunc(of, func(e bridge.FieldError) bool { return e.Location == at }) {
		f.bad.Add(at, message)
	}
}

// onOff is a setting that is written as 0, 1 or a boolean.
type onOff bool

// UnmarshalJSON implements json.Unmarshaler.
func (o *onOff) UnmarshalJSON(b []byte) error {
	switch string(b) {
	case "1", "true":
		*o = true
	case "0", "false":
		*o = false
	default:
		return &json.UnmarshalTypeError{}
	}
	return nil
}
