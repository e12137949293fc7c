package bridge

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// maxDataDepth is how many levels of objects and arrays data may have. With the object that
// has the data these are the 32 levels that a request body may have.
const maxDataDepth = 31

// compactObject checks the data of a notification and returns it without white space. null and
// no data are nil.
func compactObject(raw json.RawMessage) (json.RawMessage, error) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || bytes.Equal(raw, []byte("null")) {
		return nil, nil
	}
	if raw[0] != '{' {
		return nil, errors.New("must be a JSON object")
	}
	var out bytes.Buffer
	if err := json.Compact(&out, raw); err != nil {
		return nil, errors.New("must be valid JSON")
	}
	if out.Len() > MaxData {
		return nil, fmt.Errorf("must have at most %d bytes, not %d", MaxData, out.Len())
	}
	return out.Bytes(), checkData(out.Bytes())
}

// checkData refuses valid, compact JSON that some databases or clients cannot process: deep
// nesting, the escape \u0000, which Postgres cannot store, and numbers beyond the range of a
// double, which JavaScript reads as Infinity.
func checkData(b []byte) error {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c == '{' || c == '[':
			if depth++; depth > maxDataDepth {
				return fmt.Errorf("must be nested at most %d levels deep", maxDataDepth)
			}
		case c == '}' || c == ']':
			depth--
		case c == '"':
			for i++; b[i] != '"'; i++ {
				if b[i] != '\\' {
					continue
				}
				if bytes.HasPrefix(b[i:], []byte(`\u0000`)) {
					return errors.New("must not contain a NUL character")
				}
				i++ // the escaped character
			}
		case c == '-' || '0' <= c && c <= '9':
			n := bytes.IndexAny(b[i:], ",]}") // always found, because b is an object
			if _, err := strconv.ParseFloat(string(b[i:i+n]), 64); err != nil {
				return errors.New("must not contain a number beyond the range of a double")
			}
			i += n - 1
		}
	}
	return nil
}
