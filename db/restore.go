package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// restoring is in the name of a checked copy that a restore is putting in place.
// While there is one, the database's own files are being moved aside: whoever opens
// the database then would find it missing, and make an empty one.
const restoring = ".restoring-"

// errRestoring refuses to open a database in that state.
var errRestoring = errors.New("a restore of it was interrupted; run falconbridge restore again")

// Restore puts a copy of from in place of the SQLite database at path, and returns the
// path at which the former database stands now, "" where there was none. The caller
// keeps servers off. The copy's next opening begins a new epoch.
//
// It refuses a file that is corrupt, is not a database of this program or is of a later
// version, and a database that any process has open. It fails before it changed
// anything, or, where it is killed later, leaves a state that Open refuses and that the
// next call completes first.
func Restore(ctx context.Context, path, from string) (aside string, err error) {
	path = RealPath(path)
	if err := inUse(path); err != nil {
		return "", err
	}
	if err := finishRestore(path); err != nil {
		return "", err
	}
	part := path + ".restore.partial"
	discard := func() { // a journal left by a kill would be played into the next copy
		for _, suffix := range []string{"", "-journal", "-wal", "-shm"} {
			_ = os.Remove(part + suffix)
		}
	}
	discard()
	defer discard()
	if err := copyFrom(from, path, part); err != nil {
		return "", err
	}
	if err := prepare(ctx, part); err != nil {
		return "", fmt.Errorf("%s: %w", from, err)
	}
	if err := syncFile(part); err != nil {
		return "", err
	}
	if err := inUse(path); err != nil { // the check of a large copy takes minutes
		return "", err
	}
	stamp := time.Now().UTC().Format("20060102T150405.000Z")
	if err := os.Rename(part, path+restoring+stamp); err != nil {
		return "", fmt.Errorf("name the copy: %w", err)
	}
	if _, err := os.Stat(path); err == nil {
		aside = formerName(path, stamp)
	}
	return aside, finishRestore(path)
}

// RealPath follows symbolic links, as SQLite does: WAL and index stand next to the file
// itself.
func RealPath(path string) string {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		return target
	}
	return path
}

// settled fails while a restore of the database at path is not finished.
func settled(path string) error {
	copies, err := interrupted(RealPath(path))
	if err == nil && len(copies) > 0 {
		err = errRestoring
	}
	return err
}

// formerName is where the database that a restore replaced stands.
func formerName(path, stamp string) string { return path + ".before-" + stamp }

// interrupted returns the checked copies that wait to be put in place of path; one at
// most, unless somebody made more.
func interrupted(path string) ([]string, error) {
	files, err := os.ReadDir(filepath.Dir(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for an interrupted restore: %w", err)
	}
	var found []string
	for _, f := range files {
		if strings.HasPrefix(f.Name(), filepath.Base(path)+restoring) {
			found = append(found, filepath.Join(filepath.Dir(path), f.Name()))
		}
	}
	return found, nil
}

// finishRestore moves the database at path, its WAL and its index aside, and the checked
// copy in place. Power may fail after any step: all names follow from the copy's, so that
// the next call can continue. The database
// goes last, together with its WAL or after it, under one name: SQLite opens the two
// as a pair, also there.
func finishRestore(path string) error {
	copies, err := interrupted(path)
	if err != nil {
		return err
	}
	dir := filepath.Dir(path)
	for _, from := range copies {
		if err := syncDir(dir); err != nil {
			return err
		}
		former := formerName(path, strings.TrimPrefix(from, path+restoring))
		for _, suffix := range []string{"-shm", "-wal", ""} {
			if err := os.Rename(path+suffix, former+suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("move the former database aside: %w", err)
			}
		}
		if err := syncDir(dir); err != nil {
			return err
		}
		if err := os.Rename(from, path); err != nil {
			return fmt.Errorf("put the copy in place: %w", err)
		}
	}
	if len(copies) == 0 {
		return nil
	}
	return syncDir(dir)
}

// copyFrom copies the file from to the new file part. A WAL next to from is part of
// its content, and a plain copy of a database in use is no consistent one.
func copyFrom(from, path, part string) error {
	source, err := os.Open(from)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no file %s", from)
	}
	if err != nil {
		return fmt.Errorf("open the backup: %w", err)
	}
	defer func() { _ = source.Close() }()
	info, err := source.Stat()
	if err != nil {
		return fmt.Errorf("open the backup: %w", err)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a file", from)
	}
	if here, err := os.Stat(path); err == nil && os.SameFile(here, info) {
		return fmt.Errorf("%s is the database itself", from)
	}
	if wal, err := os.Stat(from + "-wal"); err == nil && wal.Size() > 0 {
		return fmt.Errorf("%s has a write-ahead log next to it (%s-wal), so it is not a whole copy; make one with falconbridge backup", from, from)
	}
	// O_EXCL follows no link: root restores into a directory that the server's user can write.
	target, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("copy the backup: %w", err)
	}
	_, err = io.Copy(target, source)
	if err := errors.Join(err, target.Close()); err != nil {
		return fmt.Errorf("copy the backup: %w", err)
	}
	return nil
}

// prepare checks the copy at path and has its next opening begin a new epoch: the mark
// is that of no database. Epoch files alone would not do it where the backup is as new
// as the log, see docs/decisions/0002-epoch.md.
func prepare(ctx context.Context, path string) error {
	d, err := openFile(path, "mode=rw&_pragma=journal_mode(DELETE)&_pragma=synchronous(FULL)")
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	if err := checkSchema(ctx, d); err != nil {
		return err
	}
	var verdict string
	if err := d.QueryRowContext(ctx, "PRAGMA integrity_check(1)").Scan(&verdict); err != nil {
		return fmt.Errorf("check the copy: %w", fileFault(err))
	}
	if verdict != "ok" {
		return errCorrupt
	}
	if _, err := d.ExecContext(ctx, "UPDATE falcon_meta SET value = 'restored' WHERE key = 'mark'"); err != nil {
		return fmt.Errorf("begin a new epoch: %w", fileFault(err))
	}
	return d.Close()
}

// checkSchema fails where d is not a database of this program, or one that a later
// version migrated.
func checkSchema(ctx context.Context, d *sql.DB) error {
	rows, err := d.QueryContext(ctx, "SELECT name FROM "+migrationTable+" ORDER BY name")
	if err != nil {
		return fmt.Errorf("read the schema's version: %w", fileFault(err))
	}
	defer func() { _ = rows.Close() }()
	ms, err := discover(SQLite)
	if err != nil {
		return err
	}
	known := make(map[string]bool)
	for _, m := range ms.Sorted() {
		known[m.Name] = true
	}
	seen := 0
	for ; rows.Next(); seen++ {
		var name string
		if err := rows.Scan(&name); err != nil {
			return fmt.Errorf("read the schema's version: %w", fileFault(err))
		}
		if !known[name] {
			return fmt.Errorf("it has the migration %s of a later version; use that version of falconbridge", name)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read the schema's version: %w", fileFault(err))
	}
	if seen == 0 {
		return errForeign
	}
	return nil
}

func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("write the copy to disk: %w", err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write the copy to disk: %w", err)
	}
	return nil
}
