package db

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/falconalert/falconbridge/bridge"
)

// together runs fs on one database of each kind: making one takes longer than most
// tests. Each f uses users of its own, see fresh.
func together(t *testing.T, fs map[string]func(t *testing.T, d *DB)) {
	t.Helper()
	each(t, func(t *testing.T, d *DB) {
		for name, f := range fs {
			t.Run(name, func(t *testing.T) { f(t, d) })
		}
	})
}

var users atomic.Int64

// fresh is a user no other test has.
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

// must fails the test where err is one.
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

// exact compares u's counts with a recount of the rows.
func exact(t testing.TB, d *DB, u bridge.UserID) {
	t.Helper()
	const listed = "SELECT count(*) FROM falcon_notifications n LEFT JOIN falcon_inboxes i USING (user_id) WHERE user_id = ? AND seq > coalesce(erased_seq, 0)"
	total := number(t, d, listed, u)
	unread := number(t, d, listed+" AND read_at = 0", u)
	if got := number(t, d, "SELECT coalesce(max(total), 0) FROM falcon_inboxes WHERE user_id = ?", u); got != total {
		t.Errorf("user %s: the inbox says total %d, its rows are %d", u, got, total)
	}
	if got := number(t, d, "SELECT coalesce(max(unread), 0) FROM falcon_inboxes WHERE user_id = ?", u); got != unread {
		t.Errorf("user %s: the inbox says unread %d, its rows are %d", u, got, unread)
	}
	hidden := number(t, d, listed+" AND hidden", u)
	if got := number(t, d, "SELECT coalesce(max(hidden_total), 0) FROM falcon_inboxes WHERE user_id = ?", u); got != hidden {
		t.Errorf("user %s: the inbox says hidden %d, its rows are %d", u, got, hidden)
	}
	hidden = number(t, d, listed+" AND hidden AND read_at = 0", u)
	if got := number(t, d, "SELECT coalesce(max(hidden_unread), 0) FROM falcon_inboxes WHERE user_id = ?", u); got != hidden {
		t.Errorf("user %s: the inbox says hidden unread %d, its rows are %d", u, got, hidden)
	}
}

// hold takes the lock of u's inbox row in a transaction of its own, as an
// application may. On SQLite it holds the one write lock.
func hold(t testing.TB, d *DB, u bridge.UserID) (release func()) {
	t.Helper()
	tx, err := d.log.BeginTx(testContext(t), nil)
	must(t, err)
	if d.dialect == Postgres { // however long a busy machine takes
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

// readUpTo marks notifications of u that fit one step as read.
func readUpTo(ctx context.Context, d *DB, u bridge.UserID, upTo bridge.Seq) (unread int64, err error) {
	unread, done, err := d.ReadUpTo(ctx, u, upTo)
	if err == nil && !done {
		err = errors.New("some are left")
	}
	return unread, err
}

// second is the error of a call with two results.
func second[T any](_ T, err error) error { return err }

// set changes what s says of all kinds, or of some, and waits until it is done.
func set(ctx context.Context, d *DB, u bridge.UserID, s bridge.Settings) error {
	c := bridge.SettingsChange{ReviewEnabled: &s.ReviewEnabled, Kinds: make(map[bridge.Kind]*bool)}
	for k, on := range s.Kinds {
		c.Kinds[k] = &on
	}
	_, done, err := d.ChangeSettings(ctx, u, c)
	if err == nil && !done {
		err = errors.New("the settings are not in effect")
	}
	return err
}
