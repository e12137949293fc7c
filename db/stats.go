package db

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Stats are counts since the start of this process, and what was looked up for them.
type Stats struct {
	Errors map[string]int64 // failed calls, by kind; every kind is there

	Transactions    int64 // of the committer
	TransactionTime time.Duration
	CommitTime      time.Duration // of TransactionTime: COMMIT on SQLite; on Postgres all but the statement on the server, so the wait for a connection, the network and the commit

	// Absent is how many sessions have no connection, of the whole cluster, at most
	// MaxAbsent and up to a minute old; -1: not known.
	Absent int64
}

// MaxAbsent is where Stats stops counting absent sessions.
const MaxAbsent = 100_000

// errorKinds are the kinds of Stats.Errors by class. The other classes are answers.
var errorKinds = map[class]string{
	away:    "unavailable", // no connection, or no response in time: it may have happened
	fault:   "fault",       // the server refused: full, read-only, locked, a missing table
	refused: "value",       // a value that the database does not take
}

// counters are what Stats is made of.
type counters struct {
	errors           [fault + 1]atomic.Int64
	transactions     atomic.Int64
	transactionNanos atomic.Int64
	commitNanos      atomic.Int64

	mu       sync.Mutex
	absent   int64
	absentAt time.Time
}

// Stats returns the counters. It reads the database at most once a minute.
func (d *DB) Stats(ctx context.Context) Stats {
	c := &d.counters
	s := Stats{Errors: make(map[string]int64), Transactions: c.transactions.Load(), TransactionTime: time.Duration(c.transactionNanos.Load()), CommitTime: time.Duration(c.commitNanos.Load())}
	for class, kind := range errorKinds {
		s.Errors[kind] = c.errors[class].Load()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.absentAt.IsZero() || time.Since(c.absentAt) >= time.Minute {
		c.absent, c.absentAt = d.absentSessions(ctx), time.Now()
	}
	s.Absent = c.absent
	return s
}

// absentSessions counts a range of falcon_sessions_expiry, which has no session that is
// open; -1 where the database is unavailable.
func (d *DB) absentSessions(ctx context.Context) int64 {
	ctx, cancel := bound(ctx)
	defer cancel()
	some := d.read.NewSelect().Model((*session)(nil)).ColumnExpr("1").Where("expires_at > 0").Limit(MaxAbsent)
	var n int64
	if err := d.read.NewSelect().TableExpr("(?) AS s", some).ColumnExpr("count(*)").Scan(ctx, &n); err != nil {
		return -1
	}
	return n
}
