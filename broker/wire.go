package broker

import (
	"bytes"
	"unicode/utf8"
)

// scan reads the fields of a packet in order. The first field that is missing or malformed
// sets err, and every later read returns a zero value, so callers check err once at the
// end.
type scan struct {
	b       []byte // what is left
	err     *fault
	filters int // topic filters read so far
}

var errMalformed = &fault{codeMalformed, "the packet is malformed"}

// fail sets the error, unless there was one before.
func (s *scan) fail(f *fault) {
	if s.err == nil {
		s.err, s.b = f, nil
	}
}

// read returns the next n bytes, or nil if there are fewer.
func (s *scan) read(n int) []byte {
	if len(s.b) < n {
		s.fail(errMalformed)
		return nil
	}
	b := s.b[:n]
	s.b = s.b[n:]
	return b
}

func (s *scan) u8() byte {
	if b := s.read(1); b != nil {
		return b[0]
	}
	return 0
}

func (s *scan) u16() int {
	if b := s.read(2); b != nil {
		return int(b[0])<<8 | int(b[1])
	}
	return 0
}

func (s *scan) u32() uint32 {
	return uint32(s.u16())<<16 | uint32(s.u16())
}

// varint reads a Variable Byte Integer, which must have its shortest form (MQTT 5 §1.5.5).
func (s *scan) varint() int {
	n := 0
	for i := range 4 {
		b := s.u8()
		n |= int(b&0x7F) << (7 * i)
		if b&0x80 == 0 {
			if b == 0 && i > 0 {
				s.fail(errMalformed)
			}
			return n
		}
	}
	s.fail(errMalformed)
	return 0
}

func (s *scan) binary() []byte { return s.read(s.u16()) }

// text reads a UTF-8 string. It refuses control characters, as MQTT 5 §1.5.4 allows, so
// that no client can put them into logs and databases.
func (s *scan) text() []byte {
	b := s.binary()
	if !cleanText(b) {
		s.fail(errMalformed)
	}
	return b
}

// cleanText reports whether b is valid UTF-8 without control characters, U+0000 to U+001F
// and U+007F to U+009F.
func cleanText(b []byte) bool {
	ascii := true
	for _, c := range b {
		if c < ' ' || c == 0x7F {
			return false
		}
		ascii = ascii && c < utf8.RuneSelf
	}
	if ascii {
		return true
	}
	// U+0080 to U+009F are C2 80 to C2 9F. In valid UTF-8, C2 is always a first byte, so it
	// is enough to look for the two bytes.
	for i := 0; i+1 < len(b); i++ {
		if b[i] == 0xC2 && b[i+1] < 0xA0 {
			return false
		}
	}
	return utf8.Valid(b)
}

// end fails if there are bytes left.
func (s *scan) end() {
	if len(s.b) > 0 {
		s.fail(errMalformed)
	}
}

// result returns err as an error, which is nil if there was none.
func (s *scan) result() error {
	if s.err != nil {
		return s.err
	}
	return nil
}

// validFilter reports whether b is a topic filter (MQTT 5 §4.7): a wildcard must be alone
// in its level, and # only in the last level.
func validFilter(b []byte) bool {
	if len(b) == 0 {
		return false
	}
	for rest := b; ; {
		level, next, more := bytes.Cut(rest, []byte{'/'})
		switch {
		case bytes.IndexByte(level, '#') >= 0 && (len(level) > 1 || more):
			return false
		case bytes.IndexByte(level, '+') >= 0 && len(level) > 1:
			return false
		}
		if !more {
			return true
		}
		rest = next
	}
}
