package main

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/internal/config"
	"github.com/falconalert/falconbridge/internal/testserver"
)

var (
	pageLine = regexp.MustCompile(`(?m)^\s*(http://127\.0\.0\.1:\d+)/#token=(\S+)$`)
	curlLine = regexp.MustCompile(`(?m)^\s*(curl .*)$`)
	jwtLine  = regexp.MustCompile(`(?m)^\s*(eyJ\S+)$`)
)

// A newcomer starts the program without any settings, opens the page that it prints, and
// runs the line that it prints.
func TestANewcomerNeedsNothing(t *testing.T) {
	t.Parallel()
	p := testserver.NewProgram(t, nil)
	var page, curl, admin []string
	testserver.Eventually(t, 5*time.Second, func() error {
		page = pageLine.FindStringSubmatch(p.Stdout())
		curl = curlLine.FindStringSubmatch(p.Stdout())
		if admin = jwtLine.FindStringSubmatch(p.Stdout()); page == nil || curl == nil || admin == nil {
			return fmt.Errorf("want a page, a curl line and a token in %q", p.Stdout())
		}
		return nil
	})
	if page[1] != p.HTTP {
		t.Errorf("the page is at %s, the program at %s", page[1], p.HTTP)
	}
	one := caller{base: page[1], token: page[2]}
	var html string
	head := one.do(t, "GET", "/", nil, 200, &html)
	if !strings.HasPrefix(head.Get("Content-Type"), "text/html") {
		t.Errorf("the page is %s", head.Get("Content-Type"))
	}
	if got := one.raws(t); len(got) != 0 {
		t.Errorf("a new inbox contains %q", got)
	}
	if out, errs, code := finish(t, exec.Command("sh", "-c", curl[1])); code != 0 || !strings.Contains(out, `"seq":1`) {
		t.Fatalf("the curl line: exit %d, %s %s", code, out, errs)
	}
	got := one.raws(t)
	if len(got) != 1 || !strings.Contains(got[0], `"title":"Hola"`) {
		t.Errorf("after the curl line the inbox contains %q", got)
	}
	caller{base: p.HTTP, token: admin[1]}.do(t, "GET", "/admin/connections", nil, 200, nil)
	if strings.Contains(p.Log(), page[2]) || strings.Contains(p.Log(), admin[1]) {
		t.Error("a token stands in the log")
	}

	key := filepath.Join(p.Dir, config.DevelopmentKeyFile)
	info, err := os.Stat(key)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the development key: %v, %v", info, err)
	}
	if err := p.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(key, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	if got := one.raws(t); len(got) != 1 {
		t.Errorf("after a restart the same token sees %q", got)
	}
	if info, err := os.Stat(key); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("an open key stays open: %v, %v", info, err)
	}
}

// An English start used to print a curl line with a Spanish notification. It also prints
// where the console and the API reference are.
func TestThePrintedNotificationIsInTheConfiguredLanguage(t *testing.T) {
	t.Parallel()
	p := testserver.NewProgram(t, nil, "--locale=en")
	testserver.Eventually(t, 5*time.Second, func() error {
		for _, want := range []string{`{"title":"Hello","message":"It works.","created_by":1}`, p.HTTP + "/console\n", p.HTTP + "/docs\n"} {
			if !strings.Contains(p.Stdout(), want) {
				return fmt.Errorf("printed %q, want %q in it", p.Stdout(), want)
			}
		}
		return nil
	})
}

func TestWithAKeyNoTokenIsPrinted(t *testing.T) {
	t.Parallel()
	p := testserver.NewProgram(t, production)
	if p.Stdout() != "" || strings.Contains(p.Log(), "eyJ") {
		t.Errorf("printed %q, logged %q", p.Stdout(), p.Log())
	}
	resp, err := http.Get(p.HTTP + "/notifications")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != 401 {
		t.Errorf("without a token: %d, want 401", resp.StatusCode)
	}
	if _, err := os.Stat(filepath.Join(p.Dir, config.DevelopmentKeyFile)); !os.IsNotExist(err) {
		t.Errorf("a development key was made: %v", err)
	}
}

func TestANewDevelopmentKeyIsAnnounced(t *testing.T) {
	t.Parallel()
	p := testserver.Prepare(t, nil)
	for _, made := range []bool{true, false} {
		out, errs, code := finish(t, p.Command("token", "--user=1"))
		if code != 0 || len(lines(out)) != 1 || strings.Contains(errs, "made a new development key, "+filepath.Join(p.Dir, config.DevelopmentKeyFile)) != made || (errs != "") != made {
			t.Errorf("exit %d, %q; want it printed: %v", code, errs, made)
		}
	}
}
