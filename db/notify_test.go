package db

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/drafttest"
	"github.com/falconalert/falconbridge/internal/testserver"
	"github.com/uptrace/bun/driver/pgdriver"
)

func TestTheSQLDoorAppendsWithItsTransaction(t *testing.T) {
	d := openTest(t, Options{URL: testserver.Postgres(t)})
	ctx := testContext(t)
	mustAppend(t, d, one("42", "by the API"))
	tx := idle(t, d, "SELECT 1")
	var seq int64
	if err := tx.QueryRowContext(ctx, `SELECT falcon_notify('42', 'título', 'm', 'message', '{"a": 1}')`).Scan(&seq); err != nil || seq != 2 {
		t.Fatalf("seq %d, %v", seq, err)
	}
	if got := seqs(t, d, "42"); len(got) != 1 {
		t.Errorf("before the commit %v can be read", got)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if res := mustAppend(t, d, one("42", "after the rollback")); res.Appended[0].Seq != 2 {
		t.Errorf("the rolled back seq was not given again: %d", res.Appended[0].Seq)
	}
	exec(t, d, `SELECT falcon_notify('42', 'título', 'm')`)
	if got := seqs(t, d, "42"); len(got) != 3 {
		t.Errorf("after the commit %v can be read", got)
	}
	exec(t, d, `SELECT falcon_notify('42', 't', 'm', replaces => 'order-7'), falcon_notify('42', 't', 'm', 'order', NULL, '/orders/7', 'order-7', 3600)`)
	page, err := d.List(ctx, bridge.Query{User: "42", Limit: 1})
	must(t, err)
	n := page.Items[0]
	if left := n.ExpiresAt.Sub(n.CreatedAt); n.Seq != 5 || n.URL != "/orders/7" || n.Replaces != "order-7" || n.By != bridge.BySQL || left < 59*time.Minute || left > 61*time.Minute {
		t.Errorf("falcon_notify appended %s by %q", n.Item(), n.By)
	}
	if got := seqs(t, d, "42"); len(got) != 4 {
		t.Errorf("after a supersession %v can be read", got)
	}
}

// One table for every way in, see api's test of the same cases.
func TestTheSQLDoorTakesWhatTheAPITakes(t *testing.T) {
	d := openTest(t, Options{URL: testserver.Postgres(t)})
	good := int64(0)
	for name, c := range drafttest.Cases() {
		var data any
		if c.Data != "" {
			data = c.Data
		}
		some := func(s string) any {
			if s == "" {
				return nil
			}
			return s
		}
		_, err := d.write.ExecContext(testContext(t), "SELECT falcon_notify(?, ?, ?, ?, ?::jsonb, ?, ?, ?)",
			c.User, c.Title, c.Message, c.Kind, data, some(c.URL), some(c.Replaces), c.ExpiresIn)
		refused := err != nil && (strings.Contains(err.Error(), "22023") || strings.Contains(err.Error(), "22P05")) // jsonb has no NUL
		if c.Good && err != nil || !c.Good && !refused {
			t.Errorf("%s: %v, want it taken: %v", name, err, c.Good)
		}
		if c.Good {
			good++
		}
		draft := bridge.Draft{User: bridge.UserID(c.User), Title: c.Title, Message: c.Message, Kind: bridge.Kind(c.Kind), Data: json.RawMessage(c.Data),
			URL: c.URL, Replaces: c.Replaces}
		if c.ExpiresIn != nil {
			draft.ExpiresIn = time.Duration(*c.ExpiresIn) * time.Second
		}
		if c.ExpiresIn != nil && *c.ExpiresIn == 0 {
			continue // in a Draft, 0 is none
		}
		if _, err := draft.Check("body"); (err == nil) != c.Good {
			t.Errorf("%s: the domain says %v, want it taken: %v", name, err, c.Good)
		}
	}
	for name, call := range map[string]string{
		"no user": "falcon_notify(NULL, 't', 'm')", "a missing title": "falcon_notify('u', NULL, 'm')",
		"a missing message": "falcon_notify('u', 't', NULL)", "no kind": "falcon_notify('u', 't', 'm', NULL)",
		"an empty url": "falcon_notify('u', 't', 'm', url => '')", "an empty key": "falcon_notify('u', 't', 'm', replaces => '')",
	} {
		if _, err := d.write.ExecContext(testContext(t), "SELECT "+call); err == nil || !strings.Contains(err.Error(), "22023") {
			t.Errorf("%s: %v, want SQLSTATE 22023", name, err)
		}
	}
	if n := number(t, d, "SELECT count(*) FROM falcon_notifications"); n != good {
		t.Errorf("%d rows, want %d", n, good)
	}
}

// An append does not notify by itself: the lock of NOTIFY would make the commits of all nodes
// wait for each other.
func TestOnlyTheSQLDoorsHintRidesInItsTransaction(t *testing.T) {
	d := openTest(t, Options{URL: testserver.Postgres(t)})
	ctx, cancel := context.WithCancel(testContext(t))
	defer cancel()
	ln := pgdriver.NewListener(d.read)
	if err := ln.Listen(ctx, "falcon_hint"); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	ch := ln.Channel()
	// The listener does not wait until it listens, so that the first ones may be missed.
	door := regexp.MustCompile(`^\{"n":"","u":\[\["42",\d*[02468]\]\]\}$`) // every other seq
	for {
		mustAppend(t, d, one("42", "t"))
		exec(t, d, "SELECT falcon_notify('42', 't', 'm')")
		select {
		case n := <-ch:
			var b bytes.Buffer // blanks between the values mean nothing
			must(t, json.Compact(&b, []byte(n.Payload)))
			if !door.Match(b.Bytes()) {
				t.Errorf("the first hint is %s, want that of falcon_notify", b.String())
			}
			return
		case <-ctx.Done():
			t.Fatal("no hint came")
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// An application's role may notify after one GRANT, and nothing else; nor can it
// make the function, which has its owner's rights, look at things of its own.
func TestARoleWithoutGrantsMayOnlyNotifyAndOnlyAfterItsGrant(t *testing.T) {
	server := testserver.NewPostgres(t) // a role is a whole server's
	d := openTest(t, Options{URL: server.URL})
	exec(t, d, "CREATE ROLE app LOGIN")
	app := sql.OpenDB(pgdriver.NewConnector(pgdriver.WithDSN(strings.Replace(server.URL, "falcon@", "app@", 1))))
	t.Cleanup(func() { _ = app.Close() })
	app.SetMaxOpenConns(1) // one session, with its temporary tables
	denied := func(query string) {
		t.Helper()
		if _, err := app.ExecContext(testContext(t), query); err == nil || !strings.Contains(err.Error(), "42501") {
			t.Errorf("%s: %v, want SQLSTATE 42501", query, err)
		}
	}
	const call = "SELECT falcon_notify('42', 't', 'm')"
	denied(call)
	exec(t, d, "GRANT EXECUTE ON FUNCTION falcon_notify TO app")
	for _, query := range []string{
		call,
		"CREATE TEMP TABLE falcon_inboxes (user_id text, last_seq bigint, total bigint, unread bigint, review_enabled boolean, last_xid xid8)",
		"CREATE FUNCTION pg_temp.falcon_append(int[], text[], text[], text[], text[], bigint[], smallint[], text[], int[], bigint[], smallint[], " +
			"text[], text[], int[], text[], text[], text[], bigint, text, int) RETURNS TABLE (seq bigint) LANGUAGE sql AS 'SELECT 4711::bigint'",
		"SET search_path = pg_temp, public",
		"SELECT public.falcon_notify('42', 't', 'm')",
	} {
		if _, err := app.ExecContext(testContext(t), query); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
	}
	if got := seqs(t, d, "42"); len(got) != 2 || got[1] != 2 {
		t.Errorf("the log has the seqs %v, want 1 and 2", got)
	}
	for _, query := range []string{
		"SELECT * FROM public.falcon_notifications", "INSERT INTO public.falcon_revocations VALUES ('x', '', 0, 0)", "SELECT public.falcon_now()",
		"SELECT * FROM public.falcon_open('42', 'c', '', true, 0, 1, 1)", "SELECT nextval('public.falcon_generation')",
	} {
		denied(query)
	}
	rows, err := d.read.QueryContext(testContext(t), "SELECT proname FROM pg_proc, aclexplode(proacl) AS a WHERE pronamespace = 'public'::regnamespace AND starts_with(proname, 'falcon_') AND a.grantee = 0 "+
		"UNION SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND starts_with(proname, 'falcon_') AND proacl IS NULL")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		t.Errorf("everybody may call %s", name)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
}

// A release that gives falcon_notify new arguments replaces the function: the roles that
// could call it still can, and no other.
func TestAReplacedSQLDoorKeepsItsGrants(t *testing.T) {
	server := testserver.NewPostgres(t) // a role is a whole server's
	d := openTest(t, Options{URL: server.URL})
	run := func(file string) {
		t.Helper()
		text, err := migrationFiles.ReadFile("migrations/postgres/" + file)
		must(t, err)
		_, err = d.write.DB.ExecContext(testContext(t), string(text)) // not through Bun, for which a ? is an argument
		must(t, err)
	}
	may := func(role string) bool {
		return number(t, d, "SELECT has_function_privilege('"+role+"', (SELECT oid FROM pg_proc WHERE proname = 'falcon_notify'), 'EXECUTE')::int") == 1
	}
	for _, role := range []string{"app", "boss", "guest"} {
		exec(t, d, "CREATE ROLE "+role+" LOGIN")
	}
	run("20261129000121_kinds.tx.down.sql")
	run("20261129000110_append.tx.down.sql")
	exec(t, d, "GRANT EXECUTE ON FUNCTION falcon_notify TO app")
	exec(t, d, "GRANT EXECUTE ON FUNCTION falcon_notify TO boss WITH GRANT OPTION")
	run("20261129000110_append.tx.up.sql")
	run("20261129000121_kinds.tx.up.sql")
	if !may("app") || !may("boss") || may("guest") {
		t.Errorf("app may call it: %v, boss: %v, guest: %v", may("app"), may("boss"), may("guest"))
	}
	if n := number(t, d, "SELECT count(*) FROM pg_proc, aclexplode(proacl) a WHERE proname = 'falcon_notify' AND a.grantee = 'boss'::regrole AND a.is_grantable"); n != 1 {
		t.Error("boss may not grant it any more")
	}
	if n := number(t, d, "SELECT count(*) FROM pg_proc WHERE proname = 'falcon_notify'"); n != 1 {
		t.Errorf("there are %d functions falcon_notify", n)
	}
	exec(t, d, "SELECT falcon_notify('42', 't', 'm'), falcon_notify('42', 't', 'm', 'x', NULL), falcon_notify('42', 't', 'm', url => '/')")
	if got := seqs(t, d, "42"); len(got) != 3 {
		t.Errorf("the log has the seqs %v", got)
	}
}
