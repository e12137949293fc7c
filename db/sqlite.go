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

// openSQLite opens one connection that writes and a few that read.
//
// WAL lets them read while it writes. synchronous=FULL makes every commit wait
// for the disk: in WAL mode NORMAL would lose the last commits on a power cut.
// The writer begins IMMEDIATE, so that a transaction never fails half way for a
// lock that another process holds.
func (d *DB) openSQLite(raw string) error {
	path, err := sqlitePath(raw)
	if err != nil {
		return err
	}
	d.dialect, d.path = SQLite, path
	if err := settled(path); err != nil {
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
		return d.hooked(bun.NewDB(db, sqlitedialect.New())), nil
	}
	if d.write, err = open(1, "immediate", "&_pragma=cache_size(-16000)"); err != nil {
		return err
	}
	d.log = d.write
	// The first connection makes the file and its WAL, which a reader cannot.
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

// errGone is the error of a database whose file was removed from its path. SQLite would go
// on writing to the open file, and all of that would be lost with this process.
const errGone = flaw("the SQLite file was deleted or replaced while in use: nothing more is stored; stop the server, then restore a backup, or start it with the file that is there")

// inPlace fails with errGone where the SQLite file is no longer the one that was
// opened. It is called before each transaction that writes, and costs one stat where the
// commit costs an fsync.
func (d *DB) inPlace() error {
	if d.dialect != SQLite {
		return nil
	}
	switch now, err := os.Stat(d.path); {
	case errors.Is(err, fs.ErrNotExist), err == nil && !os.SameFile(d.file, now):
		return errGone
	}
	return nil
}

// makePrivate makes the file for its owner alone where there is none; SQLite would
// go by the umask, and gives its WAL the file's own mode. A file that exists is not
// opened: closing it would drop the locks that this process may hold on it. What
// goes wrong SQLite meets, too, and says.
func makePrivate(path string) {
	if f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600); err == nil {
		_ = f.Close()
	}
}
