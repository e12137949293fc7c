package main

import (
	"bytes"
	"database/sql"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"github.com/falconalert/falconbridge/internal/config"
	"github.com/falconalert/falconbridge/internal/testserver"
)

// openDirectly opens p's database without the program, as an operator with psql or
// sqlite3 does. url is "" for SQLite.
func openDirectly(t *testing.T, p *testserver.Program, url string) *sql.DB {
	t.Helper()
	driver, dsn := "pg", url
	if url == "" {
		driver, dsn = "sqlite", "file:"+filepath.Join(p.Dir, config.DatabaseFile)+"?_pragma=busy_timeout(5000)"
	}
	d, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// seenBroken waits until p reports everywhere that its database is unavailable because
// of cause.
func seenBroken(t *testing.T, p *testserver.Program, cause string) {
	t.Helper()
	testserver.Eventually(t, 20*time.Second, func() error {
		for path, want := range map[string]string{"/readyz": "database: ", "/metrics": `falconbridge_ready{part="database"} 0`} {
			resp, err := http.Get(p.Admin + path)
			if err != nil {
				return err
			}
			body, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if err != nil || !strings.Contains(string(body), want) {
				return fmt.Errorf("%s: %d, %.200s, %v", path, resp.StatusCode, body, err)
			}
		}
		if !strings.Contains(p.Log(), "level=ERROR") || !strings.Contains(p.Log(), cause) {
			return fmt.Errorf("no error %q in the log: %s", cause, p.Log())
		}
		return nil
	})
	caller{base: p.HTTP}.do(t, "GET", "/readyz", nil, 503, nil)
	caller{base: p.HTTP, token: sign(t, "1", 0)}.do(t, "GET", "/notifications", nil, 503, nil)
}

func TestABrokenDatabaseIsVisible(t *testing.T) {
	t.Parallel()
	for name, env := range databases {
		t.Run(name+" without a table", func(t *testing.T) {
			t.Parallel()
			env := env(t)
			p := testserver.NewProgram(t, env)
			notify(t, p.HTTP, "1", "before")
			if _, err := openDirectly(t, p, env["DATABASE_URL"]).Exec("ALTER TABLE falcon_notifications RENAME TO elsewhere"); err != nil {
				t.Fatal(err)
			}
			seenBroken(t, p, "falcon_notifications is missing")
		})
	}
	t.Run("a SQLite file with a corrupt page", func(t *testing.T) {
		t.Parallel()
		p := testserver.NewProgram(t, production)
		notify(t, p.HTTP, "1", "before")
		if err := p.Stop(); err != nil {
			t.Fatal(err)
		}
		d := openDirectly(t, p, "")
		var root, size int64
		if err := d.QueryRow("SELECT rootpage, (SELECT page_size FROM pragma_page_size) FROM sqlite_master WHERE name = 'falcon_notifications'").Scan(&root, &size); err != nil {
			t.Fatal(err)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(filepath.Join(p.Dir, config.DatabaseFile), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteAt(bytes.Repeat([]byte{0xFF}, int(size)), (root-1)*size); err != nil {
			t.Fatal(err)
		}
		if err := p.Begin(); err != nil {
			t.Fatal(err)
		}
		seenBroken(t, p, "database disk image is malformed; restore a backup (SQLite code 11)")
	})
}
