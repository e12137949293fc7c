package config

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the tables of docs/configuration.md")

const doc = "../../docs/configuration.md"

// The tables of docs/configuration.md are generated from the table of settings. After changing it,
// run: go test ./internal/config -update
func TestTheDocumentationHasTheTableOfSettings(t *testing.T) {
	old, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	b := old
	for _, g := range Groups {
		begin, end := fmt.Sprintf("<!-- settings: %s -->\n", g), "<!-- end of settings -->"
		before, rest, found := bytes.Cut(b, []byte(begin))
		_, after, ended := bytes.Cut(rest, []byte(end))
		if !found || !ended {
			t.Fatalf("%s has no part between %q and %q", doc, begin, end)
		}
		b = bytes.Join([][]byte{before, []byte(begin), []byte(markdown(g)), []byte(end), after}, nil)
	}
	if *update {
		if err := os.WriteFile(doc, b, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(old, b) {
		t.Errorf("%s differs from the table of settings; write it with: go test ./internal/config -update", doc)
	}
}

// markdown returns one group of settings as a Markdown table.
func markdown(g Group) string {
	out := "| flag | default | meaning |\n| --- | --- | --- |\n"
	for _, s := range Settings() {
		if s.Group != g || s.FileOf != "" {
			continue
		}
		var also []string
		for _, e := range s.Env {
			if e != Env(s.Flag) {
				also = append(also, "`"+e+"`")
			}
		}
		if s.InFile {
			also = append(also, "`--"+s.Flag+fileSuffix+"`")
		}
		name := "`--" + s.Flag + "`"
		if len(also) > 0 {
			name += " (" + strings.Join(also, ", ") + ")"
		}
		value := cmp.Or(s.Unset, "none")
		if s.Default != "" {
			value = "`" + s.Default + "`"
		}
		out += fmt.Sprintf("| %s | %s | %s |\n", name, value, strings.TrimSpace(s.Help+" "+s.More))
	}
	return out
}

// A row that lacks a field would show nothing, or read nothing.
func TestEveryRowOfTheTableIsComplete(t *testing.T) {
	seen := make(map[string]bool)
	for _, s := range Settings() {
		switch {
		case s.Flag == "" || s.Group == "" || s.Help == "" || s.Form == "" && !s.Toggle:
			t.Errorf("--%s lacks its flag, group, help or form", s.Flag)
		case seen[s.Flag]:
			t.Errorf("--%s is in the table twice", s.Flag)
		case s.Read == nil && s.FileOf == "":
			t.Errorf("--%s is read by nothing", s.Flag)
		case s.InFile && s.Mask == nil:
			t.Errorf("--%s is a secret that `config` would show", s.Flag)
		case s.Default != "" && s.Unset != "":
			t.Errorf("--%s has a default and cannot be unset", s.Flag)
		case strings.ContainsAny(s.Help, `"\`) || strings.Contains(s.Help, "${"):
			t.Errorf("--%s has a character in its help that the parser of flags reads", s.Flag)
		}
		seen[s.Flag] = true
	}
}

func TestAScopeChecksItsSettingsOnly(t *testing.T) {
	g := Read(map[string]string{"locale": "fr", "retention": "x"}, []string{"DATABASE_URL=mysql://h/d", "FALCON_BUS=kafka://k"})
	for name, tt := range map[string]struct {
		scope []string
		want  []string
	}{
		"a database":      {DatabaseScope, []string{"--database-url (DATABASE_URL)"}},
		"a signer":        {SigningScope, nil},
		"this machine":    {LocalMQTTScope, nil},
		"one word":        {[]string{"locale"}, []string{"--locale (FALCON_LOCALE)"}},
		"the whole table": {All(), []string{"--database-url (DATABASE_URL)", "--bus (FALCON_BUS)", "--retention (FALCON_RETENTION)", "--locale (FALCON_LOCALE)"}},
	} {
		_, ps := g.Check(tt.scope)
		var got []string
		for _, p := range ps {
			got = append(got, p.Name)
		}
		if fmt.Sprint(got) != fmt.Sprint(tt.want) {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}

// An error about DATABASE_URL must not name a variable that the user never set.
func TestABadValueIsNamedByTheVariableThatWasSet(t *testing.T) {
	dir := t.TempDir()
	empty := dir + "/empty"
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		typed map[string]string
		env   string
		want  string
	}{
		"DATABASE_URL":             {nil, "DATABASE_URL=mysql://h", "--database-url (DATABASE_URL): is not of Postgres"},
		"FALCON_DATABASE_URL":      {nil, "FALCON_DATABASE_URL=mysql://h", "--database-url (FALCON_DATABASE_URL): is not of Postgres"},
		"typed":                    {map[string]string{"database-url": "mysql://h"}, "DATABASE_URL=postgres://h/d", "--database-url (FALCON_DATABASE_URL): is not of Postgres"},
		"DATABASE_URL_FILE":        {nil, "DATABASE_URL_FILE=" + empty, "--database-url-file (DATABASE_URL_FILE): the file is empty"},
		"FALCON_DATABASE_URL_FILE": {nil, "FALCON_DATABASE_URL_FILE=/nowhere", "--database-url-file (FALCON_DATABASE_URL_FILE): the file does not exist"},
	} {
		_, ps := Read(tt.typed, []string{tt.env}).Check([]string{"database-url"})
		if err := ps.Err(); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
	c, ps := Read(nil, []string{"DATABASE_URL=postgres://h/d"}).Check(All())
	if len(ps) > 0 || c.Database() != "--database-url (DATABASE_URL)" {
		t.Errorf("once it is refused by the server: %s, %v", c.Database(), ps)
	}
}
