package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/falconalert/falconbridge/internal/testserver"
)

func TestMigrateGoesUpAndDown(t *testing.T) {
	t.Parallel()
	for name, env := range databases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := testserver.Prepare(t, env(t), "--auto-migrate=false")
			if err := p.Begin(); err != nil {
				t.Fatal(err)
			}
			if code, err := p.Wait(waitLimit); err != nil || code != 1 || !strings.Contains(p.Log(), "migrate up") {
				t.Fatalf("serve with pending migrations: exit %d, %v, %s", code, err, p.Log())
			}
			migrate := func(what, want string, flags ...string) {
				t.Helper()
				if out, errs, code := finish(t, p.Command(append([]string{"migrate", what}, flags...)...)); code != 0 || !strings.Contains(out, want) {
					t.Fatalf("migrate %s: exit %d, %s%s; want %q", what, code, out, errs, want)
				}
			}
			migrate("status", "pending")
			migrate("up", "applied")
			migrate("up", "nothing to do")
			migrate("status", "20")
			if err := p.Start(); err != nil {
				t.Fatal(err)
			}
			if err := p.Stop(); err != nil {
				t.Fatal(err)
			}
			migrate("down", "undone", "--yes")
			migrate("status", "pending")
			migrate("down", "nothing to do")
		})
	}
}

func TestMigrateDownAsksAtATerminal(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		flag, answer string
		down         bool
	}{
		"no":        {"", "no\n", false},
		"a bare y":  {"", "y\n", false},
		"yes":       {"", "yes\n", true},
		"not asked": {"--yes", "", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := testserver.Prepare(t, production)
			if _, errs, code := finish(t, p.Command("migrate", "up")); code != 0 {
				t.Fatalf("migrate up: exit %d, %s", code, errs)
			}
			args := []string{"migrate", "down"}
			if tt.flag != "" {
				args = append(args, tt.flag)
			}
			down, keys := atTerminal(t, p.Command(args...), true)
			if tt.answer != "" {
				down.says(t, "Type yes to continue")
				if _, err := io.WriteString(keys, tt.answer); err != nil {
					t.Fatal(err)
				}
			}
			down.wait(t)
			if got := down.out.String(); strings.Contains(got, " undone") != tt.down || strings.Contains(got, "nothing was changed") == tt.down || strings.Contains(got, "Type yes") != (tt.answer != "") {
				t.Errorf("it says %q", got)
			}
			if out, _, _ := finish(t, p.Command("migrate", "status")); strings.Contains(out, "pending") != tt.down {
				t.Errorf("afterwards: %s", out)
			}
		})
	}
}

func TestLookingCreatesNoDatabase(t *testing.T) {
	t.Parallel()
	for name, at := range map[string]func(dir string) []string{
		"in the data dir":   func(string) []string { return nil },
		"named by its path": func(dir string) []string { return []string{"--database-url=sqlite:" + filepath.Join(dir, "own.db")} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := testserver.Prepare(t, production)
			out, errs, code := finish(t, p.Command(append([]string{"migrate", "status"}, at(p.Dir)...)...))
			if code != 0 || !strings.Contains(out, "pending") || !strings.Contains(errs, "there is no database yet at "+p.Dir) {
				t.Errorf("exit %d, %s%s", code, out, errs)
			}
			if files, err := os.ReadDir(p.Dir); err != nil || len(files) > 0 {
				t.Errorf("it left %v, %v", files, err)
			}
		})
	}
}

func TestMigrateDownDropsNothingWithoutConfirmation(t *testing.T) {
	t.Parallel()
	for name, env := range databases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := testserver.NewProgram(t, env(t))
			notify(t, p.HTTP, "1", "stays")
			down := func(want string, flags ...string) {
				t.Helper()
				out, errs, code := finish(t, p.Command(append([]string{"migrate", "down"}, flags...)...))
				if code != exitFailed || out != "" || !strings.Contains(errs, want) {
					t.Errorf("migrate down %v: exit %d, %q %q; want %q", flags, code, out, errs, want)
				}
			}
			down("use --force")
			down("use --force", "--yes")
			down("confirm with --yes", "--force")
			if got := (caller{base: p.HTTP, token: sign(t, "1", 0)}).raws(t); len(got) != 1 {
				t.Errorf("the log has %v", got)
			}
			if err := p.Stop(); err != nil {
				t.Fatal(err)
			}
			down("falcon_notifications (rows: 1)")
			down("confirm with --yes")
			if err := p.Start(); err != nil {
				t.Fatal(err)
			}
			if got := (caller{base: p.HTTP, token: sign(t, "1", 0)}).raws(t); len(got) != 1 {
				t.Errorf("after the start the log has %v", got)
			}
			out, errs, code := finish(t, p.Command("migrate", "down", "--yes", "--force"))
			if code != 0 || !strings.Contains(out, "_log undone") {
				t.Errorf("with both flags: exit %d, %s%s", code, out, errs)
			}
			if err := p.Kill(); err != nil { // it cannot drain: its tables are gone
				t.Fatal(err)
			}
		})
	}
}
