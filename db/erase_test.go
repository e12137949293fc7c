package db

import (
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

func TestErase(t *testing.T) {
	together(t, map[string]func(*testing.T, *DB){
		"no row of the user is left":                               testEraseAll,
		"a user without any rows can be erased":                    testEraseNobody,
		"a revocation outlives its user":                           testEraseRevocation,
		"concurrent erasures leave exact counts and valid cursors": testEraseRace,
	})
}

// userColumns maps each table with a user's rows to the column with the user ID.
var userColumns = map[string]string{
	"falcon_inboxes": "user_id", "falcon_notifications": "user_id", "falcon_reports": "user_id",
	"falcon_sessions": "user_id", "falcon_keys": "caller",
}

func testEraseAll(t *testing.T, d *DB) {
	u, other, ctx := fresh(), fresh(), testContext(t)
	for _, v := range []bridge.UserID{u, other} {
		seed(t, d, v, 3)
		newReport(t, d, bridge.NewReport{Title: "T", User: v})
		subscribe(t, d, dev(v, "phone"), open(t, d, dev(v, "phone")).Generation)
		must(t, set(ctx, d, v, muted))
		_, err := d.Append(ctx, bridge.Command{Key: &bridge.IdempotencyKey{Caller: v, Key: "k"},
			Drafts: []bridge.Draft{{User: v, Kind: bridge.KindMessage, Title: "T", Message: "M"}}})
		must(t, err)
	}
	highest := number(t, d, "SELECT max(id) FROM falcon_notifications")
	must(t, second(d.Erase(ctx, u)))
	for table, column := range userColumns {
		count := "SELECT count(*) FROM " + table + " WHERE " + column + " = ?"
		if n := number(t, d, count, u); n != 0 {
			t.Errorf("%s has %d rows of the erased user", table, n)
		}
		if n := number(t, d, count, other); n == 0 {
			t.Errorf("%s has no rows of the other user", table)
		}
	}
	if s, err := d.Settings(ctx, u); err != nil || !reflect.DeepEqual(s, bridge.DefaultSettings()) {
		t.Errorf("settings %+v, %v", s, err)
	}
	if ns := seed(t, d, u, 1); ns[0].Seq != 1 || ns[0].ID <= highest || ns[0].Muted {
		t.Errorf("the first notification after the erasure: %+v; the highest id before was %d", ns[0], highest)
	}
	if s := open(t, d, dev(u, "phone")); s.Present {
		t.Errorf("session %+v", s)
	}
	checkCounts(t, d, other)
}

func testEraseNobody(t *testing.T, d *DB) {
	must(t, second(d.Erase(testContext(t), fresh())))
}

func testEraseRevocation(t *testing.T, d *DB) {
	u, ctx := fresh(), testContext(t)
	must(t, d.Revoke(ctx, bridge.Revocation{User: u, Before: time.Now()}))
	must(t, second(d.Erase(ctx, u)))
	if revoked, err := d.Revoked(ctx, bridge.Claims{User: u}); err != nil || !revoked {
		t.Errorf("revoked %v, %v", revoked, err)
	}
}

// testEraseRace erases a user repeatedly while devices connect and rows are appended. At
// the end the counts must be exact and no cursor beyond the end of the log.
func testEraseRace(t *testing.T, d *DB) {
	u, ctx := fresh(), testContext(t)
	must(t, d.Beat(ctx, "n1", bridge.Figures{}))
	var wg sync.WaitGroup
	errs := make([]error, 4)
	wg.Go(func() {
		for range 10 {
			errs[0] = errors.Join(errs[0], second(d.Erase(ctx, u)))
		}
	})
	wg.Go(func() {
		for range 40 {
			_, err := d.Append(ctx, bridge.Command{Drafts: []bridge.Draft{{User: u, Kind: bridge.KindMessage, Title: "T", Message: "M"}}})
			errs[1] = errors.Join(errs[1], err)
		}
	})
	for w := range 2 {
		wg.Go(func() {
			for i := range 20 {
				phone := dev(u, fmt.Sprint("c", w, i%3))
				s, err := d.Open(ctx, bridge.OpenSession{Device: phone, Node: "n1", Expiry: time.Hour})
				if err == nil {
					_, _, err = d.Subscribe(ctx, phone, s.Generation, bridge.Subscription{}, nil)
				}
				errs[2+w] = errors.Join(errs[2+w], err)
			}
		})
	}
	wg.Wait()
	must(t, errors.Join(errs...))
	checkCounts(t, d, u)
	last := number(t, d, "SELECT coalesce(max(last_seq), 0) FROM falcon_inboxes WHERE user_id = ?", u)
	if n := number(t, d, "SELECT coalesce(max(acked_seq), 0) FROM falcon_sessions WHERE user_id = ?", u); n > last {
		t.Errorf("a cursor is at %d in a log that ends at %d", n, last)
	}
	if n := number(t, d, "SELECT coalesce(max(seq), 0) FROM falcon_notifications WHERE user_id = ?", u); n != last {
		t.Errorf("the highest seq is %d, the inbox has %d", n, last)
	}
}
