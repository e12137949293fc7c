package db

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/falconalert/falconbridge/bridge"
)

// On Unix, a deleted file stays usable for a process that has it open. Without a check,
// every append would succeed and be lost when the process ends.
func TestAppendsFailOnceTheSQLiteFileIsGoneFromItsPath(t *testing.T) {
	for name, remove := range map[string]func(path string) error{
		"deleted": func(path string) error { return os.Rename(path, path+".aside") },
		"replaced by another file": func(path string) error {
			return errors.Join(os.Rename(path, path+".aside"), os.WriteFile(path, nil, 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "falcon.db")
			d := openTest(t, Options{URL: path})
			mustAppend(t, d, one("u", "before"))
			var log bytes.Buffer
			d.outages.log = slog.New(slog.NewTextHandler(&log, nil))
			if err := remove(path); err != nil {
				t.Fatal(err)
			}
			if _, err := d.Append(testContext(t), one("u", "lost")); !errors.Is(err, bridge.ErrUnavailable) {
				t.Errorf("append: %v, want ErrUnavailable", err)
			}
			if err := d.Ping(testContext(t)); !errors.Is(err, bridge.ErrUnavailable) {
				t.Errorf("ping: %v, want ErrUnavailable", err)
			}
			if err := d.checkEpoch(testContext(t), false); !errors.Is(err, bridge.ErrUnavailable) {
				t.Errorf("check of the epoch: %v, want ErrUnavailable", err)
			}
			if got := log.String(); !strings.Contains(got, "level=ERROR") || !strings.Contains(got, "deleted or replaced") {
				t.Errorf("the log does not name the cause: %q", got)
			}
			if err := os.Rename(path+".aside", path); err != nil {
				t.Fatal(err)
			}
			if res := mustAppend(t, d, one("u", "after")); res.Appended[0].Seq != 2 {
				t.Errorf("after the file was put back: seq %d, want 2", res.Appended[0].Seq)
			}
		})
	}
}

// Waiting helps with neither file, so the start must fail at once. An ErrUnavailable would
// be retried.
func TestAnUnusableSQLiteFileFailsTheStart(t *testing.T) {
	for name, tt := range map[string]struct {
		make func(path string) error
		want string
	}{
		"not a database": {func(path string) error {
			return os.WriteFile(path, bytes.Repeat([]byte("no database "), 1000), 0o600)
		}, "restore a backup"},
		"a directory": {func(path string) error { return os.Mkdir(path, 0o700) }, "must be able to write"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "falcon.db")
			if err := tt.make(path); err != nil {
				t.Fatal(err)
			}
			d, err := Open(testContext(t), Options{URL: path, Logger: quiet})
			if err == nil {
				_ = d.Close()
			}
			if err == nil || errors.Is(err, bridge.ErrUnavailable) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("open: %v, want a permanent error with %q", err, tt.want)
			}
		})
	}
}
