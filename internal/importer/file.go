// Package importer loads what an application kept before falconbridge: its reports,
// settings and past notifications, from a JSON file into the database.
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

// File is the content of an import file: checked, and in the order in which it is
// stored.
type File struct {
	reports       []db.PastReport
	settings      []db.PastSettings
	notifications []db.PastNotification
	Ignored       []string // other members of the file

	now    time.Time // of entries without a time
	asRead bool
	bad    bridge.InvalidError
	ids    map[string]string // by list and id: the first entry that has it
}

// Read reads a file of the shape of testdata/falconalert.json. It fails with a
// *bridge.InvalidError that names every faulty entry by its place, as
// reports[3].title, and never by its content. now is the time of entries that have none;
// with asRead, notifications without read_at count as read.
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
			if syntax.Offset != offset { // within the value under way
				offset += syntax.Offset
			}
			err = errors.New("is not JSON")
		}
		return nil, fmt.Errorf("line %d: %w", lines.at(offset), err)
	}
	if err := f.bad.Err(); err != nil {
		return nil, err
	}
	slices.SortStableFunc(f.notifications, func(a, b db.PastNotification) int { return a.CreatedAt.Compare(b.CreatedAt) })
	return f, nil
}

// hasByteOrderMark reports whether b begins with the mark of UTF-8 or UTF-16, which
// editors on Windows write in front of a text, unseen.
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
		return errors.New("there is none of the lists reports, user_settings and notifications")
	}
	return nil
}

// list reads one list, entry by entry.
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

func expect(dec *json.Decoder, d json.Delim, otherwise string) error {
	t, err := dec.Token()
	if err == nil && t != d {
		err = errors.New(otherwise)
	}
	return err
}

// entry is one entry of a list.
type entry struct {
	at     string // its place, as reports[3]
	fields map[string]json.RawMessage
	bad    *bridge.InvalidError
}

// read reads one field where it is there and not null.
func (e entry) read(name string, into any, want string) {
	raw, ok := e.fields[name]
	if ok && string(raw) != "null" && json.Unmarshal(raw, into) != nil {
		e.bad.Add(e.at+"."+name, want)
	}
}

// id reads the id, which no other entry of the list may have.
func (f *File) id(e entry) (id int64) {
	faults := len(f.bad.Fields)
	e.read("id", &id, "must be a whole number")
	if id < 1 && len(f.bad.Fields) == faults {
		f.bad.Add(e.at+".id", "must be a positive whole number")
	}
	f.once(e, "id", fmt.Sprint(id))
	return id
}

func (f *File) once(e entry, field, value string) {
	list, _, _ := strings.Cut(e.at, "[")
	if first, taken := f.ids[list+value]; taken {
		f.bad.Add(e.at+"."+field, "is the same as that of "+first)
		return
	}
	f.ids[list+value] = e.at
}

// time reads a time that has passed. It is otherwise where the entry has none, or an
// invalid one.
func (f *File) time(e entry, name string, otherwise time.Time) time.Time {
	t := f.anyTime(e, name, otherwise)
	if t.After(f.now.Add(24 * time.Hour)) { // a time without a zone may be a little ahead
		f.bad.Add(e.at+"."+name, "is in the future")
	}
	return t
}

// anyTime is time, also for one that is to come.
func (f *File) anyTime(e entry, name string, otherwise time.Time) time.Time {
	var text string
	faults := len(f.bad.Fields)
	e.read(name, &text, wantTime)
	if text == "" || len(f.bad.Fields) > faults {
		return otherwise
	}
	t, err := parseMoment(text)
	switch {
	case err != nil:
		f.bad.Add(e.at+"."+name, wantTime)
	case t.Before(time.UnixMilli(1)):
		f.bad.Add(e.at+"."+name, "is before 1970")
	}
	return t
}

const wantTime = "must be a time such as 2025-10-24T02:21:32Z"

// parseMoment reads RFC 3339 and what databases print; without a zone it is UTC.
func parseMoment(text string) (t time.Time, err error) {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", time.DateTime, time.DateTime + "Z07:00", time.DateTime + "Z07"} {
		if t, err = time.Parse(layout, text); err == nil {
			return t.UTC().Truncate(time.Millisecond), nil
		}
	}
	return t, err
}

// lineCounter finds the line of an offset.
type lineCounter struct {
	r    io.Reader
	read int64
	ends []int64 // offsets of line ends
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

const wantUser = "must be a user id: a whole number, or 1 to 128 characters of A-Z a-z 0-9 . _ : @ | -, but neither . nor .."

func (f *File) report(e entry) {
	r := db.PastReport{At: e.at}
	r.ID = f.id(e)
	e.read("title", &r.Title, "must be a string")
	e.read("created_by", &r.User, wantUser)
	e.read("status_id", &r.Status, "must be 1, 2 or 3")
	r.CreatedAt = f.time(e, "created_at", f.now)
	r.UpdatedAt = f.time(e, "updated_at", r.CreatedAt)
	var err error
	r.NewReport, err = r.NewReport.Check()
	f.faults(e, err)
	f.reports = append(f.reports, r)
}

func (f *File) setting(e entry) {
	s := db.PastSettings{Settings: bridge.DefaultSettings()}
	e.read("user_id", &s.User, wantUser)
	if s.User == "" {
		f.fault(e.at+".user_id", wantUser)
	} else {
		f.once(e, "user_id", string(s.User))
	}
	var on onOff
	e.read("is_review_enabled", &on, "must be 0 or 1")
	if len(e.fields["is_review_enabled"]) > 0 {
		s.Settings.ReviewEnabled = bool(on)
	} else {
		f.fault(e.at+".is_review_enabled", "is required: 0 or 1")
	}
	f.settings = append(f.settings, s)
}

func (f *File) notification(e entry) {
	n := db.PastNotification{ID: f.id(e)}
	e.read("created_by", &n.User, wantUser)
	e.read("title", &n.Title, "must be a string")
	e.read("message", &n.Message, "must be a string")
	e.read("kind", &n.Kind, "must be a string")
	e.read("report_id", &n.ReportID, "must be a whole number")
	e.read("status_id", &n.StatusID, "must be 1, 2 or 3")
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
		f.fault(e.at+".status_id", "must be 1, 2 or 3")
	}
	if n.Kind == "" {
		n.Kind, n.StatusID = kindByTitle(n.Title, n.StatusID)
	}
	var err error
	n.Draft, err = n.Draft.Check(e.at)
	f.faults(e, err)
	f.notifications = append(f.notifications, n)
}

// kindByTitle recognises the built-in titles of status changes: applications without
// kinds wrote the same titles.
func kindByTitle(title string, status bridge.Status) (bridge.Kind, bridge.Status) {
	for s := bridge.Pending; s.Valid(); s++ {
		for _, l := range []bridge.Locale{bridge.Spanish, bridge.English} {
			if t, _ := l.StatusChanged("", s); t == title {
				return bridge.KindReportStatus, s
			}
		}
	}
	return bridge.KindMessage, status
}

// faults notes what a check of the domain found, at the entry's place.
func (f *File) faults(e entry, err error) {
	var bad *bridge.InvalidError
	if !errors.As(err, &bad) {
		return
	}
	for _, b := range bad.Fields {
		f.fault(strings.Replace(b.Location, "body", e.at, 1), b.Message)
	}
}

// maxFields is more than the fields of any entry.
const maxFields = 20

// fault notes one, unless there is one of the field already.
func (f *File) fault(at, message string) {
	of := f.bad.Fields[max(0, len(f.bad.Fields)-maxFields):] // those of one entry stand together
	if !slices.ContainsFunc(of, func(e bridge.FieldError) bool { return e.Location == at }) {
		f.bad.Add(at, message)
	}
}

// onOff is 0, 1 or a boolean.
type onOff bool

// UnmarshalJSON reads both forms.
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
