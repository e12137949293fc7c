package config

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/falconalert/falconbridge/bridge/token"
)

// MaxSecretFile is the largest file with secrets that is read, in bytes.
const MaxSecretFile = 64 << 10

// ParseSecrets parses the content of --jwt-secret-file. A binary file is one secret, every byte
// of it: if it were trimmed, a random key that ends in 0x0a or 0x20 would become another key. A
// text file has one secret per line, ended by LF or CRLF; blanks are part of the secret. Errors
// contain nothing of the content.
func ParseSecrets(b []byte) (secrets [][]byte, err error) {
	if err := checkMark(b); err != nil {
		return nil, err
	}
	if !IsText(b) || bytes.Contains(b, []byte("-----BEGIN ")) {
		return [][]byte{b}, token.CheckSecret(b)
	}
	number, breaks := 0, bytes.Count(bytes.TrimSpace(b), []byte("\n"))
	for line := range bytes.Lines(b) {
		number++
		line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		secret, err := decodeSecret(line)
		if err == nil {
			err = token.CheckSecret(secret)
		}
		if err != nil && breaks > 0 {
			err = fmt.Errorf("line %d: %w", number, err)
		}
		if err != nil {
			return nil, err
		}
		secrets = append(secrets, secret)
	}
	switch {
	case len(secrets) == 0:
		return nil, errors.New("the file is empty")
	case len(secrets) > token.MaxSecrets:
		return nil, fmt.Errorf("contains %d secrets, but at most %d are tried", len(secrets), token.MaxSecrets)
	}
	return secrets, nil
}

// decodeSecret decodes base64:…, in either alphabet, with or without padding, and hex:…. Anything
// else is the secret itself.
func decodeSecret(line []byte) ([]byte, error) {
	if text, ok := bytes.CutPrefix(line, []byte("hex:")); ok {
		secret, err := hex.DecodeString(string(bytes.TrimSpace(text)))
		if err != nil {
			return nil, errors.New("is not hexadecimal")
		}
		return secret, nil
	}
	if text, ok := bytes.CutPrefix(line, []byte("base64:")); ok {
		plain := strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(string(bytes.TrimSpace(text)), "="))
		secret, err := base64.RawStdEncoding.DecodeString(plain)
		if err != nil {
			return nil, errors.New("is not base64")
		}
		return secret, nil
	}
	return line, nil
}

// IsText reports whether b is UTF-8 without control characters other than tabs and line ends.
func IsText(b []byte) bool {
	return utf8.Valid(b) && !bytes.ContainsFunc(b, func(r rune) bool {
		return unicode.IsControl(r) && r != '\t' && r != '\r' && r != '\n'
	})
}

// hasByteOrderMark reports whether b begins with a byte order mark of UTF-8 or UTF-16, which
// editors on Windows write invisibly at the start of a text.
func hasByteOrderMark(b []byte) bool {
	return bytes.HasPrefix(b, []byte("\xef\xbb\xbf")) || bytes.HasPrefix(b, []byte("\xff\xfe")) || bytes.HasPrefix(b, []byte("\xfe\xff"))
}

// checkMark fails for a text with a byte order mark. A binary secret may begin with the same
// bytes, but in UTF-16 every other byte is zero.
func checkMark(b []byte) error {
	if hasByteOrderMark(b) && (IsText(b) || bytes.Count(b, []byte{0}) >= len(b)/2-1) {
		return errors.New("begins with a byte order mark (BOM)")
	}
	return nil
}

// readText is like ReadFile, but refuses a byte order mark, which in a PEM file would hide the
// first block.
func readText(name string, limit int64) ([]byte, error) {
	b, err := ReadFile(name, limit)
	if err == nil {
		err = checkMark(b)
	}
	return b, err
}

// ReadFile reads a file of at most limit bytes. Its error continues a sentence that begins with
// the setting's name.
func ReadFile(name string, limit int64) ([]byte, error) {
	info, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, errors.New("the file does not exist")
	case err == nil && info.IsDir():
		return nil, errors.New("it is a directory")
	case err == nil && info.Size() > limit:
		return nil, errors.New("the file is too large")
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, errors.New("the file cannot be read")
	}
	return b, nil
}
