package db

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uptrace/bun/driver/pgdriver"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/testserver"
)

// psql runs queries on the server at url over a separate connection.
func psql(t testing.TB, url string, queries ...string) {
	t.Helper()
	db := sql.OpenDB(pgdriver.NewConnector(pgdriver.WithDSN(url)))
	defer func() { _ = db.Close() }()
	for _, q := range queries {
		if _, err := db.ExecContext(testContext(t), q); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
}

// logged collects what its logger writes.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logged) count(part string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), part)
}

func (l *logged) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// Production uses the schema public, and staging another schema of the same database that
// its URL names. Every connection and every migration must use the tables of its schema.
func TestASchemaInTheURLAppliesToEveryConnection(t *testing.T) {
	url := testserver.Postgres(t)
	psql(t, url, "CREATE SCHEMA staging")
	staging := openTest(t, Options{URL: url + "&search_path=staging"})
	production := openTest(t, Options{URL: url})
	mustAppend(t, production, one("7", "production's"))
	if _, err := staging.ImportSettings(testContext(t), []ImportedSettings{{User: "8"}}); err != nil {
		t.Fatal(err)
	}
	if got := seqs(t, staging, "7"); len(got) != 0 {
		t.Errorf("staging shows production's inbox: %v", got)
	}
	for range 3 {
		mustAppend(t, staging, one("7", "staging's"))
	}
	if got := seqs(t, production, "7"); len(got) != 1 {
		t.Errorf("staging's notifications are in production's inbox: %v", got)
	}
	if n := number(t, production, "SELECT count(*) FROM falcon_inboxes WHERE user_id = '8'"); n != 0 {
		t.Error("an import into staging wrote to production")
	}
	if production.Epoch() == staging.Epoch() {
		t.Error("production and staging have the same epoch")
	}
}

func TestStagingWithoutTablesDoesNotUseProductions(t *testing.T) {
	url := testserver.Postgres(t)
	openTest(t, Options{URL: url})
	psql(t, url, "CREATE SCHEMA staging")
	for path, want := range map[string]string{"staging,public": "the tables found are in schema public", "nowhere": "there is no schema to create the tables in"} {
		d, err := Open(testContext(t), Options{URL: url + "&search_path=" + path, Logger: quiet})
		if err == nil {
			_ = d.Close()
			t.Errorf("search_path %s was opened", path)
		} else if !strings.Contains(err.Error(), want) || errors.Is(err, bridge.ErrUnavailable) {
			t.Errorf("search_path %s: %v", path, err)
		}
	}
}

// hostile has settings that an administrator may give a role or database and that change
// what statements mean, how long they may take, or their plans.
var hostile = map[string]string{
	"datestyle": "'sql, dmy'", "intervalstyle": "sql_standard", "timezone": "'Asia/Kolkata'", "standard_conforming_strings": "off",
	"backslash_quote": "on", "bytea_output": "escape", "extra_float_digits": "-15", "xmloption": "document", "array_nulls": "off",
	"transform_null_equals": "on", "client_encoding": "LATIN1", "plpgsql.extra_errors": "'all'",
	"default_transaction_isolation": "serializable", "default_transaction_read_only": "on", "default_transaction_deferrable": "on", "row_security": "off",
	"statement_timeout": "'3s'", "lock_timeout": "'3s'", "idle_in_transaction_session_timeout": "'3s'", "idle_session_timeout": "'3s'",
	"enable_hashagg": "off", "enable_hashjoin": "off", "enable_indexonlyscan": "off", "enable_indexscan": "off", "enable_material": "off", "enable_mergejoin": "off",
	"enable_nestloop": "off", "enable_seqscan": "off", "enable_sort": "off", "enable_incremental_sort": "off", "enable_memoize": "off", "enable_bitmapscan": "on",
	"geqo_threshold": "2", "from_collapse_limit": "1", "join_collapse_limit": "1", "plan_cache_mode": "force_custom_plan", "jit": "on", "synchronous_commit": "off",
	"quote_all_identifiers": "on", "check_function_bodies": "off", "client_min_messages": "error", "lc_messages": "'C'",
}

// untouched names those of hostile that connections do not override, since no statement
// depends on them.
var untouched = []string{"backslash_quote", "quote_all_identifiers", "check_function_bodies", "client_min_messages", "lc_messages"}

func TestSettingsOfARoleOrDatabaseAreOverridden(t *testing.T) {
	for owner, alter := range map[string]string{"role": "ALTER ROLE falcon SET ", "database": "ALTER DATABASE falcon SET "} {
		t.Run(owner, func(t *testing.T) {
			s := testserver.NewPostgres(t, "fsync=off")
			names := make([]string, 0, len(hostile))
			for name := range hostile {
				names = append(names, "'"+name+"'")
			}
			sessions := func(d *DB) map[string]string {
				got := make(map[string]string)
				for pool, on := range map[string]*sql.DB{"read": d.read.DB, "append": d.log.DB} {
					rows, err := on.QueryContext(testContext(t), "SELECT name, setting FROM pg_settings WHERE name IN ("+strings.Join(names, ", ")+")")
					must(t, err)
					for rows.Next() {
						var name, value string
						must(t, rows.Scan(&name, &value))
						got[pool+" "+name] = value
					}
					must(t, rows.Err())
					must(t, rows.Close())
				}
				return got
			}
			clean, err := Open(testContext(t), Options{URL: s.URL, Logger: quiet})
			must(t, err)
			want := sessions(clean)
			must(t, clean.Close())
			var all []string
			for name, value := range hostile {
				all = append(all, alter+name+" = "+value)
			}
			psql(t, s.URL, strings.Join(all, ";"))

			d := openTest(t, Options{URL: s.URL})
			for name, value := range sessions(d) {
				ours := true
				for _, u := range untouched {
					ours = ours && !strings.HasSuffix(name, " "+u)
				}
				if ours && value != want[name] {
					t.Errorf("%s is %s, want %s", name, value, want[name])
				}
			}
			tricky := one("7", `O'Hara \' \\ "ñ" {1,NULL}`)
			mustAppend(t, d, tricky)
			mustAppend(t, d, keyed(bridge.Command{Drafts: []bridge.Draft{draft("7", "NULL"), draft("8", `\x41`)}}, "k", "body"))
			list, err := d.After(testContext(t), "7", 0, 10)
			must(t, err)
			if len(list) != 2 || list[0].Title != tricky.Drafts[0].Title || list[1].Title != "NULL" {
				t.Errorf("the log has %+v", list)
			}
			if lag := time.Since(list[0].CreatedAt); lag < -time.Minute || lag > time.Minute {
				t.Errorf("created %v ago", lag)
			}
			exec(t, d, "SELECT falcon_notify('7', 't', 'm')")
			checkCounts(t, d, "7")
			// The URL can still change a setting that only affects speed.
			faster := openTest(t, Options{URL: s.URL + "&synchronous_commit=off"})
			if got := sessions(faster)["append synchronous_commit"]; got != "off" {
				t.Errorf("synchronous_commit is %s", got)
			}
		})
	}
}

func TestAPoolerInTransactionModeIsRefusedWithoutSideEffects(t *testing.T) {
	s := testserver.NewPostgres(t, "fsync=off")
	for name, settings := range map[string][]string{
		"transaction":                 {"pool_mode=transaction"},
		"transaction, one connection": {"pool_mode=transaction", "default_pool_size=1"},
		"transaction, round robin":    {"pool_mode=transaction", "server_round_robin=1", "min_pool_size=4"},
		"statement":                   {"pool_mode=statement"},
	} {
		t.Run(name, func(t *testing.T) {
			p := testserver.NewPgBouncer(t, s, settings...)
			begun := time.Now()
			d, err := Open(testContext(t), Options{URL: p.URL, Logger: quiet})
			if err == nil {
				_ = d.Close()
				t.Fatal("Open succeeded")
			}
			if errors.Is(err, bridge.ErrUnavailable) || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "pool_mode=session") {
				t.Errorf("after %v: error %v", time.Since(begun), err)
			}
			other := sql.OpenDB(pgdriver.NewConnector(pgdriver.WithDSN(p.URL)))
			defer func() { _ = other.Close() }()
			for range 5 {
				var timeout, locks string
				must(t, other.QueryRowContext(testContext(t), "SELECT current_setting('statement_timeout'), (SELECT count(*)::text FROM pg_locks WHERE locktype = 'advisory')").
					Scan(&timeout, &locks))
				if timeout != "0" || locks != "0" {
					t.Errorf("another client finds statement_timeout %s and %s locks", timeout, locks)
				}
			}
		})
	}
}

func TestAPoolerInSessionModeWorksAndItsConnectionsAreReturnedClean(t *testing.T) {
	s := testserver.NewPostgres(t, "fsync=off")
	p := testserver.NewPgBouncer(t, s, "pool_mode=session", "default_pool_size=30")
	for range 2 { // the second start must not find a lock that the first left
		d, err := Open(testContext(t), Options{URL: p.URL, Logger: quiet})
		must(t, err)
		_, err = d.Up(testContext(t))
		must(t, err)
		mustAppend(t, d, one("7", "t"))
		must(t, d.Close())
	}
	other := sql.OpenDB(pgdriver.NewConnector(pgdriver.WithDSN(p.URL)))
	defer func() { _ = other.Close() }()
	var timeout string
	must(t, other.QueryRowContext(testContext(t), "SHOW statement_timeout").Scan(&timeout))
	if timeout != "0" {
		t.Errorf("another client finds statement_timeout %s", timeout)
	}
}

// The role may have five connections, and there are more callers than that: they wait for
// a connection instead of failing, and the log says why.
func TestCallersWaitForScarceConnectionsAndTheLogSaysSo(t *testing.T) {
	s := testserver.NewPostgres(t, "fsync=off")
	psql(t, s.URL, "CREATE ROLE few LOGIN CONNECTION LIMIT 5", "GRANT ALL ON SCHEMA public TO few", "CREATE ROLE many LOGIN", "GRANT ALL ON SCHEMA public TO many")
	for name, tt := range map[string]struct{ user, alter, line string }{
		"a limit that exists at the start": {"few", "", "Postgres allows fewer connections than configured"},
		"a limit that is set later":        {"many", "ALTER ROLE many CONNECTION LIMIT 5", "Postgres accepts no more connections"},
	} {
		t.Run(name, func(t *testing.T) {
			var log logged
			psql(t, s.URL, "DROP SCHEMA public CASCADE", "CREATE SCHEMA public", "GRANT ALL ON SCHEMA public TO PUBLIC")
			d, err := Open(testContext(t), Options{URL: strings.Replace(s.URL, "falcon@", tt.user+"@", 1), Logger: log.logger(), PoolNews: 200 * time.Millisecond})
			must(t, err)
			defer func() { must(t, d.Close()) }()
			_, err = d.Up(testContext(t))
			must(t, err)
			if tt.alter != "" {
				psql(t, s.URL, tt.alter)
			}
			ctx, cancel := context.WithCancel(testContext(t))
			running := make(chan error, 1)
			go func() { running <- d.Run(ctx) }()
			var callers sync.WaitGroup
			for i := range 20 {
				callers.Go(func() {
					u := bridge.UserID(fmt.Sprint("u", i))
					for range 9 {
						if _, err := d.Append(ctx, one(u, "t")); err != nil {
							t.Errorf("append: %v", err)
						}
						if _, err := d.After(ctx, u, 0, 10); err != nil {
							t.Errorf("read: %v", err)
						}
					}
				})
			}
			callers.Wait()
			testserver.Eventually(t, 5*time.Second, func() error {
				if log.count(tt.line) == 0 {
					return errors.New("nothing is logged")
				}
				return nil
			})
			cancel()
			must(t, <-running)
		})
	}
}

func TestLongWaitsForAConnectionAreLoggedOncePerInterval(t *testing.T) {
	var log logged
	d, err := Open(testContext(t), Options{URL: testserver.Postgres(t), Logger: log.logger(), MaxConns: 4, PoolNews: 500 * time.Millisecond})
	must(t, err)
	defer func() { must(t, d.Close()) }()
	_, err = d.Up(testContext(t))
	must(t, err)
	ctx, cancel := context.WithCancel(testContext(t))
	running := make(chan error, 1)
	go func() { running <- d.Run(ctx) }()
	var callers sync.WaitGroup
	for range 20 {
		callers.Go(func() {
			_, err := d.read.ExecContext(ctx, "SELECT pg_sleep(0.2)")
			if err != nil {
				t.Error(err)
			}
		})
	}
	callers.Wait()
	testserver.Eventually(t, 5*time.Second, func() error {
		if log.count("calls wait for database connections; raise --db-max-connections") == 0 {
			return errors.New("nothing is logged")
		}
		return nil
	})
	cancel()
	must(t, <-running)
	if n := log.count("calls wait for database connections"); n > 10 {
		t.Errorf("%d lines, want at most one per interval", n)
	}
}

// While another process migrates, a start with pending migrations waits, but no longer
// than MigrateWait. A start with none does not wait.
func TestTheMigrationLockIsOnlyTakenForPendingMigrations(t *testing.T) {
	url := testserver.Postgres(t)
	holder := sql.OpenDB(pgdriver.NewConnector(pgdriver.WithDSN(url)))
	defer func() { _ = holder.Close() }()
	holder.SetMaxOpenConns(1)
	lock := func(f string) {
		_, err := holder.ExecContext(testContext(t), fmt.Sprintf("SELECT %s(%d)", f, int64(migrationLock)))
		must(t, err)
	}
	lock("pg_advisory_lock")
	var pid string
	must(t, holder.QueryRowContext(testContext(t), "SELECT pg_backend_pid()::text").Scan(&pid))
	var log logged
	d, err := Open(testContext(t), Options{URL: url, Logger: log.logger(), MigrateWait: 300 * time.Millisecond})
	must(t, err)
	defer func() { must(t, d.Close()) }()
	if _, err := d.Up(testContext(t)); err == nil || !strings.Contains(err.Error(), "backend "+pid) || !strings.Contains(err.Error(), "--start-timeout") {
		t.Errorf("while another process migrates: error %v", err)
	}
	if log.count("waiting for another process that is migrating") == 0 {
		t.Error("the wait is not logged")
	}
	lock("pg_advisory_unlock")
	_, err = d.Up(testContext(t))
	must(t, err)
	lock("pg_advisory_lock")
	if _, err := d.Up(testContext(t)); err != nil {
		t.Errorf("with nothing pending: %v", err)
	}
}
