package db

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/falconalert/falconbridge/bridge"
)

// openPlain opens an existing SQLite file without migrating it.
func openPlain(t *testing.T, path string) *DB {
	t.Helper()
	d, err := Open(testContext(t), Options{URL: path, Logger: quiet})
	must(t, err)
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// names returns the names of the files in dir, separated by spaces.
func names(t *testing.T, dir string) string {
	t.Helper()
	files, err := os.ReadDir(dir)
	must(t, err)
	var all []string
	for _, f := range files {
		all = append(all, f.Name())
	}
	return strings.Join(all, " ")
}

func TestABackupUnderLoadIsAConsistentSnapshot(t *testing.T) {
	d := openAt(t, filepath.Join(t.TempDir(), "falcon.db"))
	users := []bridge.UserID{"a", "b", "c"}
	for _, u := range users {
		seed(t, d, u, 2000) // enough for the copy to take longer than a write
	}
	ctx, stop := context.WithCancel(testContext(t))
	done, wrote := make(chan int), make(chan struct{}, 1)
	for _, u := range users {
		go func() {
			n := 0
			for ; ctx.Err() == nil; n++ {
				if _, err := d.Append(ctx, one(u, "during the backup")); err != nil {
					break
				}
				select {
				case wrote <- struct{}{}:
				default:
				}
			}
			done <- n
		}()
	}
	<-wrote
	dir := t.TempDir()
	copied := filepath.Join(dir, "copy.db")
	err := Backup(testContext(t), d.path, copied)
	stop()
	n := 0
	for range users {
		n += <-done
	}
	must(t, err)
	if got := names(t, dir); got != "copy.db" {
		t.Errorf("the backup left %s", got)
	}
	if info, err := os.Stat(copied); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the copy's mode: %v, %v", info.Mode(), err)
	}
	c := openPlain(t, copied)
	var verdict string
	if err := c.read.QueryRowContext(testContext(t), "PRAGMA integrity_check").Scan(&verdict); err != nil || verdict != "ok" {
		t.Errorf("integrity: %s, %v", verdict, err)
	}
	for _, u := range users {
		checkCounts(t, c, u)
		if last, rows := number(t, c, "SELECT last_seq FROM falcon_inboxes WHERE user_id = ?", u), number(t, c, "SELECT max(seq) FROM falcon_notifications WHERE user_id = ?", u); last != rows {
			t.Errorf("user %s: last_seq is %d, the highest seq %d", u, last, rows)
		}
	}
	t.Logf("%d notifications were written during the backup", n)
}

func TestAFailedBackupLeavesNoFile(t *testing.T) {
	d := openAt(t, filepath.Join(t.TempDir(), "falcon.db"))
	dir := t.TempDir()
	for name, tt := range map[string]struct{ from, to, want string }{
		"over a file":        {d.path, file(t, dir, "existing.db", "mine"), "exists; name a new file"},
		"to a missing dir":   {d.path, filepath.Join(dir, "missing", "copy.db"), "no such file"},
		"of a missing file":  {filepath.Join(dir, "missing.db"), filepath.Join(dir, "copy.db"), "there is no database at"},
		"of a text file":     {file(t, t.TempDir(), "x.db", "hello"), filepath.Join(dir, "copy.db"), "not a database of falconbridge"},
		"of an empty file":   {file(t, t.TempDir(), "x.db", ""), filepath.Join(dir, "copy.db"), "not a database of falconbridge"},
		"of an empty schema": {foreign(t, "CREATE TABLE falcon_migrations (name text)"), filepath.Join(dir, "copy.db"), "not a database of falconbridge"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := Backup(testContext(t), tt.from, tt.to); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
			if got := names(t, dir); got != "existing.db" {
				t.Errorf("the directory has %s", got)
			}
		})
	}
	if b, err := os.ReadFile(filepath.Join(dir, "existing.db")); err != nil || string(b) != "mine" {
		t.Errorf("the existing file: %q, %v", b, err)
	}
}

// file creates a file in dir and returns its path.
func file(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	must(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// foreign creates a SQLite file with statements, as another program might, and returns
// its path.
func foreign(t *testing.T, statements ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "foreign.db")
	d, err := openFile(path, "mode=rwc")
	must(t, err)
	for _, s := range statements {
		if _, err := d.Exec(s); err != nil {
			t.Fatal(fmt.Errorf("%s: %w", s, err))
		}
	}
	must(t, d.Close())
	return path
}
