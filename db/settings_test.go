package db

import (
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"

	"github.com/falconalert/falconbridge/bridge"
)

func TestSettings(t *testing.T) {
	together(t, map[string]func(*testing.T, *DB){
		"a user without settings has the defaults":                          testDefaultSettings,
		"nothing is listed or counted for a muted user":                     testMutedUser,
		"a notification appended during a mute is listed but not delivered": testMutedMeanwhile,
		"an append is entirely before or after a mute":                      testMuteRace,
		"a mute before the first notification applies to it":                testMuteFirst,
	})
}

var muted, unmuted = bridge.Settings{}, bridge.Settings{ReviewEnabled: true}

func testDefaultSettings(t *testing.T, d *DB) {
	u, ctx := fresh(), testContext(t)
	if s, err := d.Settings(ctx, u); err != nil || !reflect.DeepEqual(s, bridge.DefaultSettings()) {
		t.Errorf("settings %+v, %v", s, err)
	}
	must(t, set(ctx, d, u, unmuted))
	if n := number(t, d, "SELECT count(*) FROM falcon_inboxes WHERE user_id = ?", u); n != 0 {
		t.Error("setting the defaults created an inbox")
	}
}

func testMutedUser(t *testing.T, d *DB) {
	u, ctx := fresh(), testContext(t)
	ns := seed(t, d, u, 3)
	must(t, set(ctx, d, u, muted))
	if s, err := d.Settings(ctx, u); err != nil || !reflect.DeepEqual(s, muted) {
		t.Errorf("settings %+v, %v", s, err)
	}
	page, err := d.List(ctx, bridge.Query{User: u, Limit: 5})
	if err != nil || len(page.Items) != 0 || page.More || page.Count != (bridge.Count{Last: 3}) {
		t.Errorf("list %+v, %v", page, err)
	}
	if c, err := d.Count(ctx, u); err != nil || c != (bridge.Count{Last: 3}) {
		t.Errorf("count %+v, %v", c, err)
	}
	if n, err := d.Read(ctx, u, ns[0].ID); err != nil || n != 0 {
		t.Errorf("read while muted: %d, %v", n, err)
	}
	if h, err := d.Head(ctx, u); err != nil || h.Latest != nil || h.Last != 3 {
		t.Errorf("head %+v, %v", h, err)
	}
	must(t, set(ctx, d, u, unmuted))
	if c, err := d.Count(ctx, u); err != nil || c != (bridge.Count{Total: 3, Unread: 2, Last: 3}) {
		t.Errorf("count after unmute %+v, %v", c, err)
	}
	checkCounts(t, d, u)
}

func testMutedMeanwhile(t *testing.T, d *DB) {
	u, ctx := fresh(), testContext(t)
	seed(t, d, u, 1)
	must(t, set(ctx, d, u, muted))
	if ns := seed(t, d, u, 2); !ns[0].Muted || !ns[1].Muted {
		t.Error("the notifications appended to a muted user are not marked as muted")
	}
	must(t, set(ctx, d, u, unmuted))
	seed(t, d, u, 1)
	page, err := d.List(ctx, bridge.Query{User: u, Limit: 9})
	if err != nil || fmt.Sprint(seqsOf(page.Items)) != "[4 3 2 1]" {
		t.Errorf("listed %v, %v", seqsOf(page.Items), err)
	}
	for i, want := range []bool{false, true, true, false} {
		if page.Items[i].Muted != want {
			t.Errorf("seq %d: muted is %v", page.Items[i].Seq, page.Items[i].Muted)
		}
	}
	after, err := d.After(ctx, u, 0, 9)
	if err != nil || fmt.Sprint(seqsOf(after)) != "[1 4]" {
		t.Errorf("deliverable %v, %v", seqsOf(after), err)
	}
	checkCounts(t, d, u)
}

// testMuteRace appends while another goroutine mutes and unmutes the user. In the order of
// the seqs, Muted may change at most as often as the setting did.
func testMuteRace(t *testing.T, d *DB) {
	u, ctx := fresh(), testContext(t)
	const flips = 10
	var wg sync.WaitGroup
	errs := make([]error, 3)
	wg.Go(func() {
		for i := range flips {
			errs[0] = errors.Join(errs[0], set(ctx, d, u, bridge.Settings{ReviewEnabled: i%2 == 1}))
		}
	})
	for w := range 2 {
		wg.Go(func() {
			for range 20 {
				_, err := d.Append(ctx, bridge.Command{Drafts: []bridge.Draft{{User: u, Kind: bridge.KindMessage, Title: "T", Message: "M"}}})
				errs[1+w] = errors.Join(errs[1+w], err)
			}
		})
	}
	wg.Wait()
	must(t, errors.Join(errs...))
	page, err := d.List(ctx, bridge.Query{User: u, Forward: true, Limit: 200})
	must(t, err)
	changes := 0
	for i, n := range page.Items {
		if n.Seq != bridge.Seq(i+1) {
			t.Fatalf("item %d has seq %d", i+1, n.Seq)
		}
		if i > 0 && n.Muted != page.Items[i-1].Muted {
			changes++
		}
	}
	if len(page.Items) != 40 || changes > flips {
		t.Errorf("%d rows, want 40; Muted changes %d times, want at most %d", len(page.Items), changes, flips)
	}
	checkCounts(t, d, u)
}

func testMuteFirst(t *testing.T, d *DB) {
	u, ctx := fresh(), testContext(t)
	must(t, set(ctx, d, u, muted))
	if ns := seed(t, d, u, 1); !ns[0].Muted || ns[0].Seq != 1 {
		t.Errorf("appended %+v", ns[0])
	}
	if after, err := d.After(ctx, u, 0, 9); err != nil || len(after) != 0 {
		t.Errorf("deliverable %v, %v", seqsOf(after), err)
	}
}
