package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"
)

// Backup writes a copy of the SQLite database at path to the new file to. The database
// may be in use. The copy shows the log at one moment: VACUUM INTO reads in a single
// transaction, so writers neither disturb it nor make it start over, as they would with
// sqlite3's .backup from another process.
//
// The copy appears under its name only once it is complete and on disk. If Backup fails,
// it leaves nothing behind. If the process is killed, a file whose name ends in .partial
// may remain in the same directory.
func Backup(ctx context.Context, path, to string) error {
	if _, err := os.Lstat(to); err == nil {
		return fmt.Errorf("%s exists; name a new file", to)
	}
	if err := checkNoRestore(path); err != nil {
		return err
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no database at %s", path)
	}
	part, err := os.CreateTemp(filepath.Dir(to), filepath.Base(to)+".*.partial") // mode 0600
	if err != nil {
		return fmt.Errorf("create the copy: %w", err)
	}
	defer func() { _ = part.Close(); _ = os.Remove(part.Name()) }()
	if err := vacuumInto(ctx, path, part.Name()); err != nil {
		return err
	}
	if err := part.Sync(); err != nil { // VACUUM INTO does not
		return fmt.Errorf("write the copy to disk: %w", err)
	}
	if err := publish(part.Name(), to); err != nil {
		return err
	}
	return syncDir(filepath.Dir(to))
}

// vacuumInto copies the database at path into the empty file to.
func vacuumInto(ctx context.Context, path, to string) error {
	d, err := openFile(path, "mode=rw&_pragma=busy_timeout(1500)")
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	if err := checkSchema(ctx, d); err != nil {
		return err
	}
	if _, err := d.ExecContext(ctx, "VACUUM INTO ?", to); err != nil {
		return fmt.Errorf("copy the database: %w", fileFault(err))
	}
	return nil
}

// publish gives the file part its final name, unless a file of that name has appeared
// meanwhile. In that case a link fails, whereas a rename would replace the other file.
func publish(part, to string) error {
	err := os.Link(part, to)
	if err == nil {
		return nil
	}
	if _, taken := os.Lstat(to); taken == nil {
		return fmt.Errorf("%s exists; name a new file", to)
	}
	// Most likely a file system without hard links, such as FAT.
	if err := os.Rename(part, to); err != nil {
		return fmt.Errorf("name the copy: %w", err)
	}
	return nil
}

// openFile opens a SQLite file on one connection, without migrating it. params are the
// parameters of SQLite's URI and of the driver.
func openFile(path, params string) (*sql.DB, error) {
	d, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+params)
	if err != nil {
		return nil, fmt.Errorf("open the SQLite file: %w", err)
	}
	d.SetMaxOpenConns(1)
	return d, nil
}

// fileFault describes the error of a SQLite file for the operator.
func fileFault(err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		switch e.Code() & 0xff {
		case lib.SQLITE_CORRUPT:
			return errCorrupt
		case lib.SQLITE_NOTADB:
			return errForeign
		}
		if e.Code() == lib.SQLITE_ERROR && strings.Contains(e.Error(), "no such table") {
			return errForeign
		}
	}
	return errors.New(cause(err))
}

var (
	errForeign = errors.New("it is not a database of falconbridge")
	errCorrupt = errors.New("the file is corrupt")
)

// syncDir flushes dir to disk, so that files created or renamed in it keep their names
// after a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("open the directory: %w", err)
	}
	defer func() { _ = d.Close() }()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("write the directory to disk: %w", err)
	}
	return nil
}
