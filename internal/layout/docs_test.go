package layout

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var link = regexp.MustCompile(`\]\(([^)#\s]+)(#[^)\s]*)?\)`)

func TestLinksInTheDocsExist(t *testing.T) {
	seen := 0
	files(t, func(path string) {
		if filepath.Ext(path) != ".md" {
			return
		}
		b, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllSubmatch(b, -1) {
			target := string(m[1])
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			seen++
			if _, err := os.Stat(filepath.Join(root, filepath.Dir(path), target)); err != nil {
				t.Errorf("%s links to %s, which does not exist", path, target)
			}
		}
	})
	if seen == 0 {
		t.Fatal("no link was found")
	}
}

var testName = regexp.MustCompile(`\b(Test|Fuzz|Benchmark)[A-Z][A-Za-z0-9]+\b`)

// A document that names a missing test claims something that is not tested.
func TestTestsNamedInTheDocsExist(t *testing.T) {
	have := make(map[string]bool)
	named := make(map[string]string)
	files(t, func(path string) {
		b, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case strings.HasSuffix(path, ".go"):
			for _, m := range regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)\w+)\(`).FindAllSubmatch(b, -1) {
				have[string(m[1])] = true
			}
		case filepath.Ext(path) == ".md":
			for _, m := range testName.FindAll(b, -1) {
				named[string(m)] = path
			}
		}
	})
	for name, path := range named {
		if !have[name] {
			t.Errorf("%s names %s, which does not exist", path, name)
		}
	}
	if len(have) == 0 {
		t.Fatal("no test was found")
	}
}

var filePath = regexp.MustCompile("`((?:api|bench|bridge|broker|clients|cmd|db|deploy|docs|examples|internal|testdata)/[\\w./-]+\\.[a-z]+)`")

func TestFilesNamedInTheDocsExist(t *testing.T) {
	seen := 0
	files(t, func(path string) {
		if filepath.Ext(path) != ".md" || path == "CHANGELOG.md" || strings.HasPrefix(path, "docs/decisions/") {
			return // those describe the tree as it was
		}
		b, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range filePath.FindAllSubmatch(b, -1) {
			seen++
			if _, err := os.Stat(filepath.Join(root, string(m[1]))); err != nil {
				t.Errorf("%s names %s, which does not exist", path, m[1])
			}
		}
	})
	if seen == 0 {
		t.Fatal("no file name was found")
	}
}

// table returns the entries in backquotes in the first column of the table that
// docs/architecture.md has under a heading.
func table(t *testing.T, heading string) map[string]bool {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, "docs/architecture.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(b), "\n## "+heading+"\n")
	if !found {
		t.Fatalf("docs/architecture.md has no section %q", heading)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	entries := make(map[string]bool)
	for line := range strings.Lines(section) {
		cells := strings.Split(line, "|")
		if len(cells) < 3 {
			continue
		}
		for i, part := range strings.Split(cells[1], "`") {
			if i%2 == 1 {
				entries[part] = true
			}
		}
	}
	return entries
}

func TestTheDocumentListsEveryPackage(t *testing.T) {
	listed := table(t, "Packages")
	have := make(map[string]bool)
	files(t, func(path string) {
		if strings.HasSuffix(path, ".go") && !ofAnotherModule(path) {
			have[filepath.ToSlash(filepath.Dir(path))] = true
		}
	})
	have["bench"] = true // a module of its own
	for _, bus := range []string{"bridge/bus/bustest", "bridge/bus/inproc", "bridge/bus/postgres", "bridge/bus/redis"} {
		listed[bus] = true // in the row of bridge/bus
	}
	same(t, "package", have, listed)
}

func TestTheDocumentListsEveryInterface(t *testing.T) {
	have := make(map[string]bool)
	files(t, func(path string) {
		folder, _, _ := strings.Cut(path, "/")
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || folder != "bridge" && folder != "broker" && folder != "api" && folder != "db" {
			return
		}
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, path), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range f.Decls {
			d, ok := decl.(*ast.GenDecl)
			if !ok {
				continue
			}
			for _, spec := range d.Specs {
				s, ok := spec.(*ast.TypeSpec)
				if !ok || !s.Name.IsExported() {
					continue
				}
				if _, ok := s.Type.(*ast.InterfaceType); ok {
					have[f.Name.Name+"."+s.Name.Name] = true
				}
			}
		}
	})
	same(t, "interface", have, table(t, "Interfaces"))
}

func same(t *testing.T, what string, have, listed map[string]bool) {
	t.Helper()
	for name := range have {
		if !listed[name] {
			t.Errorf("docs/architecture.md does not list the %s %s", what, name)
		}
	}
	for name := range listed {
		if !have[name] {
			t.Errorf("docs/architecture.md lists the %s %s, which does not exist", what, name)
		}
	}
}

// The values of the key component are what operators search logs by.
func TestEveryComponentOfTheLogsIsDocumented(t *testing.T) {
	manual, err := os.ReadFile(filepath.Join(root, "docs/operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile(`(?m)^\| .component. \| (.*); without it`).FindSubmatch(manual)
	if row == nil {
		t.Fatal("docs/operations.md does not list the components")
	}
	documented := make(map[string]bool)
	for _, m := range regexp.MustCompile("`([a-z]+)`").FindAllSubmatch(row[1], -1) {
		documented[string(m[1])] = false
	}
	literal := regexp.MustCompile(`"component", "([a-z]+)"`)
	files(t, func(path string) {
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return
		}
		b, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range literal.FindAllSubmatch(b, -1) {
			if _, known := documented[string(m[1])]; !known {
				t.Errorf("%s logs component %s, which docs/operations.md does not list", path, m[1])
			}
			documented[string(m[1])] = true
		}
	})
	for name, used := range documented {
		if !used {
			t.Errorf("docs/operations.md lists component %s, which no log line has", name)
		}
	}
}

// A comment that begins with the name that a function had before it was renamed misleads, and
// no compiler sees it. Linters check exported names only.
func TestADocCommentBeginsWithTheNameThatItDocuments(t *testing.T) {
	word := regexp.MustCompile(`^[a-z]\w*`)
	seen := 0
	check := func(path, name string, doc *ast.CommentGroup) {
		first := word.FindString(doc.Text())
		if seen++; first != "" && first != name && name != "init" {
			t.Errorf("%s: the comment of %s begins with %q", path, name, first)
		}
	}
	files(t, func(path string) {
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return
		}
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, path), nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			return
		}
		for _, d := range f.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				check(path, d.Name.Name, d.Doc)
			case *ast.GenDecl:
				for _, s := range d.Specs {
					if s, ok := s.(*ast.TypeSpec); ok && len(d.Specs) == 1 {
						check(path, s.Name.Name, d.Doc)
					}
				}
			}
		}
	})
	if seen == 0 {
		t.Fatal("no Go file was found")
	}
}
