package db

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// killed copies the files of an open database, including its WAL and index, to another
// directory, as a kill -9 would leave them. It returns the path of the copy.
func killed(t *testing.T, d *DB) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), filepath.Base(d.path))
	for _, suffix := range []string{"", "-wal", "-shm", ".epoch"} {
		copyFile(t, d.path+suffix, to+suffix)
	}
	return to
}

// backedUp returns an open database with eight notifications and the path of a backup that
// has the first three of them.
func backedUp(t *testing.T) (d *DB, backup string) {
	t.Helper()
	d = openAt(t, filepath.Join(t.TempDir(), "falcon.db"))
	seed(t, d, "u", 3)
	backup = filepath.Join(t.TempDir(), "copy.db")
	must(t, Backup(testContext(t), d.path, backup))
	seed(t, d, "u", 5)
	return d, backup
}

func TestALeftoverWALIsNotAppliedToTheRestoredDatabase(t *testing.T) {
	d, backup := backedUp(t)
	path := killed(t, d)
	if info, err := os.Stat(path + "-wal"); err != nil || info.Size() == 0 {
		t.Fatalf("the kill left no WAL: %v", err)
	}
	aside, err := Restore(testContext(t), path, backup)
	must(t, err)
	restored := openPlain(t, path)
	if got := seqs(t, restored, "u"); len(got) != 3 {
		t.Errorf("the restored log has %v", got)
	}
	if restored.Epoch() == d.Epoch() {
		t.Error("the restored database has the former epoch")
	}
	if got := seqs(t, openPlain(t, aside), "u"); len(got) != 8 {
		t.Errorf("the former database has %v", got)
	}
}

// Here the backup equals the database, so the seqs do not show that it was restored.
func TestARestoreOfTheLatestStateBeginsANewEpoch(t *testing.T) {
	d := openAt(t, filepath.Join(t.TempDir(), "falcon.db"))
	seed(t, d, "u", 3)
	epoch := d.Epoch()
	closeNow(t, d)
	backup := filepath.Join(t.TempDir(), "copy.db")
	must(t, Backup(testContext(t), d.path, backup))
	if _, err := Restore(testContext(t), d.path, backup); err != nil {
		t.Fatal(err)
	}
	restored := openPlain(t, d.path)
	if restored.Epoch() == epoch {
		t.Error("the restored database has the former epoch")
	}
	after := restored.Epoch()
	closeNow(t, restored)
	if again := openPlain(t, d.path); again.Epoch() != after {
		t.Error("the second start after the restore began another epoch")
	}
}

func TestARestoreIntoAnEmptyDirectory(t *testing.T) {
	_, backup := backedUp(t)
	path := filepath.Join(t.TempDir(), "falcon.db")
	if aside, err := Restore(testContext(t), path, backup); err != nil || aside != "" {
		t.Fatalf("%q, %v", aside, err)
	}
	if got := seqs(t, openPlain(t, path), "u"); len(got) != 3 {
		t.Errorf("the log has %v", got)
	}
}

func TestAFailedRestoreChangesNothing(t *testing.T) {
	d, backup := backedUp(t)
	path := killed(t, d)
	before := names(t, filepath.Dir(path))
	flipped := filepath.Join(t.TempDir(), "flipped.db")
	copyFile(t, backup, flipped)
	f, err := os.OpenFile(flipped, os.O_RDWR, 0)
	must(t, err)
	if _, err := f.WriteAt([]byte(strings.Repeat("\xff", 4096)), 8*4096); err != nil {
		t.Fatal(err)
	}
	must(t, f.Close())
	short := filepath.Join(t.TempDir(), "short.db")
	copyFile(t, backup, short)
	must(t, os.Truncate(short, 64<<10))
	later := filepath.Join(t.TempDir(), "later.db")
	copyFile(t, backup, later)
	l, err := openFile(later, "mode=rw")
	must(t, err)
	if _, err := l.Exec("INSERT INTO falcon_migrations (name, group_id) VALUES ('20991231000000', 9)"); err != nil {
		t.Fatal(err)
	}
	must(t, l.Close())
	live := filepath.Join(t.TempDir(), "live.db")
	copyFile(t, backup, live)
	copyFile(t, path+"-wal", live+"-wal")
	for name, tt := range map[string]struct{ from, want string }{
		"a missing file":             {filepath.Join(t.TempDir(), "x"), "there is no file"},
		"a directory":                {t.TempDir(), "is not a file"},
		"a text file":                {file(t, t.TempDir(), "x", "hello"), "not a database of falconbridge"},
		"an empty file":              {file(t, t.TempDir(), "x", ""), "not a database of falconbridge"},
		"another program's database": {foreign(t, "CREATE TABLE t (x)"), "not a database of falconbridge"},
		"an overwritten page":        {flipped, "the file is corrupt"},
		"a truncated file":           {short, "the file is corrupt"},
		"a later version":            {later, "20991231000000 of a later version"},
		"a copy with a WAL":          {live, "write-ahead log"},
		"the database itself":        {path, "is the database itself"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Restore(testContext(t), path, tt.from); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
			if got := names(t, filepath.Dir(path)); got != before {
				t.Errorf("the directory had %s, and has %s", before, got)
			}
		})
	}
	if got := seqs(t, openPlain(t, path), "u"); len(got) != 8 {
		t.Errorf("the log has %v", got)
	}
}

// The power may fail after any of the moves that a restore consists of.
func TestAnInterruptedRestoreIsCompletedByTheNext(t *testing.T) {
	d, backup := backedUp(t)
	const stamp = "20260102T030405.000Z"
	for moved, name := range []string{"before the first move", "after the index", "after the WAL", "after the database"} {
		t.Run(name, func(t *testing.T) {
			path := killed(t, d)
			copyFile(t, backup, path+restoring+stamp)
			for _, suffix := range []string{"-shm", "-wal", ""}[:moved] {
				must(t, os.Rename(path+suffix, formerName(path, stamp)+suffix))
			}
			if _, err := Open(testContext(t), Options{URL: path, Logger: quiet}); err == nil || !strings.Contains(err.Error(), "run falconbridge restore again") {
				t.Errorf("open: %v", err)
			}
			if err := Backup(testContext(t), path, filepath.Join(t.TempDir(), "x")); err == nil {
				t.Error("a backup of a half-restored database succeeded")
			}
			if _, err := Restore(testContext(t), path, backup); err != nil {
				t.Fatal(err)
			}
			if got := seqs(t, openPlain(t, path), "u"); len(got) != 3 {
				t.Errorf("the restored log has %v", got)
			}
			if got := seqs(t, openPlain(t, formerName(path, stamp)), "u"); len(got) != 8 {
				t.Errorf("the former database has %v", got)
			}
		})
	}
}

func TestARestoreFollowsASymbolicLink(t *testing.T) {
	d, backup := backedUp(t)
	path := killed(t, d)
	link := filepath.Join(t.TempDir(), "link.db")
	must(t, os.Symlink(path, link))
	if _, err := Restore(testContext(t), link, backup); err != nil {
		t.Fatal(err)
	}
	if to, err := os.Readlink(link); err != nil || to != path {
		t.Errorf("the link leads to %s, %v", to, err)
	}
	if got := seqs(t, openPlain(t, link), "u"); len(got) != 3 {
		t.Errorf("the log has %v", got)
	}
}

// Root may restore into a directory in which the server's user can create files. A
// symbolic link in place of the copy must not make root overwrite another file.
func TestARestoreDoesNotWriteThroughALink(t *testing.T) {
	_, backup := backedUp(t)
	dir := t.TempDir()
	victim := file(t, dir, "victim", "of root")
	part := filepath.Join(dir, "falcon.db.restore.partial")
	must(t, os.Symlink(victim, part))
	if err := copyFrom(backup, filepath.Join(dir, "falcon.db"), part); err == nil {
		t.Error("the copy was written through the link")
	}
	if b, err := os.ReadFile(victim); err != nil || string(b) != "of root" {
		t.Errorf("the file is %d bytes long now, %v", len(b), err)
	}
}
