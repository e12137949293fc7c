package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/internal/testserver"
)

// A login that Postgres refuses ends the start, because retrying does not help.
func TestARefusedDatabaseLoginIsReportedAtOnce(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "falcon-hba-") // not t.TempDir: another user reads it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	hba := filepath.Join(dir, "pg_hba.conf")
	rules := "host all falcon,nobody 127.0.0.1/32 trust\nhost all locked 127.0.0.1/32 scram-sha-256\n"
	if err := os.WriteFile(hba, []byte(rules), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	pg := testserver.NewPostgres(t, "hba_file='"+hba+"'")
	for name, tt := range map[string]struct{ user, database, want string }{
		"a database that does not exist": {"falcon", "nowhere", "SQLSTATE 3D000"},
		"an unknown user":                {"nobody", "falcon", "SQLSTATE 28000"},
		"a wrong password":               {"locked:geheim", "falcon", "SQLSTATE 28P01"},
		"a user without a rule":          {"ruleless:geheim", "falcon", "SQLSTATE 28000"},
	} {
		t.Run(name, func(t *testing.T) {
			url := strings.Replace(pg.URL, "falcon@", tt.user+"@", 1)
			url = strings.Replace(url, "/falcon?", "/"+tt.database+"?", 1)
			p := testserver.Prepare(t, with("DATABASE_URL", url), "--start-timeout=1h")
			begun := time.Now()
			if err := p.Begin(); err != nil {
				t.Fatal(err)
			}
			code, err := p.Wait(waitLimit)
			if err != nil || code != 1 {
				t.Fatalf("exit %d, %v", code, err)
			}
			log := lines(p.Log())
			last := log[len(log)-1]
			if !strings.HasPrefix(last, "falconbridge: --database-url (DATABASE_URL): ") || !strings.Contains(last, tt.want) {
				t.Errorf("it ends with %q; want the setting and %s", last, tt.want)
			}
			if strings.Contains(p.Log(), "asking again") || strings.Contains(p.Log(), "geheim") {
				t.Errorf("it waits, or logs the password: %s", p.Log())
			}
			t.Logf("after %v", time.Since(begun))
		})
	}
}
