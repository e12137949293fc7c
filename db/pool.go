package db

import (
	"context"
	"database/sql"
	"time"
)

// Pools returns the statistics of each connection pool, by its purpose: read, write and
// append.
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

// poolWait is how long the calls of one interval must have waited for connections, in
// total, before that is logged. Waits of a few milliseconds during a burst are normal.
const poolWait = time.Second

// watchPools logs, at most once per interval, that calls wait for connections. When the
// server refuses a connection, the pool shrinks to the connections already open (see
// DB.pool). watchPools then restores the full size, so that in the next interval the pool
// tries again to open more.
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
			d.o.Logger.Warn("Postgres accepts no more connections: calls wait for the open ones; raise its limit, or lower --db-max-connections",
				"component", "db", "open", open, "calls", n-calls, "waited", (now - waited).Round(time.Millisecond))
			resize(d.read.DB, d.reads)
			resize(d.log.DB, d.appends)
		case now-waited >= poolWait:
			d.o.Logger.Warn("calls wait for database connections; raise --db-max-connections",
				"component", "db", "open", open, "calls", n-calls, "waited", (now - waited).Round(time.Millisecond))
		}
		waited, calls = now, n
	}
}

// resize lets a pool have n connections, busy or idle. Both limits are set because
// database/sql lowers the idle limit along with the open one, but does not raise it
// again.
func resize(db *sql.DB, n int) {
	db.SetMaxOpenConns(n)
	db.SetMaxIdleConns(n)
}
