package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/db"
	"github.com/falconalert/falconbridge/internal/config"
)

// past is what an application kept before falconbridge: checked, and in the order
// in which it is stored.
type past struct {
	reports       []db.PastReport
	settings      []db.PastSettings
	notifications []db.PastNotification
	ignored       []string // other members of the file

	now    time.Time // of what bears no time
	asRead bool
	bad    bridge.InvalidError
	ids    map[string]string // by list and id: the first entry that bears it
}

// readPast reads a file of the shape of testdata/falconalert.json. It fails with a
// *bridge.InvalidError that names every faulty entry by its place, as
// reports[3].title, and never by what it holds.
func readPast(r io.Reader, now time.Time, asRead bool) (*past, error) {
	p := &past{now: now, asRead: asRead, ids: make(map[string]string)}
	text := bufio.NewReader(r)
	if start, _ := text.Peek(3); config.HasByteOrderMark(start) {
		return nil, errors.New("the file begins with a byte order mark (BOM): save it as UTF-8 without one")
	}
	lines := &lineCounter{r: text}
	dec := json.NewDecoder(lines)
	if err := p.decode(dec); err != nil {
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
	if err := p.bad.Err(); err != nil {
		return nil, err
	}
	slices.SortStableFunc(p.notifications, func(a, b db.PastNotification) int { return a.CreatedAt.Compare(b.CreatedAt) })
	return p, nil
}

func (p *past) decode(dec *json.Decoder) error {
	if err := expect(dec, '{', "is not a JSON object"); err != nil {
		return err
	}
	found := false
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return err
		}
		take := map[string]func(entry){"reports": p.report, "user_settings": p.setting, "notifications": p.notification}[fmt.Sprint(name)]
		if take == nil {
			p.ignored = append(p.ignored, fmt.Sprint(name))
			var skipped json.RawMessage
			if err := dec.Decode(&skipped); err != nil {
				return err
			}
			continue
		}
		found = true
		if err := p.list(dec, fmt.Sprint(name), take); err != nil {
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
func (p *past) list(dec *json.Decoder, name string, take func(entry)) error {
	if err := expect(dec, '[', name+" is not a list"); err != nil {
		return err
	}
	for i := 0; dec.More(); i++ {
		e := entry{at: fmt.Sprintf("%s[%d]", name, i), bad: &p.bad}
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return fmt.Errorf("%s: %w", e.at, err)
		}
		if json.Unmarshal(raw, &e.fields) != nil || e.fields == nil {
			p.bad.Add(e.at, "is not an object")
			continue
		}
		take(e)
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
func (p *past) id(e entry) (id int64) {
	faults := len(p.bad.Fields)
	e.read("id", &id, "is not a whole number")
	if id < 1 && len(p.bad.Fields) == faults {
		p.bad.Add(e.at+".id", "is a positive whole number")
	}
	p.once(e, "id", fmt.Sprint(id))
	return id
}

func (p *past) once(e entry, field, value string) {
	list, _, _ := strings.Cut(e.at, "[")
	if first, taken := p.ids[list+value]; taken {
		p.bad.Add(e.at+"."+field, "is that of "+first+", too")
		return
	}
	p.ids[list+value] = e.at
}

// time reads a time; what bears none, or none that can be, is of otherwise.
func (p *past) time(e entry, name string, otherwise time.Time) time.Time {
	var text string
	faults := len(p.bad.Fields)
	e.read(name, &text, wantTime)
	if text == "" || len(p.bad.Fields) > faults {
		return otherwise
	}
	t, err := parseMoment(text)
	switch {
	case err != nil:
		p.bad.Add(e.at+"."+name, wantTime)
	case t.Before(time.UnixMilli(1)):
		p.bad.Add(e.at+"."+name, "is before 1970")
	case t.After(p.now.Add(24 * time.Hour)): // a time without a zone may be a little ahead
		p.bad.Add(e.at+"."+name, "is in the future")
	}
	return t
}

const wantTime = "is not a time such as 2025-10-24T02:21:32Z"

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
