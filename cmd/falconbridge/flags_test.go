package main

import (
	"strings"
	"testing"

	"github.com/falconalert/falconbridge/internal/config"
	"github.com/falconalert/falconbridge/internal/testserver"
)

func TestAUsageErrorPointsToTheHelp(t *testing.T) {
	t.Parallel()
	p := testserver.Prepare(t, production)
	for name, tt := range map[string]struct {
		args []string
		want string
	}{
		"a flag that is missing":       {[]string{"send", "--user=1"}, "; see: falconbridge send --help"},
		"a flag that no command has":   {[]string{"--nothing"}, "; see: falconbridge --help"},
		"a flag of another command":    {[]string{"migrate", "down", "--title=x"}, "; see: falconbridge migrate down --help"},
		"a command without its second": {[]string{"migrate"}, "; see: falconbridge migrate --help"},
	} {
		t.Run(name, func(t *testing.T) {
			out, errs, code := finish(t, p.Command(tt.args...))
			if code != exitUsage || out != "" || len(lines(errs)) != 1 || !strings.HasSuffix(strings.TrimSpace(errs), tt.want) {
				t.Errorf("exit %d, %q %q; want %d and %q", code, out, errs, exitUsage, tt.want)
			}
		})
	}
}

func TestANegativeNumberIsRefusedByItsSetting(t *testing.T) {
	t.Parallel()
	p := testserver.Prepare(t, production)
	for flag, value := range map[string]string{"max-connections": "-1", "retention": "-1h", "packet-rate": "-.5"} {
		_, errs, code := finish(t, p.Command("serve", "--"+flag, value))
		if code != exitFailed || len(lines(errs)) != 1 || !strings.HasPrefix(errs, "falconbridge: --"+flag+" ("+config.Env(flag)+"): is not a") {
			t.Errorf("--%s %s: exit %d, %q", flag, value, code, errs)
		}
	}
}

func TestAFaultIsReportedOnce(t *testing.T) {
	t.Parallel()
	err := refused(422, []byte(`{"title":"Unprocessable Entity","detail":"body.title: has no text","errors":[{"location":"body.title","message":"has no text"}]}`))
	if got, want := err.Error(), "the server returned 422 Unprocessable Entity: body.title has no text"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	err = refused(403, []byte(`{"title":"Forbidden","detail":"the token lacks a scope"}`))
	if got, want := err.Error(), "the server returned 403 Forbidden: the token lacks a scope"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
