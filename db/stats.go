package db

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Stats are counters since the start of this process, and the number of absent sessions.
type Stats struct {
	Errors map[string]int64 // failed calls by kind; every kind has an entry

	Transactions    int64 // of the committer
	TransactionTime time.Duration

	// CommitTime is a part of TransactionTime. On SQLite it is that of COMMIT; on
	// Postgres it is everything but the statement's run on the server: the wait for a
	// connection, the network and the commit.
	CommitTime time.Duration

	// Absent is how many sessions of the whole cluster have no connection, at most
	// MaxAbsent. It is up to a minute old; -1 means unknown.
	Absent int64
}

// MaxAbsent is where Stats stops counting absent sessions.
const MaxAbsent = 100_000

// errorKinds maps classes of errors to the kinds of Stats.Errors. The other classes are
// ordinary results, not failures.
var errorKinds = map[class]string{
	unavailable: "unavailable", // waiting may help: no connection, no response in time, a lock, a server that starts
	fault:       "fault",       // waiting does not help: a full disk, a missing table or privilege
	refused:     "value",       // a value that the database does not accept
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

// absentSessions counts sessions without a connection, at most MaxAbsent of them. It reads a
// range of the index falcon_sessions_expiry, which has no open sessions. It returns -1 if the
// database is unavailable.
func (d *DB) absentSessions(ctx context.Context) int64 {
	ctx, cancel := bound(ctx)
	defer cancel()
	absent := d.read.NewSelect().Model((*session)(nil)).ColumnExpr("1").Where("expires_at > 0").Limit(MaxAbsent)
	var n int64
	if err := d.read.NewSelect().TableExpr("(?) AS s", absent).ColumnExpr("count(*)").Scan(ctx, &n); err != nil {
		return -1
	}
	return n
}
