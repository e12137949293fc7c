package main

import (
	"database/sql"
	"strings"
	"testing"

	"github.com/uptrace/bun/driver/pgdriver"

	"github.com/falconalert/falconbridge/internal/testserver"
)

// An error that waiting cannot resolve ends the start at once, with the remedy.
func TestAPermanentErrorEndsTheStart(t *testing.T) {
	pg := testserver.NewPostgres(t)
	url := func(user, database, query string) string {
		u := strings.Replace(pg.URL, "falcon@", user+"@", 1)
		return strings.Replace(u, "/falcon?sslmode=disable", "/"+database+"?"+query, 1)
	}
	exec := func(database string, queries ...string) {
		t.Helper()
		db := sql.OpenDB(pgdriver.NewConnector(pgdriver.WithDSN(url("falcon", database, "sslmode=disable"))))
		defer db.Close()
		for _, q := range queries {
			if _, err := db.ExecContext(t.Context(), q); err != nil {
				t.Fatalf("%s: %v", q, err)
			}
		}
	}
	exec("falcon", "CREATE ROLE reader LOGIN", "CREATE DATABASE empty", "CREATE DATABASE made", "CREATE DATABASE torn",
		"CREATE DATABASE ascii ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
	for _, database := range []string{"made", "torn"} {
		if code, _, log := invoke(t, map[string]string{"DATABASE_URL": url("falcon", database, "")}, "migrate", "up"); code != 0 {
			t.Fatal(log)
		}
	}
	exec("made", "GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
	exec("torn", "DROP TABLE falcon_inboxes")
	for name, tt := range map[string]struct{ user, database, query, want string }{
		"TLS demanded of a server without": {"falcon", "made", "sslmode=require", "check the server's TLS, and sslmode"},
		"a role that may only read":        {"reader", "made", "", "the user lacks a privilege"},
		"a role that may make nothing":     {"reader", "empty", "", "CREATE on the schema"},
		"another encoding":                 {"falcon", "ascii", "", "encoding is SQL_ASCII; create one with ENCODING 'UTF8'"},
		"a missing table":                  {"falcon", "torn", "", "lacks falcon_inboxes"},
		"an unknown parameter":             {"falcon", "made", "often=1", `unrecognized configuration parameter "often"`},
		"a parameter that cannot be used":  {"falcon", "made", "load_balance_hosts=random", "load_balance_hosts cannot be used"},
		"no such schema":                   {"falcon", "made", "search_path=nowhere", "correct search_path"},
	} {
		t.Run(name, func(t *testing.T) {
			p := testserver.Prepare(t, with("DATABASE_URL", url(tt.user, tt.database, tt.query)), "--start-timeout=1h")
			if err := p.Begin(); err != nil {
				t.Fatal(err)
			}
			code, err := p.Wait(waitLimit)
			if err != nil || code != 1 {
				t.Fatalf("exit %d, %v", code, err)
			}
			log := lines(p.Log())
			if last := log[len(log)-1]; !strings.HasPrefix(last, "falconbridge: ") || !strings.Contains(last, tt.want) || strings.Contains(last, "start the database") {
				t.Errorf("it ends with %q; want %q", last, tt.want)
			}
			if strings.Contains(p.Log(), "asking again") {
				t.Errorf("it waits: %s", p.Log())
			}
		})
	}
}
