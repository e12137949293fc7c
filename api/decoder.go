package api

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/falconalert/falconbridge/bridge"
)

// decoder reads the field types of request bodies. It records a value of the wrong type as
// a fault and skips it, so that one response lists all faults. Decoders are reused, because
// looking up their functions by type is expensive.
type decoder struct {
	bad     bridge.InvalidError
	options json.Options
}

var decoders = sync.Pool{New: func() any {
	d := &decoder{}
	d.options = json.WithUnmarshalers(json.JoinUnmarshalers(
		json.UnmarshalFromFunc(d.text),
		json.UnmarshalFromFunc(d.user),
		json.UnmarshalFromFunc(func(dec *jsontext.Decoder, to *positive) error {
			return d.integer(dec, 1, maxSafeInteger, (*int64)(to), "must be an integer from 1 to 2^53-1")
		}),
		json.UnmarshalFromFunc(func(dec *jsontext.Decoder, to *upTo) error {
			return d.integer(dec, 0, maxSafeInteger, (*int64)(to), "must be an integer from 0 to 2^53-1")
		}),
		json.UnmarshalFromFunc(func(dec *jsontext.Decoder, to *lifetime) error {
			return d.integer(dec, 1, int64(bridge.MaxExpiry.Seconds()), (*int64)(to), "must be a whole number of seconds from 1 to 31536000")
		}),
		json.UnmarshalFromFunc(func(dec *jsontext.Decoder, to *filled) error {
			if dec.PeekKind() == 'n' {
				return dec.SkipValue()
			}
			if err := d.text(dec, (*string)(to)); err != nil {
				return err
			}
			if *to == "" {
				d.fault(dec, "must be a non-empty string")
			}
			return nil
		}),
		json.UnmarshalFromFunc(func(dec *jsontext.Decoder, to *bridge.Status) error {
			n := int64(*to)
			err := d.integer(dec, int64(bridge.Pending), int64(bridge.Rejected), &n, "must be 1, 2 or 3")
			*to = bridge.Status(n)
			return err
		}),
		json.UnmarshalFromFunc(d.onOff),
		json.UnmarshalFromFunc(d.switches),
		json.UnmarshalFromFunc(d.object),
		json.UnmarshalFromFunc(d.instant),
		json.UnmarshalFromFunc(d.entries),
	))
	return d
}}

// errEnough stops decoding when the rest of the body cannot change the response.
var errEnough = errors.New("enough faults")

// note records a fault.
func (d *decoder) note(at, message string) {
	if len(d.bad.Fields) < maxFaults {
		d.bad.Add(at, message)
	}
}

// fault records a fault of dec's current value.
func (d *decoder) fault(dec *jsontext.Decoder, message string) {
	d.note(location(dec.StackPointer()), message)
}

// refuse records a fault of dec's next value and skips the value.
func (d *decoder) refuse(dec *jsontext.Decoder, message string) error {
	d.fault(dec, message)
	return dec.SkipValue()
}

// location returns p in the form that problems use. It contains only names of our own
// fields, never of the client's.
func location(p jsontext.Pointer) string {
	var b strings.Builder
	b.WriteString("body")
	for token := range p.Tokens() {
		if _, err := strconv.Atoi(token); err == nil {
			b.WriteString("[" + token + "]")
		} else {
			b.WriteString("." + token)
		}
	}
	return b.String()
}

func (d *decoder) text(dec *jsontext.Decoder, to *string) (err error) {
	switch dec.PeekKind() {
	case '"':
		*to, err = unquoted(dec)
		return err
	case 'n':
		return dec.SkipValue()
	}
	return d.refuse(dec, "must be a string")
}

// unquoted reads a string token and decodes its escapes.
func unquoted(dec *jsontext.Decoder) (string, error) {
	raw, err := dec.ReadValue()
	if err != nil {
		return "", err
	}
	if bytes.IndexByte(raw, '\\') < 0 { // no escapes, which is much faster
		return string(raw[1 : len(raw)-1]), nil
	}
	text, err := jsontext.AppendUnquote(nil, raw)
	return string(text), err
}

func (d *decoder) user(dec *jsontext.Decoder, to *bridge.UserID) error {
	var bad error
	switch dec.PeekKind() {
	case '"':
		s, err := unquoted(dec)
		if err != nil {
			return err
		}
		*to, bad = bridge.ParseUserID(s)
	case '0':
		raw, err := dec.ReadValue()
		if err != nil {
			return err
		}
		bad = to.UnmarshalJSON(raw)
	case 'n':
		return dec.SkipValue()
	default:
		return d.refuse(dec, "must be a string or an integer")
	}
	if bad != nil {
		d.fault(dec, bad.Error())
	}
	return nil
}

// integer reads an integer from low to high. It refuses 1.0 and 1e2, because parsers
// disagree on whether those are integers.
func (d *decoder) integer(dec *jsontext.Decoder, low, high int64, to *int64, message string) error {
	switch dec.PeekKind() {
	case '0':
		raw, err := dec.ReadValue()
		if err != nil {
			return err
		}
		if n, err := strconv.ParseInt(string(raw), 10, 64); err == nil && n >= low && n <= high {
			*to = n
		} else {
			d.fault(dec, message)
		}
		return nil
	case 'n':
		return dec.SkipValue()
	}
	return d.refuse(dec, message)
}

// onOff reads a switch: 0, 1, true or false.
func (d *decoder) onOff(dec *jsontext.Decoder, to *onOff) error {
	raw, err := dec.ReadValue()
	if err != nil {
		return err
	}
	switch string(raw) {
	case "1", "true":
		*to = true
	case "0", "false":
		*to = false
	default:
		d.fault(dec, "must be 0, 1, true or false")
	}
	return nil
}

// switches reads an object that maps kinds to switches; null leaves it nil.
func (d *decoder) switches(dec *jsontext.Decoder, to *switches) error {
	switch dec.PeekKind() {
	case 'n':
		return dec.SkipValue()
	case '{':
	default:
		return d.refuse(dec, "must be an object that maps kinds to 0, 1 or null")
	}
	at := location(dec.StackPointer())
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	*to = switches{}
	for dec.PeekKind() != '}' {
		name, err := dec.ReadToken()
		if err != nil {
			return err
		}
		kind := bridge.Kind(name.String())
		raw, err := dec.ReadValue()
		if err != nil {
			return err
		}
		on := true
		switch string(raw) {
		case "1", "true":
			(*to)[kind] = &on
		case "0", "false":
			on = false
			(*to)[kind] = &on
		case "null":
			(*to)[kind] = nil
		default:
			d.note(at, "must be an object that maps kinds to 0, 1 or null")
		}
		if !kind.Valid() {
			d.note(at, "contains an invalid kind")
		}
	}
	_, err := dec.ReadToken()
	return err
}

// object reads a JSON object and keeps its bytes as they are.
func (d *decoder) object(dec *jsontext.Decoder, to *object) error {
	switch dec.PeekKind() {
	case '{':
		raw, err := dec.ReadValue()
		if err != nil {
			return err
		}
		switch size, huge := measure(raw); {
		case huge:
			d.fault(dec, "must not contain a number beyond the range of a double")
		case size > bridge.MaxData: // the service would find this too, after it copied all of it
			d.fault(dec, fmt.Sprintf("must have at most %d bytes, not %d", bridge.MaxData, size))
		default:
			*to = object(bytes.Clone(raw))
		}
		return nil
	case 'n':
		return dec.SkipValue()
	}
	return d.refuse(dec, "must be a JSON object")
}

// instant reads a time and keeps its bytes as they are.
func (d *decoder) instant(dec *jsontext.Decoder, to *instant) error {
	switch dec.PeekKind() {
	case '"', '0':
		raw, err := dec.ReadValue()
		if _, ok := instant(raw).time(); err == nil && !ok {
			d.fault(dec, wantInstant)
			return nil
		}
		*to = bytes.Clone(raw)
		return err
	case 'n':
		return dec.SkipValue()
	}
	return d.refuse(dec, wantInstant)
}

const wantInstant = "must be an RFC 3339 time or a number of seconds since 1970"

// measure returns the length of raw, which is valid JSON, without its white space. huge
// reports a number beyond the range of a float64, the type into which devices read
// numbers.
func measure(raw []byte) (size int, huge bool) {
	for i := 0; i < len(raw); {
		start := i
		switch c := raw[i]; {
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
			i++
			continue
		case c == '"':
			for i++; raw[i] != '"'; i++ {
				if raw[i] == '\\' {
					i++
				}
			}
			i++
		case c == '-' || '0' <= c && c <= '9':
			for i < len(raw) && strings.IndexByte("+-.0123456789Ee", raw[i]) >= 0 {
				i++
			}
			_, err := strconv.ParseFloat(string(raw[start:i]), 64)
			huge = huge || err != nil
		default:
			i++
		}
		size += i - start
	}
	return size, huge
}

// entries reads the drafts of a batch. It stops at the first entry beyond the limit,
// because a body has room for a million empty ones.
func (d *decoder) entries(dec *jsontext.Decoder, to *[]newNotification) error {
	if dec.PeekKind() != '[' {
		return d.refuse(dec, "must be an array")
	}
	at := location(dec.StackPointer())
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	for i := 0; ; i++ {
		switch k := dec.PeekKind(); {
		case k == ']':
			_, err := dec.ReadToken()
			return err
		case i == bridge.MaxBatch:
			d.bad.Add(at, "must have 1 to "+strconv.Itoa(bridge.MaxBatch)+" entries")
			return errEnough
		case k != '{':
			if err := dec.SkipValue(); err != nil {
				return err
			}
			d.fault(dec, "must be a JSON object")
		default:
			*to = append(*to, newNotification{})
			if err := json.UnmarshalDecode(dec, &(*to)[len(*to)-1]); err != nil {
				return err
			}
		}
	}
}
