package testserver

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Sources returns the Go files that match the patterns, without tests. A pattern that no file
// matches fails the test, which would otherwise check nothing after a file was moved.
func Sources(t testing.TB, patterns ...string) (files []string) {
	t.Helper()
	for _, pattern := range patterns {
		found, err := filepath.Glob(pattern)
		found = slices.DeleteFunc(found, func(f string) bool { return strings.HasSuffix(f, "_test.go") })
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %d files, %v", pattern, len(found), err)
		}
		files = append(files, found...)
	}
	return files
}
