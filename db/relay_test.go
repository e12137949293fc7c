package db

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/testserver"
)

func TestOnlyOneNodeHasTheRelaysLease(t *testing.T) {
	each(t, func(t *testing.T, d *DB) {
		ctx := testContext(t)
		lease := func(node string, want bool, state string) {
			t.Helper()
			got, leased, err := d.LeaseRelay(ctx, node, time.Hour)
			if err != nil || leased != want || got != state {
				t.Fatalf("%s: state %q, leased %v, %v; want %q, %v", node, got, leased, err, state, want)
			}
		}
		lease("a", true, "")
		lease("b", false, "")
		if saved, err := d.SaveRelay(ctx, "a", "one", time.Hour); err != nil || !saved {
			t.Fatalf("save: %v, %v", saved, err)
		}
		if saved, err := d.SaveRelay(ctx, "b", "stolen", time.Hour); err != nil || saved {
			t.Fatalf("a node without the lease saved: %v, %v", saved, err)
		}
		lease("a", true, "one")
		if err := d.ReleaseRelay(ctx, "a"); err != nil {
			t.Fatal(err)
		}
		lease("b", true, "one")
		exec(t, d, "UPDATE falcon_relay SET held_until = held_until - 3600001")
		lease("a", true, "one") // b's lease has run out
		exec(t, d, "UPDATE falcon_relay SET held_until = held_until - 8 * 24 * 3600000")
		lease("c", true, "") // no relay ran for too long, so the position is void
	})
}

func TestMutesDeletesAndErasuresTouchTheirUser(t *testing.T) {
	each(t, func(t *testing.T, d *DB) {
		ctx := testContext(t)
		add := func(u bridge.UserID) int64 {
			r, err := d.Append(ctx, bridge.Command{Drafts: []bridge.Draft{{User: u, Kind: bridge.KindMessage, Title: "t", Message: "m"}}})
			if err != nil {
				t.Fatal(err)
			}
			return r.Appended[0].ID
		}
		id := add("1")
		if err := d.Delete(ctx, "1", id); err != nil {
			t.Fatal(err)
		}
		if n := number(t, d, "SELECT count(*) FROM falcon_touched"); n != 0 {
			t.Fatalf("%d users are recorded although no relay has ever run", n)
		}
		if _, _, err := d.LeaseRelay(ctx, "a", time.Hour); err != nil {
			t.Fatal(err)
		}
		var pos bridge.Position
		next := func(want ...bridge.UserID) {
			t.Helper()
			users, p, err := d.Touched(ctx, pos, 10)
			if err != nil || !slices.Equal(users, want) {
				t.Fatalf("touched %v, %v; want %v", users, err, want)
			}
			pos = p
		}
		next()
		id = add("1")
		next() // a new notification is in the feed instead
		if err := d.Delete(ctx, "1", id); err != nil {
			t.Fatal(err)
		}
		if err := set(ctx, d, "2", bridge.Settings{}); err != nil {
			t.Fatal(err)
		}
		if err := set(ctx, d, "2", bridge.Settings{ReviewEnabled: true}); err != nil {
			t.Fatal(err)
		}
		if err := set(ctx, d, "2", bridge.Settings{ReviewEnabled: true}); err != nil { // no change
			t.Fatal(err)
		}
		users, p, err := d.Touched(ctx, pos, 10)
		if err != nil || len(users) == 0 || users[0] != "1" || users[len(users)-1] != "2" {
			t.Fatalf("touched %v, %v", users, err)
		}
		pos = p
		next()
		add("3")
		if _, err := d.Erase(ctx, "3"); err != nil {
			t.Fatal(err)
		}
		users, _, err = d.Touched(ctx, pos, 10)
		if err != nil || !slices.Contains(users, "3") {
			t.Fatalf("an erased user is not touched: %v, %v", users, err)
		}
		if n := number(t, d, "SELECT count(*) FROM falcon_touched WHERE user_id = '1'"); n != 0 {
			t.Errorf("%d rows are left that the relay has read", n)
		}
	})
}

func TestLatestAtIgnoresRowsAfterThePosition(t *testing.T) {
	each(t, func(t *testing.T, d *DB) {
		ctx := testContext(t)
		u, v := fresh(), fresh()
		seed(t, d, v, 1)
		// after returns a position at which u's latest notification has the seq last. It may
		// have to wait until a transaction of another test, which holds back the horizon, ends.
		after := func(last bridge.Seq) (pos bridge.Position) {
			t.Helper()
			testserver.Eventually(t, 30*time.Second, func() (err error) {
				if pos, err = d.Now(ctx); err != nil {
					return err
				}
				got, err := d.LatestAt(ctx, []bridge.UserID{u}, pos)
				if err == nil && !slices.Equal(seqsOf(got), []bridge.Seq{last}) {
					err = fmt.Errorf("at %s %s has %v", pos, u, seqsOf(got))
				}
				return err
			})
			return pos
		}
		ns := seed(t, d, u, 2)
		pos := after(2)
		seed(t, d, u, 2)
		end := after(4)
		want := func(p bridge.Position, of bridge.UserID, want ...bridge.Seq) {
			t.Helper()
			got, err := d.LatestAt(ctx, []bridge.UserID{of, "nobody"}, p)
			if err != nil || !slices.Equal(seqsOf(got), append([]bridge.Seq{}, want...)) {
				t.Errorf("at %s %s has %v, %v; want %v", p, of, seqsOf(got), err, want)
			}
		}
		want(pos, u, 2)
		want(pos, v, 1)
		want(end, u, 4)
		must(t, d.Delete(ctx, u, ns[1].ID))
		want(pos, u, 1)
		must(t, d.Delete(ctx, u, ns[0].ID))
		want(pos, u)
		want(end, u, 4)
		want("", u)
		want("another/0:99", u)
		must(t, set(ctx, d, v, bridge.Settings{}))
		want(pos, v)
		if got, err := d.LatestAt(ctx, nil, end); err != nil || len(got) > 0 {
			t.Errorf("for no users: %v, %v", got, err)
		}
	})
}
