package main

import (
	"errors"
	"io/fs"
	"os"
	"strings"
)

// maxSecretFile bounds what is read of a file that holds one secret, in bytes.
const maxSecretFile = 64 << 10

// secret resolves a value that may stand in a file instead. Where one of both was
// typed, it beats the other from the environment. Blanks and line ends around
// what a file holds are not part of it.
func (s *settings) secret(ps *problems, name, value, file string) string {
	twin := name + "-file"
	switch {
	case file == "":
		return value
	case value != "" && s.typed[name] == s.typed[twin]:
		ps.add(name, "is given together with --"+twin, "give one of both")
		return ""
	case value != "" && s.typed[name]:
		return value
	}
	b, err := readFile(file, maxSecretFile)
	if err != nil {
		ps.add(twin, err.Error(), "name a file that this user can read")
		return ""
	}
	text := strings.TrimSpace(string(b))
	if text == "" {
		ps.add(twin, "the file is empty", "write the secret into it")
	}
	return text
}

// readFile reads a file of at most limit bytes. Its error is fit for a line that
// names the setting.
func readFile(name string, limit int64) ([]byte, error) {
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
