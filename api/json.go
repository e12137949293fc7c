package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/falconalert/falconbridge/bridge"
)

const (
	// maxDepth is how deeply a body may be nested. Our own fields need three levels, the
	// rest is for the application's data.
	maxDepth = 32
	// maxFields is how many fields one object of a body may have. Our own objects have at
	// most ten, and data of 4 KiB at most 800.
	maxFields = 1000
	// maxFaults is how many faults of one body are reported.
	maxFaults = 100
	// maxSafeInteger is the largest integer that every JSON parser keeps exact (RFC 8259 §6).
	maxSafeInteger = 1<<53 - 1
)

// strictJSON is the format of all bodies. It reads RFC 8259 and refuses whatever parsers
// disagree on (RFC 7493): duplicate names in an object, invalid UTF-8, unpaired
// surrogates; and nesting beyond maxDepth. Names match byte for byte. Unknown names are
// ignored, so that an application may send newer fields to an older falconbridge. A null
// counts as an absent field.
var strictJSON = huma.Format{
	Unmarshal: func(data []byte, v any) error {
		v.(interface{ decode([]byte) }).decode(data)
		return nil
	},
	Marshal: func(w io.Writer, v any) error {
		if v, ok := v.(interface{ appendJSON(b []byte) []byte }); ok {
			buf := w.(*bytes.Buffer)
			_, err := buf.Write(v.appendJSON(buf.AvailableBuffer()))
			return err
		}
		return json.MarshalWrite(w, v, writing)
	},
}

// writing has the defaults of encoding/json: maps are sorted, and HTML is escaped, because
// a body may end up in a page.
var writing = json.JoinOptions(jsontext.EscapeForHTML(true), jsontext.EscapeForJS(true), json.Deterministic(true))

// sent is the body of a request, decoded into T. Each field of the wrong type is reported
// at its own location, all in one response.
//
// huma's own validation of bodies is skipped: it decodes them a second time, into maps,
// for which a batch of 4 MiB of empty objects allocates 3.6 GiB, and it reports a missing
// field at the location of its parent.
type sent[T any] struct {
	Value   T
	unknown []string // locations of fields that T does not have
	err     error
}

// decode reads data. Unknown fields are rare, so it looks for all of them only after a
// first, strict pass found one.
func (s *sent[T]) decode(data []byte) {
	if s.err = decode(data, &s.Value, true); errors.Is(s.err, json.ErrUnknownName) {
		s.Value = *new(T)
		s.err = decode(data, &s.Value, false)
		s.unknown = unknownFields(data, reflect.TypeFor[T]())
	}
}

// get returns the value or its faults. If decoding failed, T's check method, if there is
// one, adds faults in other fields. Handlers call get after huma has accepted the
// parameters, whose faults are reported alone. It is not a huma resolver, because that
// costs reflection on each request.
func (s *sent[T]) get(ctx context.Context) (*T, error) {
	if err := reportUnknown(ctx, s.unknown); err != nil {
		s.err = mergeFaults(s.err, err)
	}
	if v, ok := any(&s.Value).(interface{ check() error }); ok && s.err != nil {
		return nil, addOtherFields(s.err, v.check())
	}
	return &s.Value, s.err
}

// Schema describes the body as T.
func (s *sent[T]) Schema(r huma.Registry) *huma.Schema {
	return r.Schema(reflect.TypeFor[T](), true, "")
}

// mergeFaults returns the faults of err followed by those of further. An error about the
// body as a whole is returned alone.
func mergeFaults(err, further error) error {
	if err == nil {
		return further
	}
	return addOtherFields(err, further)
}

// addOtherFields adds those faults of further to err that are about other fields.
func addOtherFields(err, further error) error {
	var bad, more *bridge.InvalidError
	if !errors.As(err, &bad) || bad.Fields[0].Location == "body" || !errors.As(further, &more) {
		return err
	}
	known := make(map[string]bool, len(bad.Fields))
	for _, f := range bad.Fields {
		known[f.Location] = true
	}
	for _, f := range more.Fields {
		if !known[f.Location] && len(bad.Fields) < maxFaults {
			bad.Fields = append(bad.Fields, f)
		}
	}
	return err
}

// decode reads data, one JSON object, into v, a pointer to a struct. It fails with a
// malformed problem or an [*bridge.InvalidError]; neither contains any part of data. With
// known set, a field that v does not have causes json.ErrUnknownName.
func decode(data []byte, v any, known bool) error {
	if err := checkMark(data); err != nil {
		return err
	}
	deep, end := shape(data)
	if deep {
		return &problem{kind: malformed, detail: fmt.Sprintf("the body is nested more than %d levels deep", maxDepth)}
	}
	wide := end < len(data)
	if text := bytes.TrimLeft(data, " \t\r\n"); len(text) > 0 && text[0] != '{' {
		if !wide && !jsontext.Value(data).IsValid() {
			return &problem{kind: malformed, detail: "the body is not valid JSON"}
		}
		return bodyFault("must be a JSON object")
	}
	d := decoders.Get().(*decoder)
	defer func() {
		d.bad = bridge.InvalidError{}
		decoders.Put(d)
	}()
	err := json.Unmarshal(data[:end], v, d.options, json.RejectUnknownMembers(known))
	var syntax *jsontext.SyntacticError
	switch {
	case wide && errors.Is(err, io.ErrUnexpectedEOF):
		return bodyFault(fmt.Sprintf("must have at most %d fields per object", maxFields))
	case errors.Is(err, errEnough), err == nil:
	case errors.As(err, &syntax):
		return &problem{kind: malformed, detail: fmt.Sprintf("the body is not valid JSON: %s, at byte %d", reason(syntax), syntax.ByteOffset)}
	default:
		return fmt.Errorf("decode a body: %w", err)
	}
	if len(d.bad.Fields) > 0 {
		return &bridge.InvalidError{Fields: d.bad.Fields}
	}
	return nil
}

// reason returns the message of e without names and characters from the body.
func reason(e *jsontext.SyntacticError) string {
	switch {
	case errors.Is(e, jsontext.ErrDuplicateName):
		return "an object has two fields of the same name"
	case errors.Is(e, io.ErrUnexpectedEOF), errors.Is(e, io.EOF):
		return "it ends unexpectedly"
	}
	return "unexpected character or invalid UTF-8"
}

// bodyFault returns a fault of the body as a whole.
func bodyFault(message string) error {
	return &bridge.InvalidError{Fields: []bridge.FieldError{{Location: "body", Message: message}}}
}

// shape reports whether data is nested deeper than maxDepth, and the offset at which an
// object exceeds maxFields, which is the length of data if none does. The decoder's own
// limits are too wide: it allows ten thousand levels, in which a consumer of data may
// recurse, and remembers every name of the open objects to detect duplicates, about 180
// bytes for a ten-byte name.
func shape(data []byte) (deep bool, end int) {
	if bytes.Count(data, []byte("{"))+bytes.Count(data, []byte("[")) <= maxDepth && bytes.Count(data, []byte(":")) <= maxFields {
		return false, len(data) // nearly every body, and far faster than the loop below
	}
	var fields [maxDepth + 1]int
	depth, quoted := 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case c == '"':
			quoted = !quoted
		case quoted && c == '\\':
			i++
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return true, 0
			}
			fields[depth] = 0
		case c == '}' || c == ']':
			depth = max(0, depth-1)
		case c == ':':
			if fields[depth]++; fields[depth] > maxFields {
				return false, i
			}
		}
	}
	return false, len(data)
}
