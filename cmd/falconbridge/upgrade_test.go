package main

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/falconalert/falconbridge/internal/testserver"
)

// A rollback never requires migrate down: the former binary runs on the new schema.
func TestThePreviousReleaseRunsOnTheNewSchema(t *testing.T) {
	t.Parallel()
	for name, env := range databases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := testserver.NewProgram(t, env(t)) // migrates
			notify(t, p.HTTP, "1", "by the new one")
			if err := p.Stop(); err != nil {
				t.Fatal(err)
			}
			p.Downgrade(t)
			if err := p.Start(); err != nil {
				t.Fatal(err)
			}
			notify(t, p.HTTP, "1", "by the old one")
			var items []struct{ Title string }
			caller{base: p.HTTP, token: sign(t, "1", 0)}.do(t, "GET", "/notifications", nil, 200, &items)
			if len(items) != 2 || items[0].Title != "by the old one" || items[1].Title != "by the new one" {
				t.Errorf("%+v", items)
			}
		})
	}
}

// As when a cluster starts, or an upgrade replaces all its nodes at once.
func TestThreeProgramsStartedAtOnceMigrateOnce(t *testing.T) {
	t.Parallel()
	for name, upgrade := range map[string]bool{"an empty database": false, "one of the previous release": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := testserver.Postgres(t)
			env := maps.Clone(with("DATABASE_URL", url))
			if upgrade {
				old := testserver.Prepare(t, env)
				old.Downgrade(t)
				if err := old.Start(); err != nil {
					t.Fatal(err)
				}
				notify(t, old.HTTP, "1", "before")
				if err := old.Stop(); err != nil {
					t.Fatal(err)
				}
			}
			nodes := make([]*testserver.Program, 3)
			for i := range nodes {
				nodes[i] = testserver.Prepare(t, env)
			}
			for _, p := range nodes {
				if err := p.Begin(); err != nil {
					t.Fatal(err)
				}
			}
			for i, p := range nodes {
				if err := p.WaitReady(waitLimit); err != nil {
					t.Fatal(err)
				}
				notify(t, p.HTTP, "1", fmt.Sprint("by node ", i))
			}
			want := len(nodes)
			if upgrade {
				want++
			}
			if got := (caller{base: nodes[0].HTTP, token: sign(t, "1", 0)}).raws(t); len(got) != want {
				t.Errorf("the log has %v, want %d", got, want)
			}
			db := openDirectly(t, nodes[0], url)
			var rows, names int
			if err := db.QueryRowContext(t.Context(), "SELECT count(*), count(DISTINCT name) FROM falcon_migrations").Scan(&rows, &names); err != nil {
				t.Fatal(err)
			}
			out, errs, code := finish(t, nodes[0].Command("migrate", "status"))
			if rows != names || code != 0 || len(lines(out)) != names {
				t.Errorf("%d rows of %d migrations; status: exit %d, %s%s", rows, names, code, out, errs)
			}
			migrated := 0
			for _, p := range nodes {
				migrated += strings.Count(p.Log(), "migrated the schema")
				if n := strings.Count(p.Log(), "level=ERROR"); n > 0 {
					t.Errorf("a node has %d errors in its log", n)
				}
			}
			if migrated != 1 {
				t.Errorf("%d nodes say they migrated", migrated)
			}
		})
	}
}
