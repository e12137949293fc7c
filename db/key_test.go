package db

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"testing"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/testserver"
)

func TestARepeatedKeyReturnsTheFirstResult(t *testing.T) {
	each(t, func(t *testing.T, d *DB) {
		batch := bridge.Command{Drafts: []bridge.Draft{draft("u", "a"), draft("v", "b"), draft("u", "c")}}
		first := mustAppend(t, d, keyed(batch, "k", "body"))
		again := mustAppend(t, d, keyed(batch, "k", "body"))
		if first.Replayed || !again.Replayed || len(again.Appended) != 3 {
			t.Fatalf("first %+v, again %+v", first, again)
		}
		for i, n := range again.Appended {
			if w := first.Appended[i]; n.ID != w.ID || n.Seq != w.Seq || n.User != w.User {
				t.Errorf("entry %d: replayed %+v, first %+v", i, n, w)
			}
		}
		if _, err := d.Append(testContext(t), keyed(batch, "k", "other")); !errors.Is(err, bridge.ErrKeyReused) {
			t.Errorf("another body: %v, want ErrKeyReused", err)
		}
		other := keyed(batch, "k", "other")
		other.Key.Caller = "another app"
		if res := mustAppend(t, d, other); res.Replayed {
			t.Error("the key of another caller was replayed")
		}
		exec(t, d, "UPDATE falcon_keys SET created_at = created_at - ?", bridge.KeyTTL.Milliseconds())
		if res := mustAppend(t, d, keyed(batch, "k", "other")); res.Replayed {
			t.Error("a key older than a day was replayed")
		}
	})
}

func TestConcurrentDuplicatesAppendOnce(t *testing.T) {
	for name, url := range map[string]string{
		"SQLite":   filepath.Join(t.TempDir(), "falcon.db"),
		"Postgres": testserver.Postgres(t),
	} {
		t.Run(name, func(t *testing.T) {
			nodes := []*DB{openTest(t, Options{URL: url}), openTest(t, Options{URL: url})}
			var wg sync.WaitGroup
			ids := make([]int64, 40)
			for i := range ids {
				wg.Go(func() {
					res, err := nodes[i%2].Append(context.Background(), keyed(one("u", "t"), "k", "body"))
					if err != nil {
						t.Errorf("append: %v", err)
						return
					}
					ids[i] = res.Appended[0].ID
				})
			}
			wg.Wait()
			for _, id := range ids {
				if id != ids[0] {
					t.Errorf("two calls with one key returned ids %d and %d", id, ids[0])
				}
			}
			if n := number(t, nodes[0], "SELECT count(*) FROM falcon_notifications"); n != 1 {
				t.Errorf("%d rows for one key", n)
			}
		})
	}
}

func TestAKeyInFlightOnAnotherNodeIsWaitedForBriefly(t *testing.T) {
	d := openTest(t, Options{URL: testserver.Postgres(t)})
	ctx := testContext(t)
	// Another node's transaction has locked the key and does not end.
	tx := idle(t, d, "SELECT pg_advisory_xact_lock(hashtextextended('app k', 1701))")
	if _, err := d.Append(ctx, keyed(one("u", "t"), "k", "body")); !errors.Is(err, bridge.ErrKeyInFlight) {
		t.Errorf("%v, want ErrKeyInFlight", err)
	}
	if _, err := d.Append(ctx, one("u", "no key")); err != nil {
		t.Errorf("without the key: %v", err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := d.Append(ctx, keyed(one("u", "t"), "k", "body"))
		done <- err
	}()
	must(t, tx.Rollback())
	if err := <-done; err != nil {
		t.Errorf("after the other transaction ended: %v", err)
	}
}
