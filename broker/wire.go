package broker

import (
	"bytes"
	"unicode/utf8"
)

// scan reads the fields of a packet in order. The first one that is not there,
// or malformed, sets err; every later read gives zero values.
type scan struct {
	b       []byte
	err     *fault
	filters int // read so far
}

var errMalformed = &fault{codeMalformed, "the packet is malformed"}

func (s *scan) fail(f *fault) {
	if s.err == nil {
		s.err, s.b = f, nil
	}
}

// read returns the next n bytes.
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

// varint reads a Variable Byte Integer in its shortest form (MQTT 5 §1.5.5).
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

// text reads a UTF-8 string. Control characters may be refused (MQTT 5 §1.5.4),
// and are, so that no client can put them into logs and stores.
func (s *scan) text() []byte {
	b := s.binary()
	if !cleanText(b) {
		s.fail(errMalformed)
	}
	return b
}

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
	// U+0080 to U+009F begin with C2; as C2 begins nothing but U+0080 to U+00BF,
	// looking for the two bytes is enough.
	for i := 0; i+1 < len(b); i++ {
		if b[i] == 0xC2 && b[i+1] < 0xA0 {
			return false
		}
	}
	return utf8.Valid(b)
}

// end fails where anything is left.
func (s *scan) end() {
	if len(s.b) > 0 {
		s.fail(errMalformed)
	}
}

// result is err as an error, nil where there is none.
func (s *scan) result() error {
	if s.err != nil {
		return s.err
	}
	return nil
}

// validFilter reports whether b is a topic filter (MQTT 5 §4.7): wildcards stand
// alone in their level, and # in the last one.
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
