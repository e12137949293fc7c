package db

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

func TestHistory(t *testing.T) {
	together(t, map[string]func(*testing.T, *DB){
		"history is listed in pages":                              testPagesOfHistory,
		"an unknown user has an empty inbox":                      testAnUnknownUserHasAnEmptyInbox,
		"a notification is read as it was written":                testANotificationIsReadAsItWasWritten,
		"read and delete keep the counts":                         testReadAndDeleteKeepTheCounts,
		"a deleted notification is neither replayed nor retained": testADeletedNotificationIsNeitherReplayedNorRetained,
		"the first read sets the time":                            testTheFirstReadSetsTheTime,
		"writing to a locked inbox fails in time":                 testWritingToALockedInboxFailsInTime,
	})
}

func testPagesOfHistory(t *testing.T, d *DB) {
	u, other := fresh(), fresh()
	ctx := testContext(t)
	ns := seed(t, d, u, 9)
	seed(t, d, other, 3)
	for _, i := range []int{1, 3} { // seqs 2 and 4
		_, err := d.Read(ctx, u, ns[i].ID)
		must(t, err)
	}
	must(t, d.Delete(ctx, u, ns[5].ID)) // seq 6
	count := bridge.Count{Total: 8, Unread: 6, Last: 9}
	for name, tt := range map[string]struct {
		q    bridge.Query
		want []bridge.Seq
		more bool
	}{
		"newest first":               {bridge.Query{Limit: 3}, []bridge.Seq{9, 8, 7}, true},
		"before a seq":               {bridge.Query{Before: 7, Limit: 3}, []bridge.Seq{5, 4, 3}, true},
		"before a seq, to the end":   {bridge.Query{Before: 3, Limit: 2}, []bridge.Seq{2, 1}, false},
		"after a seq, oldest first":  {bridge.Query{Forward: true, After: 4, Limit: 3}, []bridge.Seq{5, 7, 8}, true},
		"from the start":             {bridge.Query{Forward: true, Limit: 2}, []bridge.Seq{1, 2}, true},
		"after the last":             {bridge.Query{Forward: true, After: 9, Limit: 2}, []bridge.Seq{}, false},
		"unread only":                {bridge.Query{Unread: true, Limit: 50}, []bridge.Seq{9, 8, 7, 5, 3, 1}, false},
		"unread only, before":        {bridge.Query{Unread: true, Before: 8, Limit: 2}, []bridge.Seq{7, 5}, true},
		"unread only, after":         {bridge.Query{Unread: true, Forward: true, After: 1, Limit: 2}, []bridge.Seq{3, 5}, true},
		"between two seqs":           {bridge.Query{Forward: true, After: 1, Before: 4, Limit: 9}, []bridge.Seq{2, 3}, false},
		"a page that fits exactly":   {bridge.Query{Limit: 8}, []bridge.Seq{9, 8, 7, 5, 4, 3, 2, 1}, false},
		"no limit means the default": {bridge.Query{}, []bridge.Seq{9, 8, 7, 5, 4, 3, 2, 1}, false},
		"a limit above the maximum":  {bridge.Query{Limit: 10000}, []bridge.Seq{9, 8, 7, 5, 4, 3, 2, 1}, false},
	} {
		t.Run(name, func(t *testing.T) {
			tt.q.User = u
			page, err := d.List(ctx, tt.q)
			must(t, err)
			if got := seqsOf(page.Items); fmt.Sprint(got) != fmt.Sprint(tt.want) || page.More != tt.more {
				t.Errorf("got %v, more %v; want %v, %v", got, page.More, tt.want, tt.more)
			}
			if page.Count != count {
				t.Errorf("counts %+v, want %+v", page.Count, count)
			}
		})
	}
}

func testAnUnknownUserHasAnEmptyInbox(t *testing.T, d *DB) {
	ctx := testContext(t)
	page, err := d.List(ctx, bridge.Query{User: "nobody", Limit: 5})
	if err != nil || page.Items == nil || len(page.Items) != 0 || page.More || page.Count != (bridge.Count{}) {
		t.Errorf("list: %+v, %v", page, err)
	}
	if c, err := d.Count(ctx, "nobody"); err != nil || c != (bridge.Count{}) {
		t.Errorf("count: %+v, %v", c, err)
	}
	if n, _, err := d.ReadUpTo(ctx, "nobody", 0); err != nil || n != 0 {
		t.Errorf("read all: %d, %v", n, err)
	}
	for name, err := range map[string]error{
		"read":   second(d.Read(ctx, "nobody", 1)),
		"delete": d.Delete(ctx, "nobody", 1),
		"find":   second(d.Find(ctx, 1<<50)),
	} {
		if !errors.Is(err, bridge.ErrNotFound) {
			t.Errorf("%s: %v, want ErrNotFound", name, err)
		}
	}
}

func testANotificationIsReadAsItWasWritten(t *testing.T, d *DB) {
	ctx := testContext(t)
	res, err := d.Append(ctx, bridge.Command{Drafts: []bridge.Draft{{User: "ana|x@y:z", Kind: bridge.KindReportStatus,
		Title: `It's "quoted" \ ? $1 {a,b}`, Message: "línea\nñ 🦅", ReportID: 3, StatusID: bridge.Approved, Data: []byte(`{"a":[1,"?"]}`)}}})
	must(t, err)
	want := res.Appended[0]
	found, err := d.Find(ctx, want.ID)
	must(t, err)
	page, err := d.List(ctx, bridge.Query{User: "ana|x@y:z", Limit: 1})
	must(t, err)
	for name, got := range map[string]bridge.Notification{"found": found, "listed": page.Items[0]} {
		if string(got.Item()) != string(want.Item()) || got.Muted {
			t.Errorf("%s: %s\nwant   %s", name, got.Item(), want.Item())
		}
	}
}

func testReadAndDeleteKeepTheCounts(t *testing.T, d *DB) {
	u, other := fresh(), fresh()
	ctx := testContext(t)
	ns := seed(t, d, u, 6)
	steps := []struct {
		name   string
		do     func() (int64, error)
		unread int64
	}{
		{"read one", func() (int64, error) { return d.Read(ctx, u, ns[0].ID) }, 5},
		{"read it again", func() (int64, error) { return d.Read(ctx, u, ns[0].ID) }, 5},
		{"read up to 3", func() (int64, error) { return readUpTo(ctx, d, u, 3) }, 3},
		{"read up to 3 again", func() (int64, error) { return readUpTo(ctx, d, u, 3) }, 3},
		{"delete a read one", func() (int64, error) { return 3, d.Delete(ctx, u, ns[0].ID) }, 3},
		{"delete an unread one", func() (int64, error) { return 2, d.Delete(ctx, u, ns[5].ID) }, 2},
		{"read all", func() (int64, error) { return readUpTo(ctx, d, u, 0) }, 0},
	}
	for _, s := range steps {
		n, err := s.do()
		if err != nil || n != s.unread {
			t.Fatalf("%s: %d unread, %v; want %d", s.name, n, err, s.unread)
		}
		checkCounts(t, d, u)
	}
	if err := d.Delete(ctx, u, ns[5].ID); !errors.Is(err, bridge.ErrNotFound) {
		t.Errorf("delete twice: %v", err)
	}
	if err := d.Delete(ctx, other, ns[1].ID); !errors.Is(err, bridge.ErrNotFound) {
		t.Errorf("delete another user's: %v", err)
	}
	seed(t, d, other, 1)
	if _, err := d.Read(ctx, other, ns[1].ID); !errors.Is(err, bridge.ErrNotFound) {
		t.Errorf("read another user's: %v", err)
	}
	if c, err := d.Count(ctx, u); err != nil || c != (bridge.Count{Total: 4, Unread: 0, Last: 6}) {
		t.Errorf("count: %+v, %v", c, err)
	}
	if next := seed(t, d, u, 1); next[0].Seq != 7 {
		t.Errorf("a deleted seq was used again: %d", next[0].Seq)
	}
}

func testADeletedNotificationIsNeitherReplayedNorRetained(t *testing.T, d *DB) {
	u := fresh()
	ctx := testContext(t)
	ns := seed(t, d, u, 3)
	must(t, d.Delete(ctx, u, ns[2].ID))
	head, err := d.Head(ctx, u)
	if err != nil || head.Last != 3 || head.Latest == nil || head.Latest.Seq != 2 {
		t.Errorf("head: %+v, %v", head, err)
	}
	after, err := d.After(ctx, u, 0, 10)
	if err != nil || fmt.Sprint(seqsOf(after)) != "[1 2]" {
		t.Errorf("after: %v, %v", seqsOf(after), err)
	}
}

func testTheFirstReadSetsTheTime(t *testing.T, d *DB) {
	u := fresh()
	ctx := testContext(t)
	ns := seed(t, d, u, 1)
	begun := time.Now().Add(-time.Millisecond)
	_, err := d.Read(ctx, u, ns[0].ID)
	must(t, err)
	first, err := d.Find(ctx, ns[0].ID)
	must(t, err)
	if first.ReadAt.Before(begun) || first.ReadAt.After(time.Now()) {
		t.Errorf("read at %v", first.ReadAt)
	}
	_, _, err = d.ReadUpTo(ctx, u, 0)
	must(t, err)
	if again, err := d.Find(ctx, ns[0].ID); err != nil || !again.ReadAt.Equal(first.ReadAt) {
		t.Errorf("a second read moved the time from %v to %v, %v", first.ReadAt, again.ReadAt, err)
	}
}

func testWritingToALockedInboxFailsInTime(t *testing.T, d *DB) {
	u, other := fresh(), fresh()
	ns := seed(t, d, u, 1)
	seed(t, d, other, 1)
	release := lockInbox(t, d, u)
	defer release()
	if _, err := d.Read(context.Background(), u, ns[0].ID); !errors.Is(err, bridge.ErrUnavailable) {
		t.Errorf("read while another transaction locks the inbox: %v, want ErrUnavailable", err)
	}
	if c, err := d.Count(testContext(t), u); err != nil || c.Unread != 1 {
		t.Errorf("a count, which needs no lock: %+v, %v", c, err)
	}
}
