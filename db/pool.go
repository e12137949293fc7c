package db

import (
	"context"
	"database/sql"
	"time"
)

// Pools are the figures of each pool of connections, by what it is for.
func (d *DB) Pools() map[string]sql.DBStats {
	pools := map[string]sql.DBStats{"read": d.read.Stats()}
	if d.write != d.read { // SQLite: one connection writes
		pools["write"] = d.write.Stats()
	}
	if d.log != d.write { // Postgres: the committer has its own
		pools["append"] = d.log.Stats()
	}
	return pools
}

// poolWait is how long calls of an interval must have waited for connections, all together,
// to be logged. Waits of milliseconds in a burst are normal for a pool.
const poolWait = time.Second

// watchPools logs, at most once an interval, that calls wait for connections, and restores
// pools that were limited because the server refused a connection.
func (d *DB) watchPools(ctx context.Context) {
	if d.dialect != Postgres {
		return
	}
	t := time.NewTicker(d.o.PoolNews)
	defer t.Stop()
	var waited time.Duration
	var calls int64
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		read, log := d.read.Stats(), d.log.Stats()
		now, n := read.WaitDuration+log.WaitDuration, read.WaitCount+log.WaitCount
		refused := d.short.Swap(false)
		switch open := read.OpenConnections + log.OpenConnections; {
		case refused:
			d.o.Logger.Warn("Postgres takes no more connections: calls wait for those there are; raise its limit, or lower --db-max-connections",
				"component", "db", "open", open, "calls", n-calls, "waited", (now - waited).Round(time.Millisecond))
			allow(d.read.DB, d.reads)
			allow(d.log.DB, d.appends)
		case now-waited >= poolWait:
			d.o.Logger.Warn("calls wait for database connections; raise --db-max-connections",
				"component", "db", "open", open, "calls", n-calls, "waited", (now - waited).Round(time.Millisecond))
		}
		waited, calls = now, n
	}
}

// allow lets a pool have n connections, busy or idle. A lower limit of busy ones
// lowers that of idle ones, but a higher one does not raise it.
func allow(db *sql.DB, n int) {
	db.SetMaxOpenConns(n)
	db.SetMaxIdleConns(n)
}
