package config

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/falconalert/falconbridge/bridge/token"
)

// A random key may end in 0x0a or 0x20. If it were trimmed it would be another key, and no token
// of the application would verify.
func TestABinarySecretIsUsedByteForByte(t *testing.T) {
	body := append(bytes.Repeat([]byte{0x9f, 0x41}, 15), 0x00)
	for _, end := range []string{"\n", " ", "\r\n", "\t", "\x00", "\xff", "\n\n  "} {
		want := append(bytes.Clone(body), end...)
		got, err := ParseSecrets(bytes.Clone(want))
		if len(want) < token.MinSecret { // 31 and one is 32
			t.Fatal("the test's key is short")
		}
		if err != nil || len(got) != 1 || !bytes.Equal(got[0], want) {
			t.Errorf("ending in %q: %q, error %v", end, got, err)
		}
	}
}

func TestASecretFileHasOneSecretALine(t *testing.T) {
	a, b := strings.Repeat("a", 32), strings.Repeat("b", 40)
	raw := string(bytes.Repeat([]byte{0xfb, 0xff, 0x0a, 0x20}, 8))
	for name, tt := range map[string]struct {
		file string
		want []string
	}{
		"one, no line end":            {a, []string{a}},
		"one":                         {a + "\n", []string{a}},
		"one, of Windows":             {a + "\r\n", []string{a}},
		"two, blank lines":            {"\n" + a + "\n  \n\n" + b + "\n\n", []string{a, b}},
		"a blank is part of it":       {a + " \n", []string{a + " "}},
		"base64":                      {"base64:+/8KIPv/CiD7/wog+/8KIPv/CiD7/wog+/8KIPv/CiA=\n", []string{raw}},
		"base64url without padding":   {"base64:-_8KIPv_CiD7_wog-_8KIPv_CiD7_wog-_8KIPv_CiA", []string{raw}},
		"hex in either case":          {"hex:" + strings.Repeat("fbFF0a20", 8), []string{raw}},
		"several, each its own way":   {"hex:" + strings.Repeat("fbff0a20", 8) + "\n" + a, []string{raw, a}},
		"letters that are not ASCII":  {strings.Repeat("ñ", 16), []string{strings.Repeat("ñ", 16)}},
		"as many as are tried":        {strings.Repeat(a+"\n", token.MaxSecrets), nil},
		"a BOM in a binary secret":    {"\xef\xbb\xbf" + raw, []string{"\xef\xbb\xbf" + raw}},
		"FF FE at a binary's start":   {"\xff\xfe" + raw, []string{"\xff\xfe" + raw}},
		"base64: as a part of a text": {"my base64:secret is this one, is it not?", []string{"my base64:secret is this one, is it not?"}},
	} {
		got, err := ParseSecrets([]byte(tt.file))
		if err != nil || tt.want != nil && fmt.Sprintf("%q", got) != fmt.Sprintf("%q", tt.want) {
			t.Errorf("%s: %q, error %v, want %q", name, got, err, tt.want)
		}
	}
	for name, tt := range map[string]struct{ file, want string }{
		"nothing":            {" \n\n", "empty"},
		"a short one":        {a + "\nshort", "line 2: 5 bytes"},
		"a short binary":     {"\x00\x01", "2 bytes"},
		"bad base64":         {"base64:" + a + "!", "is not base64"},
		"bad hex":            {a + "\nhex:0", "line 2: is not hexadecimal"},
		"short once decoded": {"hex:" + strings.Repeat("ab", 31), "31 bytes"},
		"a public key":       {"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "PEM"},
		"too many":           {strings.Repeat(a+"\n", token.MaxSecrets+1), "at most 64"},
	} {
		_, err := ParseSecrets([]byte(tt.file))
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), a) {
			t.Errorf("%s: error %v, want %q", name, err, tt.want)
		}
	}
}
