package layout

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var link = regexp.MustCompile(`\]\(([^)#\s]+)(#[^)\s]*)?\)`)

func TestLinksInTheDocsLeadSomewhere(t *testing.T) {
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
				t.Errorf("%s links to %s, which is not there", path, target)
			}
		}
	})
	if seen == 0 {
		t.Fatal("no link was found")
	}
}

var testName = regexp.MustCompile(`\b(Test|Fuzz|Benchmark)[A-Z][A-Za-z0-9]+\b`)

// Docs that name a test that is gone claim what nothing shows.
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
			t.Errorf("%s names %s, which is not there", path, name)
		}
	}
	if len(have) == 0 {
		t.Fatal("no test was found")
	}
}

// Whoever searches logs by a key's value has to know which there are.
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
			t.Errorf("docs/operations.md lists component %s, of which nothing logs", name)
		}
	}
}
