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

// restoring is part of the name of a checked copy that a restore is putting in place.
// While such a file exists, the database's own files are being moved aside. A process that
// opened the database meanwhile would find it missing and create an empty one.
const restoring = ".restoring-"

// errRestoring refuses to open a database while a restore is unfinished.
var errRestoring = errors.New("a restore of this database was interrupted; run falconbridge restore again")

// Restore replaces the SQLite database at path with a copy of the file from. It returns
// the new path of the former database, or "" if there was none. The caller must make sure
// that no server starts meanwhile. When the copy is next opened, a new epoch begins.
//
// Restore refuses a file that is corrupt, is not a database of this program or has been
// migrated by a later version, and it refuses while any process has the database open. In
// these cases it has changed nothing. If the process is killed while files are being moved,
// Open refuses to open the database, and the next call of Restore first completes the
// interrupted one.
func Restore(ctx context.Context, path, from string) (aside string, err error) {
	path = RealPath(path)
	if err := inUse(path); err != nil {
		return "", err
	}
	if err := finishRestore(path); err != nil {
		return "", err
	}
	part := path + ".restore.partial"
	discard := func() { // with its journal, which SQLite would apply to the next copy of that name
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
	if err := inUse(path); err != nil { // checking a large copy takes minutes
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

// RealPath follows symbolic links, as SQLite does: the WAL and its index are next to the
// file itself.
func RealPath(path string) string {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		return target
	}
	return path
}

// checkNoRestore fails with errRestoring while a restore of the database at path is
// unfinished.
func checkNoRestore(path string) error {
	copies, err := interrupted(RealPath(path))
	if err == nil && len(copies) > 0 {
		err = errRestoring
	}
	return err
}

// formerName returns the path to which a restore moves the database that it replaces.
func formerName(path, stamp string) string { return path + ".before-" + stamp }

// interrupted returns the checked copies that have yet to be put in place of path. There
// is at most one, unless somebody created such files by hand.
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

// finishRestore moves the database at path aside, together with its WAL and the WAL's
// index, and the checked copy in place.
//
// Power may fail after any step. All names are derived from the copy's name, so the next
// call can continue. The database itself is moved last, and its new name has the same stem
// as that of its WAL, so that SQLite still opens the two as a pair.
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

// copyFrom copies the file from to the new file part. It refuses a file with a WAL next to
// it, because a part of the content is in the WAL, and a plain copy of a database in use is
// not consistent.
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
		return fmt.Errorf("%s has a write-ahead log next to it (%s-wal), so it is not a complete copy; make one with falconbridge backup", from, from)
	}
	// O_EXCL follows no symbolic link, which matters when root restores into a directory
	// that the server's user can write to.
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

// prepare checks the copy at path, and gives it a mark that no database has, so that a new
// epoch begins when it is next opened. The epoch file alone would not ensure that if the
// backup is as recent as the log, see docs/decisions/0002-epoch.md.
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

// checkSchema fails if d is not a database of this program, or has been migrated by a
// later version.
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
			return fmt.Errorf("it has migration %s of a later version; use that version of falconbridge", name)
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

// syncFile flushes a file's content to disk.
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
