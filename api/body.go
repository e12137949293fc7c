package api

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/falconalert/falconbridge/bridge"
)

// Limits of bodies, in bytes.
const (
	MaxBody      = 256 << 10
	MaxBatchBody = 4 << 20
	// firstBuffer is what a body is given before a byte of it came, whatever length
	// it announces. Most need no more; what they do, [budget] counts.
	firstBuffer = 4 << 10
)

// buffer holds one request's body. One of the first size goes from request to request.
type buffer struct {
	bytes []byte
	of    *budget
	taken int64 // of the budget
}

var buffers = sync.Pool{New: func() any { return &buffer{bytes: make([]byte, 0, firstBuffer)} }}

func (b *buffer) release() {
	if b.taken > 0 {
		b.of.give(b.taken)
		return // larger buffers are left to the garbage collector
	}
	b.bytes, b.of = b.bytes[:0], nil
	buffers.Put(b)
}

// readBody checks the type and the announced size of r's body and then reads it.
// optional allows none. The caller releases what is returned, also with an error.
func (a *api) readBody(r *http.Request, limit int64, optional bool) (*buffer, error) {
	if r.ContentLength == 0 {
		if optional {
			return nil, nil
		}
		return nil, &problem{kind: malformed, detail: "the body is empty"}
	}
	if err := checkType(r.Header); err != nil {
		return nil, err
	}
	if r.ContentLength > limit {
		return nil, &problem{kind: tooLarge}
	}
	b := buffers.Get().(*buffer)
	b.of = &a.bodies
	err := b.fill(r.Body, r.ContentLength, limit)
	switch {
	case err != nil:
	case len(b.bytes) == 0 && !optional:
		err = &problem{kind: malformed, detail: "the body is empty"}
	default:
		err = checkMark(b.bytes)
	}
	return b, err
}

// checkMark names a byte order mark, which no tool shows and RFC 8259 §8.1 forbids.
func checkMark(body []byte) error {
	switch {
	case bytes.HasPrefix(body, []byte("\xef\xbb\xbf")):
		return &problem{kind: malformed, detail: "the body begins with a byte order mark (BOM); send it without one"}
	case bytes.HasPrefix(body, []byte("\xff\xfe")), bytes.HasPrefix(body, []byte("\xfe\xff")):
		return &problem{kind: malformed, detail: "the body is in UTF-16, with a byte order mark (BOM); send UTF-8 without one"}
	}
	return nil
}

// fill reads all of body, which has length bytes, or an unknown number where
// length is negative. Memory follows the bytes that came, not those announced.
func (b *buffer) fill(body io.Reader, length, limit int64) error {
	for {
		if len(b.bytes) == cap(b.bytes) {
			if int64(len(b.bytes)) == length {
				return nil // net/http ends the body there
			}
			if err := b.grow(length, limit); err != nil {
				return err
			}
		}
		n, err := body.Read(b.bytes[len(b.bytes):cap(b.bytes)])
		b.bytes = b.bytes[:len(b.bytes)+n]
		if int64(len(b.bytes)) > limit {
			return &problem{kind: tooLarge}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return bodyError(err)
		}
	}
}

// grow doubles the buffer, but not past what the body may need: its length, or one
// byte over the limit, which tells that it is too large.
func (b *buffer) grow(length, limit int64) error {
	size := min(2*int64(cap(b.bytes)), limit+1)
	if length >= 0 {
		size = min(size, length)
	}
	size = max(size, int64(cap(b.bytes))+1)
	if !b.of.take(size) {
		return &problem{kind: unavailable, detail: "the node reads as many large bodies as it can hold", limit: LimitBodies}
	}
	b.bytes = append(make([]byte, 0, size), b.bytes...)
	b.of.give(b.taken)
	b.taken = size
	return nil
}

func bodyError(err error) error {
	var late net.Error
	if errors.As(err, &late) && late.Timeout() {
		return &problem{kind: timedOut}
	}
	return &problem{kind: malformed, detail: "the body ends before its announced length, or is not well framed"}
}

// checkType wants JSON in UTF-8, as it stands. A request that names no type is
// taken at its word that it has a body: what it is, the decoder finds out.
func checkType(h http.Header) error {
	if enc := h.Get("Content-Encoding"); enc != "" && !strings.EqualFold(enc, "identity") {
		return &problem{kind: unsupported, detail: "the body has a Content-Encoding"}
	}
	ct := h.Get("Content-Type")
	if ct == "" || ct == "application/json" {
		return nil
	}
	media, params, err := mime.ParseMediaType(ct)
	if err != nil || media != "application/json" {
		return &problem{kind: unsupported}
	}
	if cs := params["charset"]; cs != "" && !strings.EqualFold(cs, "utf-8") {
		return &problem{kind: unsupported, detail: "the body is not in UTF-8"}
	}
	return nil
}

// readObject reads body, which is one JSON object, and calls each for every
// member. Names that each does not know it skips: unknown fields are ignored, so
// that an application may send more to an older falconbridge.
func readObject(body []byte, each func(f *field) error) error {
	r := &reader{b: body}
	f := &field{reader: r, at: root}
	if r.peek() != '{' {
		if err := r.skip(); err != nil {
			return err
		}
		if err := r.end(); err != nil {
			return err
		}
		f.bad.Add("body", "is a JSON object")
		return f.bad.Err()
	}
	err := r.object(func(name []byte) error {
		f.name = name
		return each(f)
	})
	if err != nil {
		return err
	}
	if err := r.end(); err != nil {
		return err
	}
	return f.bad.Err()
}

// also adds to the faults of err, if it holds such, those of other fields that
// further holds, so that a caller learns of all at once.
func also(err, further error) error {
	var bad, more *bridge.InvalidError
	if !errors.As(err, &bad) || bad.Fields[0].Location == "body" || !errors.As(further, &more) {
		return err
	}
	for _, f := range more.Fields {
		known := slices.ContainsFunc(bad.Fields, func(k bridge.FieldError) bool { return k.Location == f.Location })
		if !known && len(bad.Fields) < maxFaults {
			bad.Fields = append(bad.Fields, f)
		}
	}
	return err
}

// maxFaults is how many faults of one body are reported.
const maxFaults = 100

// field is one member of an object, about to be read. Each method reads its
// value, null counting as left out, and notes a fault where it is of another
// type.
type field struct {
	*reader
	at   place
	name []byte
	bad  bridge.InvalidError
}

// is tells whether the field has that name, byte for byte.
func (f *field) is(name string) bool { return string(f.name) == name }

// fault notes what the field should be.
func (f *field) fault(is string) {
	if len(f.bad.Fields) < maxFaults {
		f.bad.Add(f.at.field(string(f.name)), is)
	}
}

// refuse notes what the field should be, and passes its value.
func (f *field) refuse(is string) error {
	f.fault(is)
	return f.skip()
}

func (f *field) null() bool {
	if f.peek() == 'n' && f.word("null") == nil {
		return true
	}
	return false
}

func (f *field) text(to *string) error {
	if f.peek() != '"' {
		if f.null() {
			return nil
		}
		return f.refuse("is a string")
	}
	s, err := f.reader.text()
	*to = string(s)
	return err
}

// integer reads a whole number from low to high.
func (f *field) integer(low, high int64, to *int64, is string) error {
	c := f.peek()
	if f.null() {
		return nil
	}
	if c != '-' && !isDigit(c) {
		return f.refuse(is)
	}
	lit, err := f.number()
	if err != nil {
		return err
	}
	n, ok := parseInteger(lit)
	if !ok || n < low || n > high {
		f.fault(is)
		return nil
	}
	*to = n
	return nil
}

// parseInteger reads a literal of at most 16 digits: all up to 2^53-1 have no more.
func parseInteger(lit []byte) (n int64, ok bool) {
	digits := bytes.TrimPrefix(lit, []byte("-"))
	if len(digits) == 0 || len(digits) > 16 {
		return 0, false
	}
	for _, c := range digits {
		if !isDigit(c) {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	if len(digits) < len(lit) {
		n = -n
	}
	return n, true
}

// user reads a user id, a string or a number.
func (f *field) user(to *bridge.UserID) error {
	c := f.peek()
	switch {
	case f.null():
		return nil
	case c == '"':
		s, err := f.reader.text()
		if err != nil {
			return err
		}
		u, err := bridge.ParseUserID(string(s))
		if err != nil {
			f.fault(err.Error())
		}
		*to = u
		return nil
	case c == '-' || isDigit(c):
		lit, err := f.number()
		if err != nil {
			return err
		}
		if err := to.UnmarshalJSON(lit); err != nil {
			f.fault(err.Error())
		}
		return nil
	}
	return f.refuse("is a string or an integer")
}

// place is where an object stands in the body, written out only for a fault.
type place int

// root is the body itself; 0 and up are the entries of a batch.
const root place = -1
