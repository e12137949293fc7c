package db

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/testserver"
)

func draft(u bridge.UserID, title string) bridge.Draft {
	return bridge.Draft{User: u, Kind: bridge.KindMessage, Title: title, Message: "m"}
}

func one(u bridge.UserID, title string) bridge.Command {
	return bridge.Command{Drafts: []bridge.Draft{draft(u, title)}}
}

func keyed(c bridge.Command, key, body string) bridge.Command {
	c.Key = &bridge.IdempotencyKey{Caller: "app", Key: key, Body: sha256.Sum256([]byte(body))}
	return c
}

// mustAppend runs c, which must not fail.
func mustAppend(t testing.TB, d *DB, c bridge.Command) bridge.Result {
	t.Helper()
	res, err := d.Append(testContext(t), c)
	if err != nil {
		t.Fatalf("append: %v", err)
	}
	return res
}

// seqs returns the seqs of u's log that are delivered to devices.
func seqs(t testing.TB, d *DB, u bridge.UserID) []bridge.Seq {
	t.Helper()
	ns, err := d.After(testContext(t), u, 0, 100_000)
	if err != nil {
		t.Fatalf("after: %v", err)
	}
	out := make([]bridge.Seq, len(ns))
	for i := range ns {
		out[i] = ns[i].Seq
	}
	return out
}

func upTo(n int) []bridge.Seq {
	out := make([]bridge.Seq, n)
	for i := range out {
		out[i] = bridge.Seq(i + 1)
	}
	return out
}

func TestAnAppendedNotificationIsReadBackUnchanged(t *testing.T) {
	each(t, func(t *testing.T, d *DB) {
		in := bridge.Draft{User: "u:1|a@b", Kind: bridge.KindMessage, ReportID: 7, StatusID: bridge.Approved,
			Title:   `it's "quoted", {braced}, back\slashed, $1 and ?0`,
			Message: "acentos áéí, 漢字, 🦅\nlines\t'' NULL \\x41 --", Data: []byte(`{"a":"b\\n'","c":[1,null]}`)}
		res := mustAppend(t, d, bridge.Command{Drafts: []bridge.Draft{in}})
		got, err := d.After(testContext(t), in.User, 0, 10)
		if err != nil || len(got) != 1 {
			t.Fatalf("after: %v, %v", got, err)
		}
		want := res.Appended[0]
		if string(got[0].Item()) != string(want.Item()) {
			t.Errorf("read %s\nwrote %s", got[0].Item(), want.Item())
		}
		if want.Title != in.Title || want.Message != in.Message || string(want.Data) != string(in.Data) || want.Seq != 1 || want.ID == 0 {
			t.Errorf("appended %+v", want)
		}
	})
}

func TestConcurrentAppendsAreContiguousAndInCommitOrder(t *testing.T) {
	each(t, func(t *testing.T, d *DB) {
		const callers, each, users = 32, 20, 3
		stop := make(chan struct{})
		var watch, wg sync.WaitGroup
		watch.Go(func() { // once a seq can be read, all lower ones can
			for seen := bridge.Seq(0); ; {
				ns, err := d.After(context.Background(), "u0", seen, 1000)
				if err != nil {
					t.Errorf("after: %v", err)
					return
				}
				for _, n := range ns {
					if n.Seq != seen+1 {
						t.Errorf("read seq %d after %d", n.Seq, seen)
						return
					}
					seen = n.Seq
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
		var mu sync.Mutex
		assigned := map[string]bool{}
		for c := range callers {
			wg.Go(func() {
				last := bridge.Seq(0)
				for i := range each {
					u := bridge.UserID(fmt.Sprintf("u%d", c%users))
					res, err := d.Append(context.Background(), one(u, fmt.Sprint(i)))
					if err != nil {
						t.Errorf("append: %v", err)
						return
					}
					n := res.Appended[0]
					if n.Seq <= last {
						t.Errorf("a caller got seq %d after %d", n.Seq, last)
					}
					last = n.Seq
					mu.Lock()
					id := fmt.Sprint(u, n.Seq)
					if assigned[id] {
						t.Errorf("seq %d of %s was assigned twice", n.Seq, u)
					}
					assigned[id] = true
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		close(stop)
		watch.Wait()
		total := 0
		for u := range users {
			got := seqs(t, d, bridge.UserID(fmt.Sprintf("u%d", u)))
			if !slices.Equal(got, upTo(len(got))) {
				t.Errorf("u%d has %v", u, got)
			}
			total += len(got)
		}
		if total != callers*each {
			t.Errorf("%d rows, want %d", total, callers*each)
		}
		if n := number(t, d, "SELECT sum(total - unread) + sum(total) - sum(last_seq) FROM falcon_inboxes"); n != 0 {
			t.Errorf("the inboxes' counts are off by %d", n)
		}
	})
}

func TestABatchIsStoredEntirelyOrNotAtAll(t *testing.T) {
	each(t, func(t *testing.T, d *DB) {
		var drafts []bridge.Draft
		for i := range bridge.MaxBatch {
			drafts = append(drafts, draft(bridge.UserID(fmt.Sprintf("u%d", i%7)), fmt.Sprint(i)))
		}
		res := mustAppend(t, d, bridge.Command{Drafts: drafts})
		if len(res.Appended) != len(drafts) {
			t.Fatalf("%d entries for %d drafts", len(res.Appended), len(drafts))
		}
		for i, n := range res.Appended {
			if n.Title != drafts[i].Title || n.User != drafts[i].User || n.Seq != bridge.Seq(i/7+1) {
				t.Fatalf("entry %d is %+v", i, n)
			}
		}
		poison(t, d)
		bad := append(slices.Clone(drafts[:10]), draft("u1", "poison"))
		if _, err := d.Append(testContext(t), bridge.Command{Drafts: bad}); err == nil {
			t.Fatal("a batch with an invalid draft was stored")
		}
		if n := number(t, d, "SELECT count(*) FROM falcon_notifications"); n != bridge.MaxBatch {
			t.Errorf("%d rows after a failed batch, want %d", n, bridge.MaxBatch)
		}
		if n := number(t, d, "SELECT sum(last_seq) FROM falcon_inboxes"); n != bridge.MaxBatch {
			t.Errorf("the failed batch used up seqs: the inboxes' last_seq add up to %d, want %d", n, bridge.MaxBatch)
		}
	})
}

// poison makes the database reject the title "poison".
func poison(t *testing.T, d *DB) {
	t.Helper()
	if d.dialect == Postgres {
		exec(t, d, "ALTER TABLE falcon_notifications ADD CONSTRAINT no_poison CHECK (title <> 'poison')")
		return
	}
	exec(t, d, "CREATE TRIGGER no_poison BEFORE INSERT ON falcon_notifications WHEN new.title = 'poison' BEGIN SELECT RAISE(ABORT, 'no'); END")
}

func TestAnInvalidCommandFailsOnlyItsOwnCaller(t *testing.T) {
	each(t, func(t *testing.T, d *DB) {
		poison(t, d)
		const callers = 40
		errs := make([]error, callers)
		var wg sync.WaitGroup
		for i := range callers {
			wg.Go(func() {
				title := "fine"
				switch i % 8 {
				case 3:
					title = "poison"
				case 5:
					title = "a\x00b"
				case 6:
					title = "a\xffb"
				}
				_, errs[i] = d.Append(context.Background(), one("u", title))
			})
		}
		wg.Wait()
		fine := 0
		for i, err := range errs {
			var invalid *bridge.InvalidError
			switch i % 8 {
			case 3, 5, 6:
				if !errors.As(err, &invalid) {
					t.Errorf("caller %d with invalid text got %v, want an InvalidError", i, err)
				} else if strings.Contains(err.Error(), "poison") {
					t.Errorf("the error repeats what was sent: %v", err)
				}
			default:
				fine++
				if err != nil {
					t.Errorf("caller %d with valid text got %v", i, err)
				}
			}
		}
		if got := seqs(t, d, "u"); !slices.Equal(got, upTo(fine)) {
			t.Errorf("the log has %v, want 1 to %d", got, fine)
		}
	})
}

func TestANotificationRecordsWhetherItsUserWasMuted(t *testing.T) {
	each(t, func(t *testing.T, d *DB) {
		ctx := testContext(t)
		mustAppend(t, d, one("u", "before"))
		exec(t, d, "UPDATE falcon_inboxes SET review_enabled = ? WHERE user_id = 'u'", false)
		res := mustAppend(t, d, one("u", "muted"))
		if !res.Appended[0].Muted || res.Appended[0].Seq != 2 {
			t.Errorf("an append while muted: %+v", res.Appended[0])
		}
		if got := seqs(t, d, "u"); len(got) != 0 {
			t.Errorf("%v is delivered to a muted user", got)
		}
		head, err := d.Head(ctx, "u")
		if err != nil || head.Last != 2 || head.Latest != nil {
			t.Errorf("the head of a muted user: %+v, %v", head, err)
		}
		exec(t, d, "UPDATE falcon_inboxes SET review_enabled = ? WHERE user_id = 'u'", true)
		mustAppend(t, d, one("u", "after"))
		if got := seqs(t, d, "u"); !slices.Equal(got, []bridge.Seq{1, 3}) {
			t.Errorf("%v is delivered after the mute, want 1 and 3", got)
		}
	})
}

func TestCallersContextsAreHonoured(t *testing.T) {
	each(t, func(t *testing.T, d *DB) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_, err := d.Append(ctx, one("u", "t"))
		if err != nil && (!errors.Is(err, bridge.ErrUnavailable) || !errors.Is(err, context.Canceled)) {
			t.Errorf("a cancelled append: %v", err)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Append(context.Background(), one("u", "t")); !errors.Is(err, bridge.ErrUnavailable) {
			t.Errorf("an append after close: %v", err)
		}
	})
}

// Transactions run one at a time as long as they are short. When one takes long, the next
// starts in parallel.
func TestALongTransactionDelaysNobodyElse(t *testing.T) {
	d := openTest(t, Options{URL: testserver.Postgres(t)})
	mustAppend(t, d, one("slow", "first"))
	exec(t, d, "CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(1); RETURN NEW; END $$")
	exec(t, d, "CREATE TRIGGER dawdle BEFORE INSERT ON falcon_notifications FOR EACH ROW WHEN (NEW.title = 'slow') EXECUTE FUNCTION dawdle()")
	slow := make(chan error, 1)
	go func() {
		_, err := d.Append(context.Background(), one("slow", "slow"))
		slow <- err
	}()
	testserver.Eventually(t, 5*time.Second, func() error {
		if number(t, d, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'") == 0 {
			return errors.New("the slow transaction has not begun")
		}
		return nil
	})
	for range 5 {
		mustAppend(t, d, one("quick", "t"))
	}
	select {
	case err := <-slow:
		t.Errorf("the slow transaction ended (%v) before the others", err)
	default:
	}
	must(t, <-slow)
}

// Many concurrent callers on two nodes are batched into shared transactions. Among their
// users are new ones, a muted one and one whose inbox row is locked.
func TestConcurrentBatchesKeepEveryInvariant(t *testing.T) {
	url := testserver.Postgres(t)
	nodes := []*DB{openTest(t, Options{URL: url}), openTest(t, Options{URL: url})}
	must(t, set(testContext(t), nodes[0], "muted", bridge.Settings{}))
	release := lockInbox(t, nodes[0], mustAppend(t, nodes[0], one("locked", "t")).Appended[0].User)
	var wg sync.WaitGroup
	const callers, rounds = 40, 8
	for i := range callers {
		wg.Go(func() {
			for j := range rounds {
				u := bridge.UserID(fmt.Sprintf("u%d", (i*j)%5))
				switch i % 8 {
				case 1:
					u = "muted"
				case 2:
					u = "locked"
				case 3:
					u = bridge.UserID(fmt.Sprintf("new-%d-%d", i, j))
				}
				title := fmt.Sprintf("%d/%d", i, j)
				res, err := nodes[i%2].Append(context.Background(), one(u, title))
				switch {
				case u == "locked" && errors.Is(err, bridge.ErrUnavailable):
					return // it waited as long as a caller waits
				case err != nil:
					t.Errorf("append to %s: %v", u, err)
				case len(res.Appended) != 1 || res.Appended[0].User != u || res.Appended[0].Title != title || res.Appended[0].Muted != (u == "muted"):
					t.Errorf("append to %s returned %+v", u, res.Appended)
				case number(t, nodes[0], "SELECT count(*) FROM falcon_notifications WHERE id = ? AND user_id = ? AND seq = ? AND title = ?",
					res.Appended[0].ID, u, res.Appended[0].Seq, title) != 1:
					t.Errorf("the stored row differs from the returned %+v", res.Appended[0])
				}
			}
		})
	}
	wg.Wait()
	release()
	for _, q := range []string{
		"SELECT count(*) FROM (SELECT user_id FROM falcon_notifications n JOIN falcon_inboxes i USING (user_id) GROUP BY user_id, last_seq, total, unread " +
			"HAVING count(*) <> last_seq OR max(seq) <> last_seq OR total <> count(*) OR unread <> count(*)) x",
		"SELECT count(*) FROM falcon_notifications a JOIN falcon_notifications b ON a.user_id = b.user_id AND a.seq = b.seq + 1 WHERE (a.xid, a.id) <= (b.xid, b.id)",
	} {
		if n := number(t, nodes[0], q); n != 0 {
			t.Errorf("%d rows violate an invariant: %s", n, q)
		}
	}
}
