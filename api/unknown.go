package api

import (
	"bytes"
	"context"
	"net/url"
	"reflect"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/falconalert/falconbridge/bridge"
)

const (
	// maxUnknown is how many unknown fields X-Unknown-Fields names.
	maxUnknown = 10
	// maxUnknownName is how much of an unknown field's name is repeated, in bytes.
	maxUnknownName = 64
)

// unknownFields returns the locations of fields in data, a body for a t, that t does not
// have, such as "body.titel", at most maxFaults of them. It is called only for a body that
// has some.
//
// The names come from the client and are shown in a header and a problem, so each is
// truncated and percent-encoded: it cannot add a header, a list entry or markup.
func unknownFields(data []byte, t reflect.Type) []string {
	u := unknown{dec: jsontext.NewDecoder(bytes.NewBuffer(data), jsontext.AllowDuplicateNames(true))} // without a copy, or a record of names
	_ = u.value("body", t)                                                                            // decode reports a syntax error
	return u.at
}

type unknown struct {
	dec *jsontext.Decoder
	at  []string
}

// value skips the next value, which decode reads into a t.
func (u *unknown) value(at string, t reflect.Type) error {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch k := u.dec.PeekKind(); {
	case k == '{' && t.Kind() == reflect.Struct:
		return u.object(at, fieldsOf(t))
	case k == '[' && t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct:
		return u.array(at, t.Elem())
	}
	return u.dec.SkipValue()
}

func (u *unknown) object(at string, fields map[string]reflect.Type) error {
	if _, err := u.dec.ReadToken(); err != nil {
		return err
	}
	for u.dec.PeekKind() == '"' {
		token, err := u.dec.ReadToken()
		if err != nil {
			return err
		}
		name := token.String()
		if t, known := fields[name]; known {
			err = u.value(at+"."+name, t)
		} else {
			u.at = append(u.at, at+"."+url.PathEscape(name[:min(len(name), maxUnknownName)]))
			if err = u.dec.SkipValue(); err == nil && len(u.at) == maxFaults {
				err = errEnough
			}
		}
		if err != nil {
			return err
		}
	}
	_, err := u.dec.ReadToken()
	return err
}

func (u *unknown) array(at string, t reflect.Type) error {
	if _, err := u.dec.ReadToken(); err != nil {
		return err
	}
	for i := 0; u.dec.PeekKind() != ']'; i++ {
		if err := u.value(at+"["+strconv.Itoa(i)+"]", t); err != nil {
			return err
		}
	}
	_, err := u.dec.ReadToken()
	return err
}

// fieldsOf returns the types of t's fields by their names in JSON.
func fieldsOf(t reflect.Type) map[string]reflect.Type {
	fields := make(map[string]reflect.Type, t.NumField())
	for i := range t.NumField() {
		if name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ","); name != "" && name != "-" {
			fields[name] = t.Field(i).Type
		}
	}
	return fields
}

// reportUnknown names the unknown fields of the request's body in a header. With
// ?strict=1 it returns a fault at each of them instead.
func reportUnknown(ctx context.Context, at []string) error {
	if len(at) == 0 {
		return nil
	}
	x := exchangeOf(ctx)
	if x.r.URL.Query().Get("strict") != "1" {
		named := make([]string, 0, maxUnknown)
		for _, l := range at[:min(len(at), maxUnknown)] {
			named = append(named, strings.TrimPrefix(l, "body."))
		}
		x.w.Header().Set("X-Unknown-Fields", strings.Join(named, ", "))
		return nil
	}
	var bad bridge.InvalidError
	for _, l := range at {
		bad.Add(l, isUnknown)
	}
	return bad.Err()
}
