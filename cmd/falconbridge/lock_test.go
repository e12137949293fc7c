package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/falconalert/falconbridge/internal/config"
	"github.com/falconalert/falconbridge/internal/testserver"
)

func TestASecondServerOnOneSQLiteFileIsRefused(t *testing.T) {
	t.Parallel()
	for name, at := range map[string]func(dir string) string{
		"in the data dir":   func(dir string) string { return "--data-dir=" + dir },
		"named by its path": func(dir string) string { return "--database-url=sqlite:" + filepath.Join(dir, config.DatabaseFile) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			first := testserver.NewProgram(t, production)
			second := testserver.Prepare(t, production, at(first.Dir))
			if err := second.Begin(); err != nil {
				t.Fatal(err)
			}
			code, err := second.Wait(waitLimit)
			got := lines(second.Log())
			if err != nil || code != exitFailed || len(got) == 0 {
				t.Fatalf("the second: exit %d, %v, %s", code, err, second.Log())
			}
			last := got[len(got)-1]
			for _, want := range []string{"falconbridge: --da", "another server is using", "--data-dir", "--database-url"} {
				if !strings.Contains(last, want) {
					t.Errorf("the second says %q, without %q", last, want)
				}
			}
			caller{base: first.HTTP}.do(t, "GET", "/readyz", nil, 200, nil)

			for _, args := range [][]string{{"migrate", "status"}, {"migrate", "up"}, {"token", "--user=1"}, {"import", "--from=" + sample}} {
				if _, errs, code := finish(t, first.Command(args...)); code != 0 {
					t.Errorf("%v while the server runs: exit %d, %s", args, code, errs)
				}
			}

			if err := first.Kill(); err != nil { // which leaves the file without a lock
				t.Fatal(err)
			}
			if _, err := os.Stat(filepath.Join(first.Dir, config.DatabaseFile+".lock")); err != nil {
				t.Errorf("the lock's file: %v", err)
			}
			if err := second.Start(); err != nil {
				t.Fatalf("after the first was killed: %v, %s", err, second.Log())
			}
			if err := second.Stop(); err != nil {
				t.Fatal(err)
			}
			if err := first.Start(); err != nil {
				t.Fatalf("after the second stopped: %v, %s", err, first.Log())
			}
		})
	}
}
