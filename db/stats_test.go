package db

import (
	"path/filepath"
	"testing"

	"github.com/falconalert/falconbridge/internal/pgconnect"
	"github.com/falconalert/falconbridge/internal/testserver"
)

func TestCommitTimeIsPartOfTransactionTime(t *testing.T) {
	for name, url := range map[string]string{"SQLite": filepath.Join(t.TempDir(), "falcon.db"), "Postgres": testserver.Postgres(t)} {
		t.Run(name, func(t *testing.T) {
			d := openTest(t, Options{URL: url})
			if s := d.Stats(testContext(t)); s.CommitTime != 0 {
				t.Errorf("before the first append the commit time is %v", s.CommitTime)
			}
			for range 10 {
				mustAppend(t, d, one(fresh(), "t"))
			}
			if err := d.Close(); err != nil { // the committer counts after it has returned a result
				t.Fatal(err)
			}
			c := &d.counters
			if commits, all := c.commitNanos.Load(), c.transactionNanos.Load(); commits <= 0 || commits >= all || c.transactions.Load() != 10 {
				t.Errorf("commits took %d ns of %d, in %d transactions", commits, all, c.transactions.Load())
			}
		})
	}
}

// A server that starts refuses connections, and an alert must not say that waiting does not
// help; a table that is missing is not cured by it.
func TestErrorsAreCountedByWhetherWaitingHelps(t *testing.T) {
	d := openTest(t, Options{URL: testserver.Postgres(t)})
	counted := func() (unavailable, fault int64) {
		s := d.Stats(testContext(t))
		return s.Errors["unavailable"], s.Errors["fault"]
	}
	_ = d.fail("ping", &pgconnect.Error{State: "57P03"})
	if u, f := counted(); u != 1 || f != 0 {
		t.Errorf("a server that starts: %d unavailable, %d faults", u, f)
	}
	_ = d.fail("ping", &pgconnect.Error{State: "28P01"})
	_, err := d.write.ExecContext(testContext(t), "SELECT 1 FROM falcon_nothing")
	_ = d.fail("read", err)
	if u, f := counted(); u != 1 || f != 2 {
		t.Errorf("with a wrong password and a missing table: %d unavailable, %d faults", u, f)
	}
}
