package db

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/testserver"
	"github.com/uptrace/bun"
)

// idle begins a transaction of an application that shares the database, runs
// query in it and leaves it open.
func idle(t *testing.T, d *DB, query string) bun.Tx {
	t.Helper()
	tx, err := d.write.BeginTx(testContext(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tx.Rollback() })
	if _, err := tx.ExecContext(testContext(t), "SET LOCAL idle_in_transaction_session_timeout = 0"); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.ExecContext(testContext(t), query); err != nil {
		t.Fatal(err)
	}
	return tx
}

func TestAnIdleTransactionDelaysItsOwnUserOnly(t *testing.T) {
	for name, query := range map[string]string{
		"it holds the inbox row":          "SELECT * FROM falcon_inboxes WHERE user_id = 'held' FOR UPDATE",
		"it notified the user":            "SELECT falcon_notify('held', 'from SQL', 'm')",
		"it made the user's inbox":        "SELECT falcon_notify('new', 'from SQL', 'm')",
		"it holds the report of a change": "SELECT * FROM falcon_reports WHERE id = 7 FOR UPDATE",
	} {
		t.Run(name, func(t *testing.T) {
			d := openTest(t, Options{URL: testserver.Postgres(t)})
			mustAppend(t, d, one("held", "t"))
			storeReport(t, d, 7, "other")
			held := one("held", "waits")
			switch name {
			case "it made the user's inbox":
				held = one("new", "waits")
			case "it holds the report of a change":
				held = change(7, "other", bridge.Approved)
			}
			tx := idle(t, d, query)

			const waiting = 12
			begun := time.Now()
			done := make(chan error, waiting)
			for range waiting { // more than there are waiters
				go func() {
					_, err := d.Append(context.Background(), held)
					done <- err
				}()
			}
			for i := 0; time.Since(begun) < 3*lockWait; i++ {
				if _, err := d.Append(testContext(t), one(bridge.UserID(fmt.Sprintf("u%d", i%5)), "t")); err != nil {
					t.Fatalf("another user's append: %v", err)
				}
			}
			select {
			case err := <-done:
				t.Errorf("the held user's append returned: %v", err)
			default:
			}
			if err := tx.Commit(); err != nil {
				t.Fatal(err)
			}
			for range waiting {
				if err := <-done; err != nil {
					t.Errorf("once the row was free: %v", err)
				}
			}
			if got := seqs(t, d, held.Drafts[0].User); !slices.Equal(got, upTo(len(got))) || len(got) == 0 {
				t.Errorf("the held user has %v", got)
			}
		})
	}
}

func TestManyHeldUsersShareTheWaitersAndAreBounded(t *testing.T) {
	d := openTest(t, Options{URL: testserver.Postgres(t)})
	const users = 3 * waiters
	for i := range users {
		mustAppend(t, d, one(bridge.UserID(fmt.Sprintf("u%d", i)), "t"))
	}
	tx := idle(t, d, "SELECT * FROM falcon_inboxes WHERE user_id <> 'u0' FOR UPDATE")
	var wg sync.WaitGroup
	for i := 1; i < users; i++ {
		wg.Go(func() {
			if _, err := d.Append(context.Background(), one(bridge.UserID(fmt.Sprintf("u%d", i)), "t")); !errors.Is(err, bridge.ErrUnavailable) {
				t.Errorf("a held append: %v, want ErrUnavailable", err)
			}
		})
	}
	if _, err := d.Append(testContext(t), one("u0", "t")); err != nil {
		t.Errorf("the free user's append: %v", err)
	}
	wg.Wait()
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	for i := range users {
		if _, err := d.Append(testContext(t), one(bridge.UserID(fmt.Sprintf("u%d", i)), "t")); err != nil {
			t.Errorf("once free: %v", err)
		}
	}
}

func TestTwoNodesAppendToTheSameUsers(t *testing.T) {
	url := testserver.Postgres(t)
	nodes := []*DB{openTest(t, Options{URL: url}), openTest(t, Options{URL: url})}
	var wg sync.WaitGroup
	const callers, each = 24, 10
	for i := range callers {
		wg.Go(func() {
			for j := range each {
				cmd := one(bridge.UserID(fmt.Sprintf("u%d", (i+j)%4)), "t")
				if j%3 == 0 {
					cmd.Drafts = append(cmd.Drafts, draft("u3", "b"), draft("u1", "b"), draft(bridge.UserID(fmt.Sprintf("n%d", i)), "new"))
				}
				if _, err := nodes[i%2].Append(context.Background(), cmd); err != nil {
					t.Errorf("append: %v", err)
				}
			}
		})
	}
	wg.Wait()
	if n := number(t, nodes[0], "SELECT count(*) FROM (SELECT n.user_id FROM falcon_notifications n JOIN falcon_inboxes i USING (user_id) "+
		"GROUP BY n.user_id, i.last_seq, i.total HAVING count(*) <> i.last_seq OR max(n.seq) <> i.last_seq OR i.total <> count(*)) x"); n != 0 {
		t.Errorf("%d users have holes or wrong counts", n)
	}
	if n := number(t, nodes[0], "SELECT count(*) FROM falcon_notifications"); n != callers*each+3*callers*4 {
		t.Errorf("%d rows", n)
	}
}
