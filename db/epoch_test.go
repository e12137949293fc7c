package db

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/testserver"
)

func openAt(t *testing.T, path string) *DB {
	t.Helper()
	return openTest(t, Options{URL: path})
}

func TestTheEpochSurvivesRestarts(t *testing.T) {
	for name, url := range map[string]string{
		"SQLite":   filepath.Join(t.TempDir(), "falcon.db"),
		"Postgres": testserver.Postgres(t),
	} {
		t.Run(name, func(t *testing.T) {
			first := openAt(t, url)
			epoch := first.Epoch()
			if len(epoch) != 16 {
				t.Fatalf("the epoch is %q", epoch)
			}
			second := openAt(t, url) // another process at the same time
			for range 3 {
				mustAppend(t, first, one("u", "t"))
				for _, d := range []*DB{first, second} {
					if err := d.loadEpoch(testContext(t)); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := first.Close(); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				d := openAt(t, url)
				if d.Epoch() != epoch || second.Epoch() != epoch {
					t.Errorf("the epoch went from %s to %s and %s", epoch, d.Epoch(), second.Epoch())
				}
				if err := d.Close(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// copyFile copies a SQLite file that no process has open, over one that may exist.
func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func closeNow(t *testing.T, d *DB) {
	t.Helper()
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestARestoredSQLiteFileBeginsANewEpoch(t *testing.T) {
	for name, restore := range map[string]func(t *testing.T, backup, path string){
		"next to its epoch file": func(t *testing.T, backup, path string) { copyFile(t, backup, path) },
		"without its epoch file": func(t *testing.T, backup, path string) {
			copyFile(t, backup, path)
			if err := os.Remove(sidecarPath(path)); err != nil {
				t.Fatal(err)
			}
		},
		"at the tick of the epoch file, after a kill": func(t *testing.T, backup, path string) {
			copyFile(t, backup, path)
			s, err := readSidecar(path)
			if err != nil || s == nil {
				t.Fatal(s, err)
			}
			s.Tick = 0
			if err := writeSidecar(path, *s); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "falcon.db")
			d := openAt(t, path)
			mustAppend(t, d, one("u", "t"))
			closeNow(t, d)
			copyFile(t, path, path+".bak")
			d = openAt(t, path)
			epoch := d.Epoch()
			for range 5 {
				mustAppend(t, d, one("u", "lost"))
			}
			closeNow(t, d)
			restore(t, path+".bak", path)
			d = openAt(t, path)
			if d.Epoch() == epoch {
				t.Error("the epoch is the same")
			}
		})
	}
}

// storeSession inserts a session of user u that is open on node n with generation 9 and
// has its cursor at seq.
func storeSession(t *testing.T, d *DB, seq int) {
	t.Helper()
	exec(t, d, "INSERT INTO falcon_nodes (id, started_at, beat_at) VALUES ('n', 5, 5)") // as a backup would contain it
	exec(t, d, "INSERT INTO falcon_sessions (user_id, client_id, generation, node, expiry_ms, used_at, subscribed, from_seq, acked_seq, sent_seq) "+
		"VALUES ('u', 'c', 9, 'n', 3600000, 5, ?, 0, ?, ?)", true, seq, seq)
}

func TestNoCursorIsBeyondTheLogAfterARestore(t *testing.T) {
	each(t, func(t *testing.T, d *DB) {
		for range 3 {
			mustAppend(t, d, one("u", "t"))
		}
		storeSession(t, d, 9)
		epoch := d.Epoch()
		p, err := d.Now(testContext(t))
		if err != nil {
			t.Fatal(err)
		}
		if err := d.loadEpoch(testContext(t)); err != nil { // the second check, after which the tick is 2
			t.Fatal(err)
		}
		// To a process that is running during a restore, the tick goes back to one that
		// it has seen before.
		exec(t, d, "UPDATE falcon_meta SET value = '0' WHERE key = 'tick'")
		ctx, cancel := context.WithCancel(testContext(t))
		done := make(chan error, 1)
		go func() { done <- d.Run(ctx) }()
		testserver.Eventually(t, 5*time.Second, func() error {
			if d.Epoch() == epoch {
				return os.ErrDeadlineExceeded
			}
			return nil
		})
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
		mustAppend(t, d, one("u", "new"))
		if n := number(t, d, "SELECT acked_seq FROM falcon_sessions"); n != 9 {
			t.Errorf("a stored cursor was changed to %d before its device connected", n)
		}
		must(t, d.Advance(testContext(t), []bridge.Advance{{Device: dev("u", "c"), Generation: 9, Acked: 4, Sent: 4, From: 4}}))
		if n := number(t, d, "SELECT from_seq FROM falcon_sessions"); n != 0 {
			t.Error("a connection of the former epoch moved the cursor")
		}
		s := openAs(t, d, bridge.OpenSession{Device: dev("u", "c"), Node: "n", Expiry: time.Hour})
		if !s.Present || s.Acked != 3 {
			t.Errorf("%+v, want the cursor at the end of the restored log, 3", s)
		}
		if got, _ := drain(t, d, p, 10); !slices.Equal(got, []string{"u4"}) {
			t.Errorf("a position of the former epoch gives %v, want what was appended since", got)
		}
		_, p, _, err = d.Changed(testContext(t), p, 10)
		must(t, err)
		mustAppend(t, d, one("u", "t"))
		if cs, _, _, err := d.Changed(testContext(t), p, 10); err != nil || len(cs) != 1 || cs[0].Last != 5 {
			t.Errorf("the sweep found %v, %v", cs, err)
		}
	})
}

// After a dump of another cluster is loaded, its rows have xids far above this cluster's.
// An import must store rows under this cluster's xids, or the relay would not find the
// notifications that it has to retain.
func TestAnImportAfterLoadingADumpIsBelowTheFeedsEnd(t *testing.T) {
	d := openTest(t, Options{URL: testserver.Postgres(t)})
	mustAppend(t, d, one("u", "t"))
	exec(t, d, "UPDATE falcon_notifications SET xid = '4611686018427387904'")
	exec(t, d, "UPDATE falcon_inboxes SET last_xid = '4611686018427387904'")
	exec(t, d, "UPDATE falcon_meta SET value = 'another cluster' WHERE key = 'mark'")
	must(t, d.loadEpoch(testContext(t)))
	past := ImportedNotification{ID: 1, Draft: bridge.Draft{User: "u", Title: "t", Message: "m"}, CreatedAt: time.Now()}
	if n, err := d.ImportNotifications(testContext(t), []ImportedNotification{past}); err != nil || n != 1 {
		t.Fatalf("imported %d, %v", n, err)
	}
	now, err := d.Now(testContext(t))
	must(t, err)
	ns, err := d.LatestAt(testContext(t), []bridge.UserID{"u"}, now)
	if err != nil || len(ns) != 1 || ns[0].Seq != 2 {
		t.Errorf("the latest is %v, %v, want the imported one", ns, err)
	}
}

func TestADumpLoadedIntoAnotherClusterPrecedesTheFeed(t *testing.T) {
	d := openTest(t, Options{URL: testserver.Postgres(t)})
	mustAppend(t, d, one("u", "t"))
	exec(t, d, "UPDATE falcon_notifications SET xid = '4611686018427387904'")
	exec(t, d, "UPDATE falcon_inboxes SET last_xid = '4611686018427387904'")
	exec(t, d, "UPDATE falcon_meta SET value = 'another cluster' WHERE key = 'mark'")
	epoch := d.Epoch()
	if err := d.loadEpoch(testContext(t)); err != nil || d.Epoch() == epoch {
		t.Fatalf("the epoch is %s, was %s, %v", d.Epoch(), epoch, err)
	}
	mustAppend(t, d, one("u", "t"))
	if got, _ := drain(t, d, "", 1); !slices.Equal(got, []string{"u2"}) {
		t.Errorf("the feed shows %v, want only the new notification", got)
	}
	if n := number(t, d, "SELECT count(*) FROM falcon_notifications WHERE xid = '4611686018427387904'"); n != 1 {
		t.Error("a loaded row's xid was changed, or the next row has the same xid")
	}
	ns, err := d.LatestAt(testContext(t), []bridge.UserID{"u"}, "")
	if err != nil || len(ns) != 1 || ns[0].Seq != 1 {
		t.Errorf("before the feed, the latest is %v, %v", ns, err)
	}
}

// A notification that is appended while an epoch begins has an xid at or above the end of
// the snapshot of the transaction that begins the epoch. If it counted as a row of another
// cluster, it would reach neither an operator's subscription nor the relay.
func TestANotificationAppendedWhileAnEpochBeginsIsInTheFeed(t *testing.T) {
	d := openTest(t, Options{URL: testserver.Postgres(t)})
	mustAppend(t, d, one("u", "t"))
	exec(t, d, "INSERT INTO falcon_nodes (id, started_at, beat_at) VALUES ('n', 5, 5)")
	exec(t, d, "UPDATE falcon_meta SET value = 'another cluster' WHERE key = 'mark'")
	epoch := d.Epoch()

	pause, err := d.write.BeginTx(testContext(t), nil) // the start of the epoch waits for a row that this locks
	must(t, err)
	_, err = pause.ExecContext(testContext(t), "SELECT FROM falcon_nodes WHERE id = 'n' FOR UPDATE")
	must(t, err)
	begun := make(chan error, 1)
	go func() { begun <- d.loadEpoch(testContext(t)) }()
	testserver.Eventually(t, 5*time.Second, func() error {
		if number(t, d, "SELECT count(*) FROM pg_locks WHERE NOT granted") == 0 {
			return os.ErrDeadlineExceeded
		}
		return nil
	})
	app, err := d.write.BeginTx(testContext(t), nil)
	must(t, err)
	_, err = app.ExecContext(testContext(t), "SELECT falcon_notify('u', 'title', 'message')")
	must(t, err)
	must(t, pause.Rollback())
	if err := <-begun; err != nil || d.Epoch() == epoch {
		t.Fatalf("the epoch is %s, was %s, %v", d.Epoch(), epoch, err)
	}
	must(t, app.Commit())
	if got, _ := drain(t, d, "", 10); !slices.Equal(got, []string{"u1", "u2"}) {
		t.Errorf("the feed shows %v, want also what was appended meanwhile", got)
	}
}
