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

func TestFalconNotifyAppendsInItsTransaction(t *testing.T) {
	d := openTest(t, Options{URL: testserver.Postgres(t)})
	ctx := testContext(t)
	mustAppend(t, d, one("42", "by the API"))
	tx := idle(t, d, "SELECT 1")
	var seq int64
	if err := tx.QueryRowContext(ctx, `SELECT falcon_notify('42', 'título', 'm', 'message', '{"a": 1}')`).Scan(&seq); err != nil || seq != 2 {
		t.Fatalf("seq %d, %v", seq, err)
	}
	if got := seqs(t, d, "42"); len(got) != 1 {
		t.Errorf("%v can be read before the commit", got)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if res := mustAppend(t, d, one("42", "after the rollback")); res.Appended[0].Seq != 2 {
		t.Errorf("seq %d after a rollback, want the rolled-back seq 2", res.Appended[0].Seq)
	}
	exec(t, d, `SELECT falcon_notify('42', 'título', 'm')`)
	if got := seqs(t, d, "42"); len(got) != 3 {
		t.Errorf("%v can be read after the commit", got)
	}
	exec(t, d, `SELECT falcon_notify('42', 't', 'm', replaces => 'order-7'), falcon_notify('42', 't', 'm', 'order', NULL, '/orders/7', 'order-7', 3600)`)
	page, err := d.List(ctx, bridge.Query{User: "42", Limit: 1})
	must(t, err)
	n := page.Items[0]
	if left := n.ExpiresAt.Sub(n.CreatedAt); n.Seq != 5 || n.URL != "/orders/7" || n.Replaces != "order-7" || n.By != bridge.BySQL || left < 59*time.Minute || left > 61*time.Minute {
		t.Errorf("falcon_notify appended %s by %q", n.Item(), n.By)
	}
	if got := seqs(t, d, "42"); len(got) != 4 {
		t.Errorf("%v can be read after a supersession", got)
	}
}

// falcon_notify, the domain's check and the HTTP API must agree on what is valid. package
// api tests the same cases.
func TestFalconNotifyAcceptsWhatTheAPIAccepts(t *testing.T) {
	d := openTest(t, Options{URL: testserver.Postgres(t)})
	valid := int64(0)
	for name, c := range drafttest.Cases() {
		var data any
		if c.Data != "" {
			data = c.Data
		}
		nullable := func(s string) any {
			if s == "" {
				return nil
			}
			return s
		}
		_, err := d.write.ExecContext(testContext(t), "SELECT falcon_notify(?, ?, ?, ?, ?::jsonb, ?, ?, ?)",
			c.User, c.Title, c.Message, c.Kind, data, nullable(c.URL), nullable(c.Replaces), c.ExpiresIn)
		refused := err != nil && (strings.Contains(err.Error(), "22023") || strings.Contains(err.Error(), "22P05")) // 22P05: jsonb cannot represent NUL
		if c.Good && err != nil || !c.Good && !refused {
			t.Errorf("%s: error %v, want accepted %v", name, err, c.Good)
		}
		if c.Good {
			valid++
		}
		draft := bridge.Draft{User: bridge.UserID(c.User), Title: c.Title, Message: c.Message, Kind: bridge.Kind(c.Kind), Data: json.RawMessage(c.Data),
			URL: c.URL, Replaces: c.Replaces}
		if c.ExpiresIn != nil {
			draft.ExpiresIn = time.Duration(*c.ExpiresIn) * time.Second
		}
		if c.ExpiresIn != nil && *c.ExpiresIn == 0 {
			continue // in a Draft, 0 means no expiry
		}
		if _, err := draft.Check("body"); (err == nil) != c.Good {
			t.Errorf("%s: Draft.Check returns %v, want accepted %v", name, err, c.Good)
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
	if n := number(t, d, "SELECT count(*) FROM falcon_notifications"); n != valid {
		t.Errorf("%d rows, want %d", n, valid)
	}
}

// Append does not send NOTIFY in its transaction, since the lock that NOTIFY takes would
// make the commits of all nodes wait for each other. falcon_notify does, having no other
// way to send a hint.
func TestOnlyFalconNotifySendsItsHintInTheTransaction(t *testing.T) {
	d := openTest(t, Options{URL: testserver.Postgres(t)})
	ctx, cancel := context.WithCancel(testContext(t))
	defer cancel()
	ln := pgdriver.NewListener(d.read)
	if err := ln.Listen(ctx, "falcon_hint"); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	ch := ln.Channel()
	// Listen returns before the listener listens, so the first hints may be missed.
	sqlHint := regexp.MustCompile(`^\{"n":"","u":\[\["42",\d*[02468]\]\]\}$`) // falcon_notify has the even seqs
	for {
		mustAppend(t, d, one("42", "t"))
		exec(t, d, "SELECT falcon_notify('42', 't', 'm')")
		select {
		case n := <-ch:
			var b bytes.Buffer // without the spaces between the values
			must(t, json.Compact(&b, []byte(n.Payload)))
			if !sqlHint.Match(b.Bytes()) {
				t.Errorf("the first hint is %s, want one of falcon_notify", b.String())
			}
			return
		case <-ctx.Done():
			t.Fatal("no hint came")
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// After one GRANT an application's role can call falcon_notify and nothing else. It also
// cannot trick the function, which runs with its owner's rights, into using tables or
// functions that the role has created.
func TestARoleCanOnlyCallFalconNotifyAndOnlyAfterAGrant(t *testing.T) {
	server := testserver.NewPostgres(t) // its own server, since all databases of one share their roles
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

// A release that adds arguments to falcon_notify has to replace the function. The roles
// that could call it before must still be able to, and no others.
func TestAReplacedFalconNotifyKeepsItsGrants(t *testing.T) {
	server := testserver.NewPostgres(t) // its own server, since all databases of one share their roles
	d := openTest(t, Options{URL: server.URL})
	run := func(file string) {
		t.Helper()
		text, err := migrationFiles.ReadFile("migrations/postgres/" + file)
		must(t, err)
		_, err = d.write.DB.ExecContext(testContext(t), string(text)) // not through Bun, which takes a ? for a placeholder
		must(t, err)
	}
	allowed := func(role string) bool {
		return number(t, d, "SELECT has_function_privilege('"+role+"', (SELECT oid FROM pg_proc WHERE proname = 'falcon_notify'), 'EXECUTE')::int") == 1
	}
	for _, role := range []string{"app", "granter", "guest"} {
		exec(t, d, "CREATE ROLE "+role+" LOGIN")
	}
	run("20261129000121_kinds.tx.down.sql")
	run("20261129000110_append.tx.down.sql")
	exec(t, d, "GRANT EXECUTE ON FUNCTION falcon_notify TO app")
	exec(t, d, "GRANT EXECUTE ON FUNCTION falcon_notify TO granter WITH GRANT OPTION")
	run("20261129000110_append.tx.up.sql")
	run("20261129000121_kinds.tx.up.sql")
	if !allowed("app") || !allowed("granter") || allowed("guest") {
		t.Errorf("app can call it: %v, granter: %v, guest: %v; want true, true, false", allowed("app"), allowed("granter"), allowed("guest"))
	}
	if n := number(t, d, "SELECT count(*) FROM pg_proc, aclexplode(proacl) a WHERE proname = 'falcon_notify' AND a.grantee = 'granter'::regrole AND a.is_grantable"); n != 1 {
		t.Error("granter has lost its grant option")
	}
	if n := number(t, d, "SELECT count(*) FROM pg_proc WHERE proname = 'falcon_notify'"); n != 1 {
		t.Errorf("there are %d functions named falcon_notify, want 1", n)
	}
	exec(t, d, "SELECT falcon_notify('42', 't', 'm'), falcon_notify('42', 't', 'm', 'x', NULL), falcon_notify('42', 't', 'm', url => '/')")
	if got := seqs(t, d, "42"); len(got) != 3 {
		t.Errorf("the log has the seqs %v", got)
	}
}
