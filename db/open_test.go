package db

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/testserver"
)

func TestOpenRejectsInvalidURLsWithoutRevealingSecrets(t *testing.T) {
	dir := t.TempDir()
	for name, url := range map[string]string{
		"an empty URL":              "",
		"another scheme":            "mysql://u:hunter2@h/d",
		"a URL that does not parse": "postgres://u:hunter2@h:port\x7f/d",
		"an unknown sslmode":        "postgres://u:hunter2@127.0.0.1:1/d?sslmode=often",
		"no server at the address":  "postgres://u:hunter2@127.0.0.1:1/d",
		"a missing directory":       "sqlite:" + filepath.Join(dir, "missing", "hunter2.db"),
		"SQLite in memory":          "sqlite::memory:",
		"SQLite without a path":     "sqlite:",
	} {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		d, err := Open(ctx, Options{URL: url, Logger: quiet})
		cancel()
		if err == nil {
			_ = d.Close()
			t.Errorf("%s was opened", name)
			continue
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error contains the password: %v", name, err)
		}
	}
}

func TestSQLiteIsOpenedByEveryFormOfItsURL(t *testing.T) {
	for _, form := range []string{"%s", "sqlite:%s", "sqlite://%s"} {
		path := filepath.Join(t.TempDir(), "with blank?#%41.db")
		d := openTest(t, Options{URL: strings.Replace(form, "%s", path, 1)})
		mustAppend(t, d, one("u", "t"))
		if _, err := os.Stat(path); err != nil {
			t.Errorf("%s: %v", form, err)
		}
		if d.Dialect() != SQLite || d.Ping(testContext(t)) != nil {
			t.Errorf("%s: dialect %s, ping %v", form, d.Dialect(), d.Ping(testContext(t)))
		}
	}
}

func TestSQLiteCommitsReachTheDisk(t *testing.T) {
	d := openTest(t, Options{URL: filepath.Join(t.TempDir(), "falcon.db")})
	if n := number(t, d, "PRAGMA synchronous"); n != 2 {
		t.Errorf("synchronous is %d, want 2 (FULL)", n)
	}
	var mode string
	if err := d.read.QueryRowContext(testContext(t), "PRAGMA journal_mode").Scan(&mode); err != nil || mode != "wal" {
		t.Errorf("journal mode %s, %v", mode, err)
	}
	if _, err := d.read.ExecContext(testContext(t), "DELETE FROM falcon_meta"); err == nil {
		t.Error("a connection for reading could write")
	}
}

func TestConnectionsStayWithinTheirBounds(t *testing.T) {
	d := openTest(t, Options{URL: testserver.Postgres(t), MaxConns: 9})
	for range 40 {
		go func() { _, _ = d.Append(context.Background(), one("u", "t")) }()
	}
	done := make(chan error, 40)
	for range 40 {
		go func() {
			_, err := d.After(context.Background(), "u", 0, 10)
			done <- err
		}()
	}
	for range 40 {
		if err := <-done; err != nil && !errors.Is(err, bridge.ErrUnavailable) {
			t.Errorf("read: %v", err)
		}
	}
	if n := number(t, d, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"); n > 9 {
		t.Errorf("%d connections, want at most 9", n)
	}
}
