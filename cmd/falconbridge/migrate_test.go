package main

import (
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
			migrate := func(what, want string) {
				t.Helper()
				if out, errs, code := finish(t, p.Command("migrate", what)); code != 0 || !strings.Contains(out, want) {
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
			migrate("down", "taken back")
			migrate("status", "pending")
		})
	}
}
