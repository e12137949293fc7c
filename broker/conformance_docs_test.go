package broker

import (
	"bufio"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	statement = regexp.MustCompile(`^\d+\.\d+\.\d+-\d+$`)
	namedTest = regexp.MustCompile("`((?:Test|Fuzz)[A-Z]\\w+)`")
	testFunc  = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
)

// statements returns the statements of testdata/statements.txt, each with its standard.
func statements(t *testing.T) map[string]bool {
	f, err := os.Open("testdata/statements.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all := map[string]bool{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if line := lines.Text(); !strings.HasPrefix(line, "#") {
			all[line] = true
		}
	}
	if len(all) != 251+141 {
		t.Fatalf("%d statements, the standards have 251 and 141", len(all))
	}
	return all
}

// tests returns the names of all tests of the repository.
func tests(t *testing.T) map[string]bool {
	all := map[string]bool{}
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "node_modules" || d.Name() == ".git"):
			return fs.SkipDir
		case !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		b, err := os.ReadFile(path)
		for _, m := range testFunc.FindAllSubmatch(b, -1) {
			all[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Every normative statement of both standards is in docs/conformance.md once, with a test
// that exists, or with the reason why it cannot apply.
func TestEveryStatementIsAccountedFor(t *testing.T) {
	doc, err := os.ReadFile("../docs/conformance.md")
	if err != nil {
		t.Fatal(err)
	}
	open, known := statements(t), tests(t)
	section := ""
	for line := range strings.Lines(string(doc)) {
		if title, ok := strings.CutPrefix(line, "## "); ok {
			section = strings.TrimSpace(title)
		}
		for _, m := range namedTest.FindAllStringSubmatch(line, -1) {
			if !known[m[1]] {
				t.Errorf("%s is named, and there is no such test", m[1])
			}
		}
		cells := strings.Split(line, "|")
		if len(cells) != 6 || section != "Statements and their tests" && section != "Statements that do not apply" {
			continue
		}
		numbers := 0
		for i, standard := range map[int]string{1: "5", 2: "3.1.1"} {
			for id := range strings.SplitSeq(cells[i], ",") {
				if id = strings.TrimSpace(id); !statement.MatchString(id) {
					continue
				}
				numbers++
				if !open[standard+" "+id] {
					t.Errorf("%s of MQTT %s is no statement, or stands here twice", id, standard)
				}
				delete(open, standard+" "+id)
			}
		}
		if numbers == 0 {
			continue
		}
		if len(strings.TrimSpace(cells[3])) < 4 || len(strings.TrimSpace(cells[4])) < 4 {
			t.Errorf("a row says too little: %s", line)
		}
		if section == "Statements and their tests" && !namedTest.MatchString(cells[4]) {
			t.Errorf("a row names no test: %s", line)
		}
	}
	for id := range open {
		t.Errorf("nothing is said of MQTT %s", id)
	}
}
