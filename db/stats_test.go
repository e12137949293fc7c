package db

import (
	"path/filepath"
	"testing"

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
