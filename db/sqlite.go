package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/sqlitedialect"
	_ "modernc.org/sqlite" // the driver "sqlite"
)

// openSQLite opens one connection for writing and four for reading.
//
// In WAL mode readers and the writer do not block each other. synchronous=FULL makes
// every commit wait for the disk; in WAL mode NORMAL may lose the last commits in a
// power cut. Write transactions begin IMMEDIATE and take the write lock at once, so
// that none fails half way because another process holds it.
func (d *DB) openSQLite(raw string) error {
	path, err := sqlitePath(raw)
	if err != nil {
		return err
	}
	d.dialect, d.path = SQLite, path
	if err := checkNoRestore(path); err != nil {
		return err
	}
	makePrivate(path)
	open := func(n int, txlock, extra string) (*bun.DB, error) {
		dsn := "file:" + (&url.URL{Path: path}).EscapedPath() + "?_txlock=" + txlock +
			"&_pragma=busy_timeout(1500)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)" +
			"&_pragma=temp_store(MEMORY)&_pragma=journal_size_limit(67108864)" + extra
		db, err := sql.Open("sqlite", dsn)
		if err != nil {
			return nil, fmt.Errorf("open the SQLite file: %w", err)
		}
		db.SetMaxOpenConns(n)
		db.SetMaxIdleConns(n)
		db.SetConnMaxLifetime(0)
		db.SetConnMaxIdleTime(time.Duration(0))
		return d.withHooks(bun.NewDB(db, sqlitedialect.New())), nil
	}
	if d.write, err = open(1, "immediate", "&_pragma=cache_size(-16000)"); err != nil {
		return err
	}
	d.log = d.write
	// The first connection creates the file and its WAL; a query_only one cannot.
	if err := d.write.PingContext(context.Background()); err != nil {
		_ = d.write.Close()
		return d.openError("ping", err)
	}
	if d.file, err = os.Stat(path); err == nil {
		d.read, err = open(4, "deferred", "&_pragma=query_only(1)")
	}
	if err != nil {
		_ = d.write.Close()
	}
	return err
}

// errGone reports that the database file was removed from its path or replaced. SQLite
// would go on writing to the open file, and all of that would be lost when this process
// ends.
const errGone = flaw("the SQLite file was deleted or replaced while in use: nothing more is stored; stop the server, then restore a backup, or start it with the file that is there")

// checkFile fails with errGone if the SQLite file is no longer the one that was opened.
// It is called before every write transaction; one stat is cheap next to the fsync of
// the commit.
func (d *DB) checkFile() error {
	if d.dialect != SQLite {
		return nil
	}
	switch now, err := os.Stat(d.path); {
	case errors.Is(err, fs.ErrNotExist), err == nil && !os.SameFile(d.file, now):
		return errGone
	}
	return nil
}

// makePrivate creates the file with mode 0600 if there is none. SQLite itself would go
// by the umask, and it gives the WAL the same mode as the file. An existing file is not
// opened, since closing it would drop the POSIX locks that this process may hold on it.
// Errors are ignored because SQLite runs into the same ones and reports them.
func makePrivate(path string) {
	if f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600); err == nil {
		_ = f.Close()
	}
}
