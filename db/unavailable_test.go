package db

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/testserver"
)

func TestCallsFailInTimeWhileTheDatabaseIsDownAndRecover(t *testing.T) {
	s := testserver.NewPostgres(t)
	d := openTest(t, Options{URL: s.URL})
	for range 3 {
		mustAppend(t, d, one("u", "t"))
	}
	epoch := d.Epoch()
	for name, stop := range map[string]func() error{"killed": s.Kill, "stopped": s.Stop} {
		if err := stop(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var wg sync.WaitGroup
		for _, call := range []func(context.Context) error{
			func(ctx context.Context) error { _, err := d.Append(ctx, one("u", "t")); return err },
			func(ctx context.Context) error { _, err := d.After(ctx, "u", 0, 1); return err },
			func(ctx context.Context) error { _, err := d.Head(ctx, "u"); return err },
			func(ctx context.Context) error { _, err := d.Now(ctx); return err },
			d.Ping,
		} {
			wg.Go(func() {
				err := call(context.Background())
				if !errors.Is(err, bridge.ErrUnavailable) {
					t.Errorf("%s: %v, want ErrUnavailable", name, err)
				}
				if err != nil && strings.Contains(err.Error(), "falcon@") {
					t.Errorf("%s: the error contains the URL: %v", name, err)
				}
			})
		}
		wg.Wait()
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
		testserver.Eventually(t, 5*time.Second, func() error {
			_, err := d.Append(context.Background(), one("u", "t"))
			return err
		})
		if err := d.loadEpoch(testContext(t)); err != nil || d.Epoch() != epoch {
			t.Errorf("%s: the epoch changed from %s to %s by a restart, %v", name, epoch, d.Epoch(), err)
		}
	}
	if got := seqs(t, d, "u"); len(got) != 5 {
		t.Errorf("the log has %v", got)
	}
}

// A restart of the server breaks the idle connections in the pool. No call may fail
// because it was given one of them.
func TestNoCallFailsAfterARestartOfTheDatabase(t *testing.T) {
	s := testserver.NewPostgres(t)
	d := openTest(t, Options{URL: s.URL})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { _, _ = d.After(context.Background(), "u", 0, 1) })
	}
	wg.Wait()
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	for i := range 8 {
		if _, err := d.After(testContext(t), "u", 0, 1); err != nil {
			t.Errorf("read %d after the restart: %v", i, err)
		}
	}
	if _, err := d.Append(testContext(t), one("u", "t")); err != nil {
		t.Errorf("append after the restart: %v", err)
	}
}

// deafProxy starts a proxy to a Postgres and returns its address. Once a client has sent
// listenFor over a connection, the proxy drops what the server sends back over it.
func deafProxy(t *testing.T, to string, listenFor []byte) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				_ = in.Close()
				continue
			}
			deaf := make(chan struct{})
			go func() {
				defer func() { _ = out.Close() }()
				b := make([]byte, 64<<10)
				for heard := false; ; {
					n, err := in.Read(b)
					if !heard && bytes.Contains(b[:n], listenFor) {
						heard = true
						close(deaf)
					}
					if _, werr := out.Write(b[:n]); err != nil || werr != nil {
						return
					}
				}
			}()
			go func() {
				defer func() { _ = in.Close() }()
				b := make([]byte, 64<<10)
				for {
					n, err := out.Read(b)
					select {
					case <-deaf:
						_, _ = io.Copy(io.Discard, out)
						return
					default:
					}
					if _, werr := in.Write(b[:n]); err != nil || werr != nil {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}

func TestACommitWithoutAResponseIsNotRepeated(t *testing.T) {
	url := testserver.Postgres(t)
	direct := openTest(t, Options{URL: url})
	host := strings.Split(strings.SplitN(url, "@", 2)[1], "/")[0]
	through := strings.Replace(url, host, deafProxy(t, host, []byte("swallow the answer")), 1)
	d := openTest(t, Options{URL: through})
	mustAppend(t, d, one("u", "t"))
	_, err := d.Append(context.Background(), keyed(one("u", "swallow the answer"), "k", "body"))
	if !errors.Is(err, bridge.ErrUnavailable) {
		t.Errorf("an unanswered commit: %v, want ErrUnavailable", err)
	}
	// The commit did happen, once, and a repeat with the caller's key finds it.
	testserver.Eventually(t, 5*time.Second, func() error {
		res, err := direct.Append(context.Background(), keyed(one("u", "swallow the answer"), "k", "body"))
		if err == nil && !res.Replayed {
			t.Error("the repeat with its key appended again")
		}
		return err
	})
	if n := number(t, direct, "SELECT count(*) FROM falcon_notifications WHERE title = 'swallow the answer'"); n != 1 {
		t.Errorf("%d rows", n)
	}
	if _, err := d.Append(testContext(t), one("u", "after")); err != nil {
		t.Errorf("the next append: %v", err)
	}
}

func TestAFullDiskIsUnavailableAndLeavesConsistentRows(t *testing.T) {
	d := openTest(t, Options{URL: filepath.Join(t.TempDir(), "falcon.db")})
	mustAppend(t, d, one("u", "t"))
	pages := number(t, d, "PRAGMA page_count")
	number(t, d, fmt.Sprintf("PRAGMA max_page_count = %d", pages+20))
	long := draft("u", "t")
	long.Message = strings.Repeat("x", bridge.MaxMessage)
	full := 0
	for i := range 200 {
		cmd := keyed(bridge.Command{Drafts: []bridge.Draft{long, draft(bridge.UserID(fmt.Sprint("v", i)), "t")}}, fmt.Sprint(i), "body")
		if _, err := d.Append(context.Background(), cmd); errors.Is(err, bridge.ErrUnavailable) {
			full++
		} else if err != nil {
			t.Fatalf("append on a full disk: %v", err)
		}
	}
	if full == 0 {
		t.Fatal("the disk was never full")
	}
	if got := seqs(t, d, "u"); len(got) == 0 || got[len(got)-1] != bridge.Seq(len(got)) {
		t.Errorf("gaps in the log: %v", got)
	}
	half := number(t, d, "SELECT (SELECT count(*) FROM falcon_notifications) - (SELECT sum(last_seq) FROM falcon_inboxes) + "+
		"(SELECT count(*) * 2 + 1 FROM falcon_keys) - (SELECT count(*) FROM falcon_notifications)")
	if half != 0 {
		t.Errorf("rows, inboxes and keys disagree by %d", half)
	}
	number(t, d, "PRAGMA max_page_count = 1000000")
	if _, err := d.Append(testContext(t), one("u", "free space again")); err != nil {
		t.Errorf("an append with free space again: %v", err)
	}
}

// When the database fails over to a standby that lacks the last commits, the log gets other
// notifications under seqs that were used before. Until a node has noticed, what devices
// acknowledged and where the relay stood must not be applied to the new log.
func TestNoPositionIsCarriedIntoARestoredLog(t *testing.T) {
	primary := testserver.NewPostgres(t)
	d := openTest(t, Options{URL: primary.URL})
	phone := dev("u", "phone")
	mustAppend(t, d, one("u", "kept"))
	s := open(t, d, phone)
	subscribe(t, d, phone, s.Generation)
	state := func() string {
		t.Helper()
		relay, leased, err := d.LeaseRelay(testContext(t), "n1", time.Hour)
		late, leasedLate, err2 := d.acquireLease(testContext(t), lateLease, "n1", time.Hour)
		if err := errors.Join(err, err2); err != nil || !leased || !leasedLate || relay != late {
			t.Fatalf("the leases: %q %v, %q %v, %v", relay, leased, late, leasedLate, err)
		}
		return relay
	}
	save := func(state string) (saved bool) {
		t.Helper()
		relay, err := d.SaveRelay(testContext(t), "n1", state, time.Hour)
		late, err2 := d.saveLease(testContext(t), d.write, lateLease, "n1", state)
		if err := errors.Join(err, err2); err != nil || relay != late {
			t.Fatalf("save %s: %v, %v, %v", state, relay, late, err)
		}
		return relay
	}
	state()
	save("kept")
	standby := primary.Standby(t) // a copy as of now
	standby.Promote(t)
	for range 3 {
		mustAppend(t, d, one("u", "lost"))
	}
	if err := primary.Stop(); err != nil {
		t.Fatal(err)
	}
	standby.MoveTo(t, primary)

	for range 2 { // as an application might
		exec(t, d, "SELECT falcon_notify('u', 'new', 'm')")
	}
	acked := bridge.Advance{Device: phone, Generation: s.Generation, Acked: 4, Sent: 4}
	if err := d.Advance(testContext(t), []bridge.Advance{acked}); !errors.Is(err, bridge.ErrUnavailable) {
		t.Errorf("a cursor in the former log was stored: %v", err)
	}
	if save("lost") || state() != "kept" {
		t.Error("a position in the former log was stored")
	}
	must(t, d.loadEpoch(testContext(t)))
	advanceTo(t, d, acked) // no error now, but without effect: it is of a former epoch
	if !save("new") {
		t.Error("a position of the new epoch was not stored")
	}
	if s = open(t, d, phone); s.Acked != 1 {
		t.Errorf("the device continues after %d, want 1, the last it has received of this log", s.Acked)
	}
}
