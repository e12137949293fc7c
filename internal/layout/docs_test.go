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
