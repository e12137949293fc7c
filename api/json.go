package api

import (
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth is how deep a body may nest: ours have three levels, and data is the
// caller's.
const maxDepth = 32

// reader reads one JSON text (RFC 8259) strictly, in one pass and without
// reflection: every text it accepts, encoding/json accepts with the same
// meaning (FuzzReader). Beyond the RFC it refuses what readers disagree on
// (RFC 7493): a name twice in one object, invalid UTF-8, half a surrogate pair;
// and nesting beyond maxDepth. Names match byte for byte.
type reader struct {
	b     []byte
	i     int
	depth int
	huge  bool // a number beyond the range of a float64 was passed
}

// syntaxError says why a text is no JSON. It holds none of the text.
type syntaxError struct {
	why string
	at  int // byte
}

func (e *syntaxError) Error() string {
	return fmt.Sprintf("the body is not valid JSON: %s, at byte %d", e.why, e.at)
}

func (r *reader) fail(why string) error { return &syntaxError{why, r.i} }

// peek passes white space and returns the byte that follows, 0 at the end.
func (r *reader) peek() byte {
	for r.i < len(r.b) {
		switch r.b[r.i] {
		case ' ', '\t', '\r', '\n':
			r.i++
		default:
			return r.b[r.i]
		}
	}
	return 0
}

// end wants nothing but white space to follow.
func (r *reader) end() error {
	if r.peek(); r.i < len(r.b) {
		return r.fail("something follows the value")
	}
	return nil
}

// enter passes an opening bracket; empty tells that the closing one followed.
func (r *reader) enter(closing byte) (empty bool, err error) {
	if r.depth++; r.depth > maxDepth {
		return false, r.fail(fmt.Sprintf("it is nested deeper than %d levels", maxDepth))
	}
	r.i++
	if r.peek() == closing {
		r.i++
		r.depth--
		return true, nil
	}
	return false, nil
}

// more passes what follows a member: a comma, or the closing bracket.
func (r *reader) more(closing byte) (bool, error) {
	switch r.peek() {
	case ',':
		r.i++
		return true, nil
	case closing:
		r.i++
		r.depth--
		return false, nil
	}
	return false, r.fail("a comma or a closing bracket is missing")
}

// object calls each with every name of the object that begins here; each must
// read the value.
func (r *reader) object(each func(name []byte) error) error {
	empty, err := r.enter('}')
	if empty || err != nil {
		return err
	}
	var seen names
	for more := true; more; {
		if r.peek() != '"' {
			return r.fail("a name is missing")
		}
		name, err := r.text()
		if err != nil {
			return err
		}
		if !seen.add(name) {
			return r.fail("a name appears twice in one object")
		}
		if r.peek() != ':' {
			return r.fail("a colon is missing")
		}
		r.i++
		if err := each(name); err != nil {
			return err
		}
		if more, err = r.more('}'); err != nil {
			return err
		}
	}
	return nil
}

// array calls each for every element of the array that begins here; each must
// read it.
func (r *reader) array(each func(i int) error) error {
	empty, err := r.enter(']')
	if empty || err != nil {
		return err
	}
	for i, more := 0, true; more; i++ {
		if err := each(i); err != nil {
			return err
		}
		if more, err = r.more(']'); err != nil {
			return err
		}
	}
	return nil
}

// skip passes any value.
func (r *reader) skip() error {
	switch c := r.peek(); {
	case c == '{':
		return r.object(func([]byte) error { return r.skip() })
	case c == '[':
		return r.array(func(int) error { return r.skip() })
	case c == '"':
		_, err := r.text()
		return err
	case c == '-' || isDigit(c):
		_, err := r.number()
		return err
	case c == 't':
		return r.word("true")
	case c == 'f':
		return r.word("false")
	case c == 'n':
		return r.word("null")
	case r.i >= len(r.b):
		return r.fail("it ends too early")
	}
	return r.fail("a value is missing")
}

// raw passes any value and returns its bytes as they stand.
func (r *reader) raw() ([]byte, error) {
	r.peek()
	start := r.i
	err := r.skip()
	return r.b[start:r.i], err
}

func (r *reader) word(w string) error {
	if len(r.b)-r.i < len(w) || string(r.b[r.i:r.i+len(w)]) != w {
		return r.fail("a value is missing")
	}
	r.i += len(w)
	return nil
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// number passes a number and returns it as it stands.
func (r *reader) number() ([]byte, error) {
	start := r.i
	digits := func() error {
		from := r.i
		for r.i < len(r.b) && isDigit(r.b[r.i]) {
			r.i++
		}
		if r.i == from {
			return r.fail("a digit is missing")
		}
		return nil
	}
	at := func(c byte) bool { return r.i < len(r.b) && r.b[r.i] == c }
	if at('-') {
		r.i++
	}
	if at('0') {
		r.i++
	} else if err := digits(); err != nil {
		return nil, err
	}
	whole := true
	if at('.') {
		r.i++
		whole = false
		if err := digits(); err != nil {
			return nil, err
		}
	}
	if at('e') || at('E') {
		r.i++
		whole = false
		if at('+') || at('-') {
			r.i++
		}
		if err := digits(); err != nil {
			return nil, err
		}
	}
	n := r.b[start:r.i]
	if !whole || len(n) > 300 {
		if _, err := strconv.ParseFloat(string(n), 64); err != nil {
			r.huge = true
		}
	}
	return n, nil
}

// text passes a string and returns its content: a part of the body, or a copy
// where the string has escapes.
func (r *reader) text() ([]byte, error) {
	r.i++
	start, ascii := r.i, true
	for ; r.i < len(r.b); r.i++ {
		switch c := r.b[r.i]; {
		case c == '"':
			s := r.b[start:r.i]
			if !ascii && !utf8.Valid(s) {
				return nil, r.fail("a string is not valid UTF-8")
			}
			r.i++
			return s, nil
		case c == '\\':
			return r.escaped(start)
		case c < ' ':
			return nil, r.fail("a string holds a bare control character")
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	return nil, r.fail("a string does not end")
}

// escaped reads the rest of the string that began at start, from its first
// escape on.
func (r *reader) escaped(start int) ([]byte, error) {
	s := append(make([]byte, 0, 2*(r.i-start)+32), r.b[start:r.i]...)
	for r.i < len(r.b) {
		c := r.b[r.i]
		r.i++
		switch {
		case c == '"':
			if !utf8.Valid(s) {
				return nil, r.fail("a string is not valid UTF-8")
			}
			return s, nil
		case c < ' ':
			return nil, r.fail("a string holds a bare control character")
		case c != '\\':
			s = append(s, c)
		default:
			var err error
			if s, err = r.escape(s); err != nil {
				return nil, err
			}
		}
	}
	return nil, r.fail("a string does not end")
}

// escape reads what follows a backslash.
func (r *reader) escape(s []byte) ([]byte, error) {
	if r.i >= len(r.b) {
		return nil, r.fail("a string does not end")
	}
	c := r.b[r.i]
	r.i++
	switch c {
	case '"', '\\', '/':
		return append(s, c), nil
	case 'b':
		return append(s, '\b'), nil
	case 'f':
		return append(s, '\f'), nil
	case 'n':
		return append(s, '\n'), nil
	case 'r':
		return append(s, '\r'), nil
	case 't':
		return append(s, '\t'), nil
	case 'u':
		u, ok := r.hex()
		if ok && utf16.IsSurrogate(u) {
			var low rune
			if r.i+1 < len(r.b) && r.b[r.i] == '\\' && r.b[r.i+1] == 'u' {
				r.i += 2
				low, ok = r.hex()
			}
			u = utf16.DecodeRune(u, low)
			ok = ok && u != utf8.RuneError
		}
		if ok {
			return utf8.AppendRune(s, u), nil
		}
	}
	return nil, r.fail("a string holds an invalid escape")
}

// hex reads the four digits of a \u escape.
func (r *reader) hex() (rune, bool) {
	if r.i+4 > len(r.b) {
		return 0, false
	}
	var u rune
	for _, c := range r.b[r.i : r.i+4] {
		switch {
		case isDigit(c):
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		u = u<<4 | rune(c)
	}
	r.i += 4
	return u, true
}

// names is the set of names of one object: a short list first, since ours are
// short, then a map, since strangers' may not be.
type names struct {
	few  [12][]byte
	n    int
	many map[string]struct{}
}

// add tells whether name is new.
func (s *names) add(name []byte) bool {
	if s.many == nil && s.n < len(s.few) {
		for _, f := range s.few[:s.n] {
			if string(f) == string(name) {
				return false
			}
		}
		s.few[s.n] = name
		s.n++
		return true
	}
	if s.many == nil {
		s.many = make(map[string]struct{}, 2*len(s.few))
		for _, f := range s.few {
			s.many[string(f)] = struct{}{}
		}
	}
	if _, known := s.many[string(name)]; known {
		return false
	}
	s.many[string(name)] = struct{}{}
	return true
}
