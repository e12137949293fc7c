package main

import (
	"strings"
	"testing"

	"github.com/falconalert/falconbridge/internal/testserver"
)

func TestExplainPrintsWhatBecameOfANotification(t *testing.T) {
	t.Parallel()
	p := testserver.NewProgram(t, production)
	if _, errs, code := finish(t, p.Command("send", "--user=7", "--title=hush", "--message=hush")); code != 0 {
		t.Fatalf("send: %d, %s", code, errs)
	}
	for name, tt := range map[string]struct {
		args []string
		code int
		sees string
	}{
		"words":          {[]string{"explain", "1"}, 0, "live  user 7, #1, id 1, message, committed "},
		"JSON":           {[]string{"explain", "1", "--json"}, 0, `"state":"live","devices":[],"pushes":[],"webhooks":[]}`},
		"an unknown one": {[]string{"explain", "99"}, 1, "the server answered 404"},
	} {
		out, errs, code := finish(t, p.Command(tt.args...))
		if all := out + errs; code != tt.code || !strings.Contains(all, tt.sees) || strings.Contains(all, "hush") {
			t.Errorf("%s: %d, %q", name, code, all)
		}
	}
}
