package layout

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	createdFunction = regexp.MustCompile(`(?mi)^CREATE (?:OR REPLACE )?FUNCTION (falcon_\w+)`)
	calledFunction  = regexp.MustCompile(`\b(falcon_\w+)\(`)
	functionText    = regexp.MustCompile(`\b(falcon_\w+), whose current text is in the migration (\w+)`)
)

// textPhrase is the part of functionText that every such comment has, however it continues.
const textPhrase = "current text is in"

// A function of the Postgres schema is replaced as a whole by a later migration, so only its
// newest text counts. Go files that call one name the migration of that text:
//
//	falcon_append, whose current text is in the migration 20261129000121_kinds
//
// A new migration that replaces the function must change the comments.
func TestCommentsNameTheNewestMigrationOfAFunction(t *testing.T) {
	newest := newestMigrations(t)
	named, called := make(map[string]bool), make(map[string]string)
	files(t, func(path string) {
		if !strings.HasPrefix(path, "db/") || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return
		}
		src, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range calledFunction.FindAllSubmatch(src, -1) {
			called[string(m[1])] = path
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, src, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, group := range f.Comments {
			text := strings.Join(strings.Fields(group.Text()), " ")
			found := functionText.FindAllStringSubmatch(text, -1)
			if strings.Count(text, textPhrase) != len(found) {
				t.Errorf("%s: a comment with %q is not of the form \"falcon_x, whose current text is in the migration y\"", path, textPhrase)
			}
			for _, m := range found {
				named[m[1]] = true
				if is := newest[m[1]]; m[2] != is {
					t.Errorf("%s: the current text of %s is in the migration %q, not %q", path, m[1], is, m[2])
				}
			}
		}
	})
	for name, path := range called {
		if !named[name] {
			t.Errorf("%s calls %s, but no comment in db names its migration, %s", path, name, newest[name])
		}
	}
	if len(called) == 0 {
		t.Fatal("no call of a function was found")
	}
}

// newestMigrations returns the last migration that creates or replaces each function.
func newestMigrations(t *testing.T) map[string]string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(root, "db/migrations/postgres/*.up.sql"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no migrations were found: %v", err)
	}
	slices.Sort(paths)
	newest := make(map[string]string)
	for _, path := range paths {
		sql, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name, _, _ := strings.Cut(filepath.Base(path), ".")
		for _, m := range createdFunction.FindAllSubmatch(sql, -1) {
			newest[string(m[1])] = name
		}
	}
	return newest
}
