package main

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/falconalert/falconbridge/internal/testserver"
)

// previous is what a rollback goes back to: the last release, or until there is one the
// commit that stands for it.
const previous = "e1e9043"

// previousBinary builds it from this repository's history.
func previousBinary(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	binary := filepath.Join(dir, "falconbridge")
	script := fmt.Sprintf("git -C ../.. archive %s | tar -x -C %s && cd %s && go build -o %s ./cmd/falconbridge", previous, dir, dir, binary+".old")
	if out, err := exec.CommandContext(t.Context(), "sh", "-c", script).CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", previous, err, out)
	}
	return binary + ".old"
}

// A rollback never needs migrate down: it is a start of the former binary.
func TestThePreviousReleaseRunsOnTheNewSchema(t *testing.T) {
	t.Parallel()
	old := previousBinary(t)
	for name, env := range databases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			settings := maps.Clone(env(t))
			p := testserver.NewProgram(t, settings) // migrates
			settings["FALCON_DATA_DIR"] = p.Dir
			notify(t, p.HTTP, "1", "by the new one")
			if err := p.Stop(); err != nil {
				t.Fatal(err)
			}
			addr := fmt.Sprintf("127.0.0.1:%d", testserver.FreePort(t))
			cmd := exec.CommandContext(t.Context(), old, "serve", "--http-addr="+addr, "--mqtt-addr=off", "--admin-addr=off")
			cmd.Env = os.Environ()
			for k, v := range settings {
				cmd.Env = append(cmd.Env, k+"="+v)
			}
			var log bytes.Buffer
			cmd.Stdout, cmd.Stderr = &log, &log
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
			c := caller{base: "http://" + addr, token: sign(t, "1", 0)}
			testserver.Eventually(t, waitLimit, func() error { return answers(c, "/readyz", http.StatusOK) })
			notify(t, c.base, "1", "by the old one")
			var items []struct{ Title string }
			c.do(t, "GET", "/notifications", nil, http.StatusOK, &items)
			if len(items) != 2 || items[0].Title != "by the old one" || items[1].Title != "by the new one" {
				t.Errorf("%+v", items)
			}
		})
	}
}
