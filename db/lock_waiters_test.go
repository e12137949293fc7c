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

// idle begins a transaction, runs query in it and leaves it open, as an application that
// shares the database might.
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

func TestAnIdleTransactionDelaysOnlyItsUser(t *testing.T) {
	for name, query := range map[string]string{
		"it locks the inbox row":          "SELECT * FROM falcon_inboxes WHERE user_id = 'locked' FOR UPDATE",
		"it notified the user":            "SELECT falcon_notify('locked', 'from SQL', 'm')",
		"it created the user's inbox":     "SELECT falcon_notify('new', 'from SQL', 'm')",
		"it locks the report of a change": "SELECT * FROM falcon_reports WHERE id = 7 FOR UPDATE",
	} {
		t.Run(name, func(t *testing.T) {
			d := openTest(t, Options{URL: testserver.Postgres(t)})
			mustAppend(t, d, one("locked", "t"))
			storeReport(t, d, 7, "other")
			blocked := one("locked", "waits")
			switch name {
			case "it created the user's inbox":
				blocked = one("new", "waits")
			case "it locks the report of a change":
				blocked = change(7, "other", bridge.Approved)
			}
			tx := idle(t, d, query)

			const waiting = 12
			begun := time.Now()
			done := make(chan error, waiting)
			for range waiting { // more callers than there are waiters
				go func() {
					_, err := d.Append(context.Background(), blocked)
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
				t.Errorf("the append to the locked user returned: %v", err)
			default:
			}
			if err := tx.Commit(); err != nil {
				t.Fatal(err)
			}
			for range waiting {
				if err := <-done; err != nil {
					t.Errorf("after the row was unlocked: %v", err)
				}
			}
			if got := seqs(t, d, blocked.Drafts[0].User); !slices.Equal(got, upTo(len(got))) || len(got) == 0 {
				t.Errorf("the locked user has %v", got)
			}
		})
	}
}

func TestManyLockedUsersShareTheWaitersAndAreBounded(t *testing.T) {
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
				t.Errorf("an append to a locked user: %v, want ErrUnavailable", err)
			}
		})
	}
	if _, err := d.Append(testContext(t), one("u0", "t")); err != nil {
		t.Errorf("the append to the user that is not locked: %v", err)
	}
	wg.Wait()
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	for i := range users {
		if _, err := d.Append(testContext(t), one(bridge.UserID(fmt.Sprintf("u%d", i)), "t")); err != nil {
			t.Errorf("after the rows were unlocked: %v", err)
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
		t.Errorf("%d users have gaps or wrong counts", n)
	}
	if n := number(t, nodes[0], "SELECT count(*) FROM falcon_notifications"); n != callers*each+3*callers*4 {
		t.Errorf("%d rows", n)
	}
}
