package db

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/falconalert/falconbridge/bridge"
)

// together runs all of fs as subtests on one SQLite and one Postgres database, since
// creating a database takes longer than most tests. Each test must use users of its own,
// which it gets from fresh.
func together(t *testing.T, fs map[string]func(t *testing.T, d *DB)) {
	t.Helper()
	each(t, func(t *testing.T, d *DB) {
		for name, f := range fs {
			t.Run(name, func(t *testing.T) { f(t, d) })
		}
	})
}

var users atomic.Int64

// fresh returns a user that no other test uses.
func fresh() bridge.UserID { return bridge.UserID(fmt.Sprint("u", users.Add(1))) }

// seed appends n notifications to u and returns them.
func seed(t testing.TB, d *DB, u bridge.UserID, n int) []bridge.Notification {
	t.Helper()
	var out []bridge.Notification
	for len(out) < n {
		var drafts []bridge.Draft
		for i := range min(n-len(out), bridge.MaxBatch) {
			drafts = append(drafts, bridge.Draft{User: u, Kind: bridge.KindMessage, Title: fmt.Sprintf("Title %d", len(out)+i+1), Message: "Message"})
		}
		res, err := d.Append(testContext(t), bridge.Command{Drafts: drafts})
		if err != nil {
			t.Fatalf("append %d to %s: %v", n, u, err)
		}
		out = append(out, res.Appended...)
	}
	return out
}

// must ends the test if err is not nil.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func seqsOf(ns []bridge.Notification) []bridge.Seq {
	out := []bridge.Seq{}
	for _, n := range ns {
		out = append(out, n.Seq)
	}
	return out
}

// checkCounts checks that the counts kept in u's inbox row equal a recount of u's notifications.
func checkCounts(t testing.TB, d *DB, u bridge.UserID) {
	t.Helper()
	const listed = "SELECT count(*) FROM falcon_notifications n LEFT JOIN falcon_inboxes i USING (user_id) WHERE user_id = ? AND seq > coalesce(erased_seq, 0)"
	total := number(t, d, listed, u)
	unread := number(t, d, listed+" AND read_at = 0", u)
	if got := number(t, d, "SELECT coalesce(max(total), 0) FROM falcon_inboxes WHERE user_id = ?", u); got != total {
		t.Errorf("user %s: the inbox has total %d, counting gives %d", u, got, total)
	}
	if got := number(t, d, "SELECT coalesce(max(unread), 0) FROM falcon_inboxes WHERE user_id = ?", u); got != unread {
		t.Errorf("user %s: the inbox has unread %d, counting gives %d", u, got, unread)
	}
	hidden := number(t, d, listed+" AND hidden", u)
	if got := number(t, d, "SELECT coalesce(max(hidden_total), 0) FROM falcon_inboxes WHERE user_id = ?", u); got != hidden {
		t.Errorf("user %s: the inbox has hidden_total %d, counting gives %d", u, got, hidden)
	}
	hidden = number(t, d, listed+" AND hidden AND read_at = 0", u)
	if got := number(t, d, "SELECT coalesce(max(hidden_unread), 0) FROM falcon_inboxes WHERE user_id = ?", u); got != hidden {
		t.Errorf("user %s: the inbox has hidden_unread %d, counting gives %d", u, got, hidden)
	}
}

// lockInbox locks u's inbox row in a separate transaction, as an application might, until
// release is called. On SQLite it takes the lock for all writes.
func lockInbox(t testing.TB, d *DB, u bridge.UserID) (release func()) {
	t.Helper()
	tx, err := d.log.BeginTx(testContext(t), nil)
	must(t, err)
	if d.dialect == Postgres { // a busy machine may leave the transaction idle for long
		_, err := tx.ExecContext(testContext(t), "SET LOCAL idle_in_transaction_session_timeout = 0")
		must(t, err)
	}
	if _, err := d.lockRows(tx.NewSelect().Model(&inbox{UserID: u}).WherePK(), "NO KEY UPDATE").Exec(testContext(t)); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := tx.Rollback(); err != nil {
			t.Errorf("release the inbox: %v", err)
		}
	}
}

// readUpTo marks u's notifications up to upTo as read, which must take only one step.
func readUpTo(ctx context.Context, d *DB, u bridge.UserID, upTo bridge.Seq) (unread int64, err error) {
	unread, done, err := d.ReadUpTo(ctx, u, upTo)
	if err == nil && !done {
		err = errors.New("not all were marked in one step")
	}
	return unread, err
}

// second returns the error of a call with two results.
func second[T any](_ T, err error) error { return err }

// set changes u's settings to s: the setting for all kinds and those of the kinds that s
// names. The change must take effect in one step.
func set(ctx context.Context, d *DB, u bridge.UserID, s bridge.Settings) error {
	c := bridge.SettingsChange{ReviewEnabled: &s.ReviewEnabled, Kinds: make(map[bridge.Kind]*bool)}
	for k, on := range s.Kinds {
		c.Kinds[k] = &on
	}
	_, done, err := d.ChangeSettings(ctx, u, c)
	if err == nil && !done {
		err = errors.New("the settings did not take effect in one step")
	}
	return err
}
