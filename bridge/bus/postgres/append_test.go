package postgres_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/uptrace/bun/driver/pgdriver"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/bus/bustest"
	"github.com/falconalert/falconbridge/bridge/bus/postgres"
	"github.com/falconalert/falconbridge/db"
	"github.com/falconalert/falconbridge/internal/testserver"
)

// store opens the database at url and migrates it.
func store(t *testing.T, url string) *db.DB {
	t.Helper()
	d, err := db.Open(t.Context(), db.Options{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	if _, err := d.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	return d
}

func open(t *testing.T, url string) *sql.DB {
	t.Helper()
	d := sql.OpenDB(pgdriver.NewConnector(pgdriver.WithDSN(url)))
	t.Cleanup(func() { d.Close() })
	return d
}

// receivesOnce waits until n has received h, which was sent only once.
func receivesOnce(t *testing.T, n *bustest.Node, h bridge.Hint) {
	t.Helper()
	testserver.Eventually(t, 10*time.Second, func() error {
		if !n.HasReceived(h) {
			return fmt.Errorf("%+v did not arrive", h)
		}
		return nil
	})
}

func TestAppendsAreAnnouncedToOtherNodes(t *testing.T) {
	url := testserver.Postgres(t)
	d := store(t, url)
	ctx, cancel := context.WithCancel(t.Context())
	running := make(chan error, 1)
	go func() { running <- d.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-running })
	a, b := bustest.Listen(t, join(t, url, "a")), bustest.Listen(t, join(t, url, "b"))
	for seq := range bridge.Seq(2) {
		draft, err := bridge.Draft{User: "7", Title: "t", Message: "m"}.Check("body")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Append(t.Context(), bridge.Command{Drafts: []bridge.Draft{draft}}); err != nil {
			t.Fatal(err)
		}
		a.Publish(bridge.Hint{Type: bridge.HintAppended, User: "7", Seq: seq + 1})
		receivesOnce(t, b, bridge.Hint{Type: bridge.HintAppended, User: "7", Seq: seq + 1})
	}
	if a.Count() != 0 {
		t.Error("a node receives the hint of its own append")
	}
}

func TestAppendsBySQLAreAnnouncedToAllNodesOnCommit(t *testing.T) {
	url := testserver.Postgres(t)
	store(t, url)
	nodes := []*bustest.Node{bustest.Listen(t, join(t, url, "a")), bustest.Listen(t, join(t, url, "b"))}
	app := open(t, url)
	notify := func(user string, end func(*sql.Tx) error) {
		t.Helper()
		tx, err := app.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.ExecContext(t.Context(), "SELECT falcon_notify($1, 'title', 'message')", user); err != nil {
			t.Fatal(err)
		}
		if err := end(tx); err != nil {
			t.Fatal(err)
		}
	}
	notify("rolled-back", (*sql.Tx).Rollback)
	notify("42", (*sql.Tx).Commit)
	for _, n := range nodes {
		receivesOnce(t, n, bridge.Hint{Type: bridge.HintAppended, User: "42", Seq: 1})
		if n.HasReceived(bridge.Hint{Type: bridge.HintAppended, User: "rolled-back", Seq: 1}) {
			t.Error("a node receives a hint of an append that was rolled back")
		}
	}
}

// If an application supersedes a notification by SQL, this is announced when its transaction commits.
func TestSupersedingBySQLIsAnnounced(t *testing.T) {
	url := testserver.Postgres(t)
	store(t, url)
	n := bustest.Listen(t, join(t, url, "a"))
	app := open(t, url)
	notify := func(user, replaces string, end func(*sql.Tx) error) {
		t.Helper()
		tx, err := app.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.ExecContext(t.Context(), "SELECT falcon_notify($1, 'title', 'message', replaces => nullif($2, ''))", user, replaces); err != nil {
			t.Fatal(err)
		}
		if err := end(tx); err != nil {
			t.Fatal(err)
		}
	}
	notify("rolled-back", "key", (*sql.Tx).Rollback)
	notify("plain", "", (*sql.Tx).Commit)
	notify("a|b:1", "key", (*sql.Tx).Commit)
	// Postgres delivers in the order of commits.
	receivesOnce(t, n, bridge.Hint{Type: bridge.HintState, User: "a|b:1"})
	for _, u := range []bridge.UserID{"rolled-back", "plain"} {
		if n.HasReceived(bridge.Hint{Type: bridge.HintState, User: u}) {
			t.Errorf("a change of %s is announced", u)
		}
	}
}

// Two environments may share a database, each with its own schema. A device that connects to one
// must not end the connection of a device with the same name in the other.
func TestATakeoverStaysInItsSchema(t *testing.T) {
	url := testserver.Postgres(t)
	if _, err := open(t, url).ExecContext(t.Context(), `CREATE SCHEMA "My staging"`); err != nil {
		t.Fatal(err)
	}
	path := url + "&search_path=%22My%20staging%22"
	store(t, path) // its tables
	a, b := bustest.Listen(t, join(t, url, "a")), bustest.Listen(t, join(t, url, "b"))
	s1, s2 := bustest.Listen(t, join(t, path, "s1")), bustest.Listen(t, join(t, path, "s2"))
	takeover := bridge.Hint{Type: bridge.HintTakeover, User: "7", ClientID: "phone", Gen: 9}
	s1.Publish(takeover)
	receivesOnce(t, s2, takeover)
	// Postgres delivers in the order of commits, so the takeover would have arrived before this.
	b.Publish(bridge.Hint{Type: bridge.HintEnd, User: "8"})
	receivesOnce(t, a, bridge.Hint{Type: bridge.HintEnd, User: "8"})
	if a.HasReceived(takeover) || b.HasReceived(takeover) {
		t.Error("a device of staging takes over one of production")
	}
}

func TestTheBusWorksThroughAPoolerInSessionMode(t *testing.T) {
	p := testserver.NewPgBouncer(t, testserver.NewPostgres(t), "pool_mode=session", "default_pool_size=30")
	store(t, p.URL)
	a, b := bustest.Listen(t, join(t, p.URL, "a")), bustest.Listen(t, join(t, p.URL, "b"))
	a.Receives(t, b, bridge.Hint{Type: bridge.HintMuted, User: "7"})
	if _, err := open(t, p.URL).ExecContext(t.Context(), "SELECT falcon_notify('42', 'title', 'message')"); err != nil {
		t.Fatal(err)
	}
	receivesOnce(t, b, bridge.Hint{Type: bridge.HintAppended, User: "42", Seq: 1})
}

// The users of one commit may not fit into the 8,000 bytes of a payload. They are then sent in
// several payloads, so that each node wakes only the devices of these users.
func TestAnAppendForManyUsersNamesEachOfThem(t *testing.T) {
	url := testserver.Postgres(t)
	a, n := bustest.Listen(t, join(t, url, "a")), bustest.Listen(t, join(t, url, "b"))
	hints := make([]bridge.Hint, 1_000)
	for i := range hints {
		hints[i] = bridge.Hint{Type: bridge.HintAppended, User: bridge.UserID(fmt.Sprintf("%0128d", i)), Seq: 1}
	}
	a.Publish(hints...)
	for _, h := range hints {
		receivesOnce(t, n, h)
	}
}

// A node of the previous release asks all nodes to look for changes if a payload cannot name all
// users.
func TestAnAppendForTooManyUsersWakesAll(t *testing.T) {
	url := testserver.Postgres(t)
	reconnected := make(chan struct{}, 10)
	h := handler{reconnected: func() { reconnected <- struct{}{} }}
	b := join(t, url, "b")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx, h) }()
	t.Cleanup(func() { cancel(); <-done })
	<-reconnected
	notify(t, url, `{"n":"b","all":true}`) // the node's own, which it ignores
	notify(t, url, appended("x", "1", 1))
	notify(t, url, `{"n":"a","all":true}`)
	select {
	case <-reconnected:
	case <-time.After(10 * time.Second):
		t.Fatal("Reconnected was not called")
	}
	select {
	case <-reconnected:
		t.Error("Reconnected was called for the node's own append")
	default:
	}
}

type handler struct{ reconnected func() }

func (handler) Hint(bridge.Hint) {}
func (h handler) Reconnected()   { h.reconnected() }

// The server ends the connections, as an operator or a failover may do.
func TestTheBusRecoversFromTerminatedBackends(t *testing.T) {
	url := testserver.Postgres(t)
	bus := join(t, url, "a")
	a, b := bustest.Listen(t, bus), bustest.Listen(t, join(t, url, "b"))
	admin := open(t, url)
	a.Receives(t, b, bridge.Hint{Type: bridge.HintMuted, User: "7"})
	var n int
	err := admin.QueryRowContext(t.Context(), `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
		WHERE application_name = 'falconbridge bus' AND datname = current_database()`).Scan(&n)
	if err != nil || n < 3 { // two listen, one sent
		t.Fatalf("%d backends ended, error %v", n, err)
	}
	testserver.Eventually(t, 10*time.Second, func() error {
		if bus.Stats().Reconnects == 0 {
			return errors.New("it did not reconnect")
		}
		return bus.Ready()
	})
	a.Receives(t, b, bridge.Hint{Type: bridge.HintEnd, User: "7"})
}

// A burst that needs many payloads arrives completely on a healthy server.
func TestABurstIsSplitIntoPayloads(t *testing.T) {
	url := testserver.Postgres(t)
	a, b := bustest.Listen(t, join(t, url, "a")), bustest.Listen(t, join(t, url, "b"))
	id := strings.Repeat(`"\`, 128)
	for gen := range int64(500) {
		a.Publish(bridge.Hint{Type: bridge.HintTakeover, User: "7", ClientID: id, Gen: gen + 1})
	}
	for gen := range int64(500) {
		receivesOnce(t, b, bridge.Hint{Type: bridge.HintTakeover, User: "7", ClientID: id, Gen: gen + 1})
	}
}

func TestAHalfOpenConnectionIsNoticedWithin15sByDefault(t *testing.T) {
	t.Parallel()
	url := testserver.Postgres(t)
	p := bustest.NewProxy(t, host(t, url))
	b, err := postgres.New(postgres.Options{URL: through(t, url, p.Addr), Node: "a"})
	if err != nil {
		t.Fatal(err)
	}
	bustest.Listen(t, b)
	p.Freeze()
	testserver.Eventually(t, 15*time.Second, func() error {
		if b.Ready() == nil {
			return errors.New("it is not noticed")
		}
		return nil
	})
}

func TestStats(t *testing.T) {
	url := testserver.Postgres(t)
	b, err := postgres.New(postgres.Options{URL: url, Node: "a", Queue: 10})
	if err != nil {
		t.Fatal(err)
	}
	for range 25 {
		b.Publish(bridge.Hint{Type: bridge.HintMuted, User: "7"}, bridge.Hint{Type: bridge.HintAppended, User: "7"})
	}
	if s := b.Stats(); s.Dropped != 40 {
		t.Errorf("stats are %+v, want 40 dropped", s)
	}
	other := join(t, url, "b")
	from, to := bustest.Listen(t, b), bustest.Listen(t, other)
	to.Receives(t, from, bridge.Hint{Type: bridge.HintMuted, User: "7"})
	if s := b.Stats(); s.Sent < 10 || s.Reconnects != 0 {
		t.Errorf("stats of the sender are %+v", s)
	}
	if s := other.Stats(); s.Received == 0 {
		t.Errorf("stats of the receiver are %+v", s)
	}
}

func TestInvalidOptionsAreRefused(t *testing.T) {
	for name, o := range map[string]postgres.Options{
		"no node":            {URL: "postgres://u@127.0.0.1/x"},
		"no URL":             {Node: "a"},
		"another scheme":     {Node: "a", URL: "mysql://u:geheim@127.0.0.1/x"},
		"an unknown sslmode": {Node: "a", URL: "postgres://u:geheim@127.0.0.1/x?sslmode=geheim"},
		"an invalid URL":     {Node: "a", URL: "postgres://u:geheim@%zz"},
	} {
		_, err := postgres.New(o)
		if err == nil {
			t.Errorf("%s: no error", name)
		} else if strings.Contains(err.Error(), "geheim") {
			t.Errorf("%s: the error contains the password: %v", name, err)
		}
	}
}
