package db

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/falconalert/falconbridge/internal/pgconnect"
	"github.com/uptrace/bun"
)

// CallLimit bounds each statement or transaction, including the wait for a connection. A
// request therefore gets its response within 2 s even while the database is unavailable.
// The package comment lists the calls that take longer.
const CallLimit = 1800 * time.Millisecond

// callLimit is CallLimit, except in this package's tests, which may run on a busy
// machine and raise it.
var callLimit = CallLimit

// Dialect names a database system.
type Dialect string

// The databases.
const (
	Postgres Dialect = "postgres"
	SQLite   Dialect = "sqlite"
)

// Options sets up a DB.
type Options struct {
	// URL is postgres://… as libpq reads it, sqlite:<path>, or the path of a SQLite
	// file. A file that does not exist is created.
	URL string

	Logger *slog.Logger // nil: slog.Default()

	// Hooks see every statement with its arguments, including those of migrations;
	// bundebug prints them, bunotel traces them. The arguments include the content of
	// notifications and device names, so print them in development only.
	Hooks []bun.QueryHook

	// Writers is how many transactions append at once on Postgres; 0 means 2, which
	// already reach nearly the full throughput. SQLite has one writer.
	Writers int

	// MaxConns bounds the connections to Postgres; 0 means 20, and at least 4 are used.
	// A call waits for a free connection until its deadline. With Bus, the limit
	// includes the connections of a bus over LISTEN and NOTIFY.
	MaxConns int
	Bus      bool

	// PoolNews is how often Run checks whether connections to Postgres run short,
	// logging at most one line each time; 0 means 10 s.
	PoolNews time.Duration

	// MigrateWait is how long Up and Down wait for another process that is migrating;
	// 0 means 30 s.
	MigrateWait time.Duration

	// EpochEvery is how often Run checks whether the database was restored; 0 means 5 s.
	EpochEvery time.Duration
}

func (o Options) withDefaults() Options {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	o.Writers = cmp.Or(o.Writers, 2)
	o.MaxConns = cmp.Or(o.MaxConns, 20)
	o.PoolNews = cmp.Or(o.PoolNews, 10*time.Second)
	o.MigrateWait = cmp.Or(o.MigrateWait, 30*time.Second)
	o.EpochEvery = cmp.Or(o.EpochEvery, 5*time.Second)
	return o
}

// DB is an open database. All its methods may be called by many goroutines.
type DB struct {
	o       Options
	dialect Dialect
	path    string            // of the SQLite file
	file    os.FileInfo       // of the SQLite file as it was opened
	server  *pgconnect.Config // of Postgres

	reads, appends, waiters int         // connections to Postgres, see shareConns
	short                   atomic.Bool // the server refused a connection, see watchPools

	read  *bun.DB // many connections
	write *bun.DB // the same on Postgres; SQLite: one connection, BEGIN IMMEDIATE
	log   *bun.DB // of the committer; SQLite: the same as write

	generations generations              // of SQLite only, see session.go
	retained    atomic.Int64             // the id that Retain has reached
	expiry      atomic.Pointer[expiring] // the row that ExpireNotifications has reached; nil: the start
	scanRows    int                      // rows that a page of Connections or Sessions reads at most
	stepRows    int                      // rows that one step of a task changes at most, see task.go
	committer   *committer
	epoch       epoch
	purged      atomic.Int64 // Unix ms of the last purge, see errors.go
	outages     *outages
	counters    counters

	closing sync.Once
	closed  error
}

// Open opens the database at o.URL and waits until it responds or ctx ends. It does
// not migrate. It fails with bridge.ErrUnavailable only if trying again may help. Its
// errors contain neither the user nor the password.
func Open(ctx context.Context, o Options) (*DB, error) {
	d := &DB{o: o.withDefaults(), waiters: waiters, stepRows: stepRows, scanRows: scanRows}
	d.outages = newOutages(d.o.Logger)
	if o.URL == "" {
		return nil, errors.New("the database URL is empty")
	}
	var err error
	if pgconnect.IsURL(o.URL) {
		err = d.openPostgres(ctx)
	} else {
		err = d.openSQLite(o.URL)
	}
	if err != nil {
		return nil, err
	}
	if err := d.read.PingContext(ctx); err != nil {
		_ = d.Close()
		return nil, d.openError("ping", err)
	}
	if err := d.checkSearchPath(ctx); err != nil {
		_ = d.Close()
		return nil, err
	}
	d.committer = newCommitter(d)
	if err := d.loadEpoch(ctx); err != nil {
		_ = d.Close()
		return nil, d.openError("read the epoch", err)
	}
	return d, nil
}

// openError wraps the error of a database that could not be opened. If waiting does not
// help, the error says what would.
func (d *DB) openError(op string, err error) error {
	if why := permanent(err); why != nil {
		return fmt.Errorf("open the %s database: %w", d.dialect, why)
	}
	return fmt.Errorf("open the %s database: %w", d.dialect, fail(op, err))
}

// withHooks attaches the query hooks to a pool.
func (d *DB) withHooks(pool *bun.DB) *bun.DB {
	for _, h := range d.o.Hooks {
		pool = pool.WithQueryHook(h)
	}
	return pool
}

// sqlitePath returns the path in sqlite:<path>, sqlite://<path> or <path>.
func sqlitePath(s string) (string, error) {
	if rest, ok := strings.CutPrefix(s, "sqlite:"); ok {
		s = strings.TrimPrefix(rest, "//")
	} else if u, err := url.Parse(s); err == nil && len(u.Scheme) > 1 {
		return "", fmt.Errorf("a database URL begins with postgres:// or sqlite:, not with %s", u.Scheme)
	}
	if s == "" || strings.HasPrefix(s, ":memory:") {
		return "", errors.New("a SQLite database needs the path of a file")
	}
	return s, nil
}

// Dialect returns the database system in use.
func (d *DB) Dialect() Dialect { return d.dialect }

// Ping reads the row of the epoch and the newest notification. A connection alone would
// not show that tables are missing or the file is corrupt.
func (d *DB) Ping(ctx context.Context) error {
	if err := d.checkFile(); err != nil {
		return d.fail("ping", err)
	}
	ctx, cancel := bound(ctx)
	defer cancel()
	var epoch string
	var newest int64
	err := d.read.NewSelect().Model((*meta)(nil)).Column("value").ColumnExpr("coalesce((SELECT max(id) FROM falcon_notifications), 0)").
		Where("key = 'epoch'").Scan(ctx, &epoch, &newest)
	if errors.Is(err, sql.ErrNoRows) {
		err = flaw("falcon_meta has no epoch")
	}
	return d.fail("ping", err)
}

// Run watches the epoch, and logs when connections run short, until ctx ends.
func (d *DB) Run(ctx context.Context) error {
	var watching sync.WaitGroup
	watching.Go(func() { d.watchPools(ctx) })
	defer watching.Wait()
	return d.watchEpoch(ctx)
}

// Close fails the queued appends, waits for those that run, and closes all connections.
func (d *DB) Close() error {
	d.closing.Do(func() {
		if d.committer != nil {
			d.committer.close()
		}
		d.closeEpoch()
		pools := []*bun.DB{d.read}
		if d.write != d.read {
			pools = append(pools, d.write)
		}
		if d.log != d.write {
			pools = append(pools, d.log)
		}
		for _, p := range pools {
			if p != nil {
				d.closed = errors.Join(d.closed, p.Close())
			}
		}
	})
	return d.closed
}

// bound limits ctx to the time that one statement or transaction may take.
func bound(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, callLimit)
}

// millis converts t to Unix milliseconds, the form in which every table stores times.
func millis(t time.Time) int64 { return t.UnixMilli() }

// moment converts Unix milliseconds to a time; 0 becomes the zero time.
func moment(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// nowMillis returns this process's time for columns that are only shown. The clock may
// jump, since no order depends on it; what is compared across nodes uses the database's
// clock.
func nowMillis() int64 { return time.Now().UnixMilli() }
