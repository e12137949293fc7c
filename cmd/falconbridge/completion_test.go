package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/falconalert/falconbridge/internal/testserver"
)

func TestCompletionCandidates(t *testing.T) {
	t.Parallel()
	for line, tt := range map[string]struct{ want, not []string }{
		"":                          {[]string{"serve", "migrate", "tail", "completion"}, []string{"complete", "up"}},
		"mi":                        {[]string{"migrate"}, []string{"serve"}},
		"migrate ":                  {[]string{"up", "down", "status"}, []string{"serve"}},
		"tail --p":                  {[]string{"--persistent"}, []string{"--user"}},
		"tail --":                   {[]string{"--user", "--json", "--help"}, []string{"--session-ttl"}},
		"tail --m":                  {[]string{"--mqtt-url"}, []string{"--max-connections"}},
		"tail --u":                  {[]string{"--user"}, []string{"--url"}}, // it makes no REST call
		"send --":                   {[]string{"--url", "--token"}, []string{"--mqtt-url"}},
		"explain --":                {[]string{"--url", "--token"}, []string{"--mqtt-url"}},
		"healthcheck --":            {[]string{"--url", "--live"}, []string{"--mqtt-url", "--token", "--token-file"}},
		"serve --s":                 {[]string{"--session-ttl"}, []string{"--since"}},
		"--http-addr :1 to":         {[]string{"token"}, nil},
		"tail --persistent ":        {nil, []string{"true"}},
		"token --scope ":            {[]string{"admin", "notifications:read"}, nil},
		"token --scope = n":         {[]string{"notifications:read", "notifications:write"}, []string{"admin"}},
		"token --scope=n":           {[]string{"--scope=notifications:read"}, []string{"admin"}},
		"serve --log-level=debug -": {[]string{"--locale"}, nil},
		"completion ":               {[]string{"bash", "zsh", "fish"}, nil},
		"completion bash ":          {nil, []string{"bash"}},
		"serve --tls-cert ":         {nil, []string{"serve"}},
		"nonsense ":                 {nil, nil},
	} {
		t.Run(line, func(t *testing.T) {
			var c commands
			app, err := kong.New(&c, kong.Embed(settingFlags()))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, w := range complete(app.Model.Node, strings.Split(line, " ")) {
				got = append(got, w.word)
			}
			if tt.want == nil && tt.not != nil && len(got) > 0 {
				t.Errorf("%v, want nothing", got)
			}
			for _, w := range tt.want {
				if !slices.Contains(got, w) {
					t.Errorf("%q is not among %v", w, got)
				}
			}
			for _, w := range tt.not {
				if slices.Contains(got, w) {
					t.Errorf("%q is among %v", w, got)
				}
			}
		})
	}
}

// Bash is installed wherever these tests run. The other shells get the same words.
func TestBashCompletes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Symlink(testserver.Binary(t), filepath.Join(dir, "falconbridge")); err != nil {
		t.Fatal(err)
	}
	for words, want := range map[string]string{
		`falconbridge migrate ""`:           "up down status",
		`falconbridge token --scope adm`:    "admin",
		`falconbridge tail --user 1 --cou`:  "--count",
		`falconbridge serve --tls-cert ""`:  "",
		`falconbridge --log-format = "jso"`: "json",
	} {
		cmd := exec.Command("bash", "-c", `set -eu; source <(falconbridge completion bash)
			COMP_WORDS=(`+words+`); COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 )); _falconbridge; echo "${COMPREPLY[*]}"; complete -p falconbridge >&2`)
		cmd.Env = append(testserver.Environ(nil), "PATH="+dir+":"+os.Getenv("PATH"))
		out, errs, code := finish(t, cmd)
		if code != 0 || strings.TrimSpace(out) != want || !strings.Contains(errs, "_falconbridge") {
			t.Errorf("%s: %q, want %q; exit %d, %s", words, out, want, code, errs)
		}
	}
}

func TestEveryHelpHasExamples(t *testing.T) {
	t.Parallel()
	var c commands
	app, err := kong.New(&c, kong.Vars{"version": ""})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range app.Model.Leaves(true) {
		if n.Type != kong.CommandNode {
			continue
		}
		_, example, found := strings.Cut(n.Detail, "Example")
		if n.Name == "serve" { // it is the default command
			example += n.Name
		}
		if !found || !strings.Contains(example, "falconbridge") || !strings.Contains(example, n.Name) {
			t.Errorf("the help of %s has no example: %q", n.Path(), n.Detail)
		}
	}
	if !strings.Contains(about, "Examples:") {
		t.Error("the program's own help has none")
	}
}
