package db

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/late"
	"github.com/falconalert/falconbridge/internal/testserver"
	"github.com/uptrace/bun"
)

// lateBig finds sequential scans of the tables that big does not cover.
var lateBig = regexp.MustCompile(`(?m)Seq Scan on falcon_(late|registrations|acks)|^SCAN (falcon_(late|registrations|acks)|[aflnrs])$`)

// The follower runs its queries four times a second. They must read ranges of indexes,
// however many notifications, registrations, attempts and acknowledgements there are.
func TestTheFollowerReadsIndexRanges(t *testing.T) {
	each(t, func(t *testing.T, d *DB) {
		populate(t, d)
		f := newFollower(t, d)
		last := 29_999
		if d.dialect == SQLite {
			last = 2_999 // as populate
		}
		numbers := fmt.Sprintf("WITH RECURSIVE c(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM c WHERE n < %d) SELECT ", last)
		rows := numbers + "'u' || (n % 1000), 'c' || (n / 1000), "
		for _, q := range []string{
			"INSERT INTO falcon_registrations (user_id, client_id, endpoint, endpoint_hash, p256dh, auth, used_at) " +
				rows + "'https://push.example/' || n, 'hash' || n, 'p', 'a', " + string(d.clock()) + " FROM c",
			"INSERT INTO falcon_acks (user_id, client_id, generation, from_seq, acked_seq, at) " + rows + "n, 0, 1, " + string(d.clock()) + " FROM c",
			// Half of them were sent, the others are not due yet.
			"INSERT INTO falcon_late (user_id, client_id, ref, rule, notification_id, seq, since, due_at, state, done_at) " +
				rows + "'push' || n, 'push', n, 1, " + string(d.clock()) + ", " + string(d.clock()) + " + 3600000, n % 2, " + string(d.clock()) + " FROM c",
			"INSERT INTO falcon_late (user_id, client_id, ref, rule, notification_id, seq, since, due_at, state, done_at) " +
				numbers + "'u' || (n % 1000), '', 'post' || n, 'unread 1h0m0s', n, 1, " +
				string(d.clock()) + ", " + string(d.clock()) + " + 3600000, n % 2, " + string(d.clock()) + " FROM c",
		} {
			exec(t, d, q)
		}
		var news []bridge.Draft
		for u := range 50 {
			news = append(news, draft(bridge.UserID(fmt.Sprint("u", u)), "news"))
		}
		mustAppend(t, d, bridge.Command{Drafts: news})
		analyze(t, d)

		s := &spy{}
		separate := d.write != d.read
		d.read = d.read.WithQueryHook(s)
		if d.write = d.read; separate {
			d.write = d.log.WithQueryHook(s)
		}
		for _, step := range []struct {
			name string
			do   func(ctx context.Context) error
		}{
			{"lease", func(ctx context.Context) error { _, _, err := d.LeaseLate(ctx, "n", time.Hour); return err }},
			{"enter, with too many for one step", func(ctx context.Context) error {
				_, _, _, err := d.Enter(ctx, "n", f.at, time.Second, lateRules, 10)
				return err
			}},
			{"enter", func(ctx context.Context) error {
				next, _, _, err := d.Enter(ctx, "n", f.at, time.Second, lateRules, 1000)
				f.at = next
				return err
			}},
			{"enter, with nothing new", func(ctx context.Context) error {
				_, _, _, err := d.Enter(ctx, "n", f.at, time.Second, lateRules, 1000)
				return err
			}},
			{"due pushes", func(ctx context.Context) error { return second(d.DuePush(ctx, 64, nil)) }},
			{"due pushes, but for some users", func(ctx context.Context) error { return second(d.DuePush(ctx, 64, []bridge.UserID{"u1", "u2"})) }},
			{"due webhooks", func(ctx context.Context) error { return second(d.DueWebhooks(ctx, 500)) }},
			{"begin", func(ctx context.Context) error {
				return d.Begin(ctx, []string{"push0", "post2"}, []string{"push4"}, time.Minute)
			}},
			{"record", func(ctx context.Context) error {
				return d.RecordLate(ctx, []late.Done{{Ref: "push0", Result: late.Sent}, {Ref: "post2", Result: late.Failed, After: time.Hour}})
			}},
			{"redeliver", func(ctx context.Context) error { _ = d.Redeliver(ctx, "post1"); return nil }},
			{"unregister", func(ctx context.Context) error { return d.Unregister(ctx, registrationOf("u1", "c0", "other")) }},
			{"figures", func(ctx context.Context) error { return second(d.LateStats(ctx)) }},
			{"prune", func(ctx context.Context) error { return second(d.PruneLate(ctx, time.Hour, time.Hour, 100)) }},
			{"acknowledgements", func(ctx context.Context) error {
				return d.Acknowledged(ctx, []bridge.Ack{{Device: dev("u1", "c0"), Generation: 1, To: 2}, {Device: dev("u2", "c0"), Generation: 2, To: 2}})
			}},
		} {
			queries := s.statements(t, step.do)
			if len(queries) == 0 {
				t.Errorf("%s runs no statement", step.name)
			}
			for _, q := range queries {
				plan := explain(t, d, q)
				if big.MatchString(plan) || lateBig.MatchString(plan) {
					t.Errorf("%s scans a table:\n%s\n%s", step.name, q, plan)
				}
				if step.name == "due pushes" && !strings.Contains(plan, "falcon_late_due") {
					t.Errorf("%s also reads rows that were sent before:\n%s\n%s", step.name, q, plan)
				}
			}
		}
	})
}

// readBy returns how many rows and index entries of the program's tables Postgres reads
// for the statements, each of which it rolls back.
func readBy(t *testing.T, d *DB, statements []string) (n int64) {
	t.Helper()
	const reads = "SELECT coalesce(sum(pg_stat_get_xact_tuples_returned(oid) + pg_stat_get_xact_tuples_fetched(oid)), 0)::bigint FROM pg_class " +
		"WHERE relkind IN ('r', 'i') AND relname LIKE 'falcon%'"
	undo := errors.New("undo")
	for _, q := range statements {
		err := d.read.RunInTx(testContext(t), nil, func(ctx context.Context, tx bun.Tx) error {
			var before, after int64
			if err := tx.QueryRowContext(ctx, reads).Scan(&before); err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, q); err != nil {
				return err
			}
			if err := tx.QueryRowContext(ctx, reads).Scan(&after); err != nil {
				return err
			}
			n += after - before
			return undo
		})
		if !errors.Is(err, undo) {
			t.Fatalf("%s: %v", q, err)
		}
	}
	return n
}

// The follower's work depends on the notifications of users with a registration. Those of
// other users are read once and cost nothing afterwards.
func TestTheFollowersCostDependsOnRegisteredUsersOnly(t *testing.T) {
	d := openTest(t, Options{URL: testserver.Postgres(t)})
	f := newFollower(t, d)
	s := &spy{}
	d.read = d.read.WithQueryHook(s)
	d.write = d.read
	must(t, d.RegisterDevice(testContext(t), registrationOf("registered", "phone", "e")))
	follow := func(ctx context.Context) error {
		next, _, _, err := d.Enter(ctx, f.node, f.at, 15*time.Second, nil, 500)
		f.at = next
		return err
	}
	cost := func(others int) int64 {
		t.Helper()
		for u := range others {
			seed(t, d, bridge.UserID(fmt.Sprint("other", u)), 400)
			must(t, follow(testContext(t)))
		}
		analyze(t, d)
		seed(t, d, "registered", 5)
		queries := s.statements(t, follow)
		exec(t, d, "UPDATE falcon_late SET due_at = 1 WHERE state = 0")
		queries = append(queries, s.statements(t, func(ctx context.Context) error { return second(d.DuePush(ctx, 10, nil)) })...)
		n := readBy(t, d, queries)
		exec(t, d, "UPDATE falcon_late SET state = 1")
		return n
	}
	few := cost(1)
	if many := cost(40); many-few > 1000 { // the rows of a user with few rows may be read by a scan
		t.Errorf("the follower read %d rows after 400 notifications of other users, and %d after 16,000", few, many)
	}
	if n := number(t, d, "SELECT count(*) FROM falcon_late"); n != 10 {
		t.Errorf("%d rows were written for 10 notifications of a registered device", n)
	}
}

// An hour of pushes to absent devices leaves thousands of sent rows per device. The due
// ones must be found without reading those: that once took so long that the follower was
// stuck.
func TestSentAttemptsCostTheFollowerNothing(t *testing.T) {
	d := openTest(t, Options{URL: testserver.Postgres(t)})
	s := &spy{}
	d.read = d.read.WithQueryHook(s)
	d.write = d.read
	must(t, d.RegisterDevice(testContext(t), registrationOf("u", "phone", "e")))
	cost := func(sent int) int64 {
		t.Helper()
		exec(t, d, fmt.Sprintf("INSERT INTO falcon_late (ref, rule, user_id, client_id, notification_id, seq, since, due_at, state, done_at) "+
			"SELECT 'sent' || n, 'push', 'u', 'phone', n, n, 1, 1, 1, 1 FROM generate_series(1, %d) n ON CONFLICT DO NOTHING", sent))
		exec(t, d, "INSERT INTO falcon_late (ref, rule, user_id, client_id, notification_id, seq, since, due_at) "+
			"SELECT 'due' || n, 'push', 'u', 'phone', -n, n, 1, 1 FROM generate_series(1, 5) n ON CONFLICT DO NOTHING")
		analyze(t, d)
		queries := s.statements(t, func(ctx context.Context) error { return second(d.DuePush(ctx, 10, nil)) })
		return readBy(t, d, queries)
	}
	few := cost(10)
	if many := cost(10_000); many > few+20 {
		t.Errorf("finding the due rows takes %d reads after 10,000 sent ones, and %d after 10", many, few)
	}
}

// After an outage the due rows are read in steps. A step must cost the same however many
// rows are due.
func TestABacklogOfLateNotificationsIsReadInSteps(t *testing.T) {
	d := openTest(t, Options{URL: testserver.Postgres(t)})
	s := &spy{}
	d.read = d.read.WithQueryHook(s)
	d.write = d.read
	for u := range 20 {
		must(t, d.RegisterDevice(testContext(t), registrationOf(bridge.UserID(fmt.Sprint("u", u)), "phone", fmt.Sprint("e", u))))
	}
	cost := func(due int, ask func(context.Context) error) int64 {
		t.Helper()
		exec(t, d, fmt.Sprintf("INSERT INTO falcon_late (ref, rule, user_id, client_id, notification_id, seq, since, due_at) "+
			"SELECT 'push' || n, 'push', 'u' || n %% 20, 'phone', n, n, 1, n FROM generate_series(1, %[1]d) n UNION ALL "+
			"SELECT 'post' || n, 'unread 1h0m0s', 'u' || n %% 20, '', n, n, 1, n FROM generate_series(1, %[1]d) n ON CONFLICT DO NOTHING", due))
		analyze(t, d)
		return readBy(t, d, s.statements(t, ask))
	}
	for name, ask := range map[string]func(context.Context) error{
		"pushes":   func(ctx context.Context) error { return second(d.DuePush(ctx, 10, nil)) },
		"webhooks": func(ctx context.Context) error { return second(d.DueWebhooks(ctx, 100)) },
	} {
		exec(t, d, "DELETE FROM falcon_late")
		few := cost(5_000, ask)
		if many := cost(30_000, ask); many > few+few/10 {
			t.Errorf("%s: a step reads %d rows when 30,000 are due, and %d when 5,000 are", name, many, few)
		}
	}
}
