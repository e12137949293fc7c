package db

import (
	"context"
	"fmt"
	"regexp"
	"testing"

	"github.com/falconalert/falconbridge/bridge"
)

// stateBig finds full scans of the tables that hold the state of inboxes and devices and
// grow with the number of users.
var stateBig = regexp.MustCompile(`(?m)Seq Scan on falcon_(acks|changes|histories|inboxes|late|notifications|past_sessions|sessions|tombstones)|` +
	`^SCAN (falcon_(acks|changes|histories|inboxes|late|notifications|past_sessions|sessions|tombstones)|[acghilnps])$`)

// The statements that supersede, expire, mute, count and explain must read ranges of
// indexes, however many notifications have expired, changes are recorded and sessions have
// ended.
func TestStatementsAboutInboxStateReadIndexRanges(t *testing.T) {
	each(t, func(t *testing.T, d *DB) {
		populate(t, d)
		last, empty := 29_999, "''"
		if d.dialect == SQLite {
			last, empty = 2_999, "x''" // as populate
		}
		numbers := fmt.Sprintf("WITH RECURSIVE c(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM c WHERE n < %d) ", last)
		at := string(d.clock())
		for _, q := range []string{
			// Each user's seqs 1 to 5 have expired, and 6 to 10 will; half of the rest have a key; one in four is hidden.
			"UPDATE falcon_notifications SET expires_at = " + at + " - seq WHERE seq <= 5",
			"UPDATE falcon_notifications SET expires_at = " + at + " + 3600000 WHERE seq > 5 AND seq <= 10",
			"UPDATE falcon_notifications SET replaces = 'k' || seq WHERE seq % 2 = 0",
			"UPDATE falcon_notifications SET kind = 'ads', hidden = (1 = 1) WHERE seq % 4 = 0",
			"UPDATE falcon_inboxes SET kinds = '{\"ads\":0}', hidden_total = 5, rev = 30 WHERE last_seq > 0",
			"INSERT INTO falcon_changes (user_id, rev, id) " + numbers + "SELECT 'u' || (n % 1000), 1 + n / 1000, n FROM c",
			"INSERT INTO falcon_tombstones (id, user_id, seq, kind, why, at, committed_at, \"by\") " + numbers +
				"SELECT 10000000 + n, 'u' || (n % 1000), 100 + n / 1000, 'message', 'deleted', " + at + ", 1, '' FROM c",
			"INSERT INTO falcon_histories (user_id, client_id, advances, skips) " + numbers + "SELECT 'u' || (n % 1000), 'c' || (n / 1000), " + empty + ", " + empty + " FROM c",
			"INSERT INTO falcon_past_sessions (user_id, generation, client_id, ended_at, used_at, subscribed, from_seq, acked_seq, sent_seq, written_seq, written_at, advances, skips) " +
				numbers + "SELECT 'u' || (n % 1000), n, 'p' || n, " + at + ", 1, 1 = 1, 0, 1, 1, 1, 1, " + empty + ", " + empty + " FROM c",
			"INSERT INTO falcon_acks (user_id, client_id, generation, from_seq, acked_seq, at) " + numbers + "SELECT 'u' || (n % 1000), 'c' || n, n, 0, 1, 1 FROM c",
			"INSERT INTO falcon_late (user_id, client_id, ref, rule, notification_id, seq, since, due_at, state, done_at) " + numbers +
				"SELECT 'u' || (n % 1000), 'c' || n, 'r' || n, 'push', n, 1, 1, 1, 1, " + at + " FROM c",
		} {
			exec(t, d, q)
		}
		analyze(t, d)
		ids := func(seq int) int64 {
			return number(t, d, "SELECT id FROM falcon_notifications WHERE user_id = 'u5' AND seq = ?", seq)
		}
		gone := number(t, d, "SELECT min(id) FROM falcon_tombstones")

		s := &spy{}
		separate := d.write != d.read
		d.read = d.read.WithQueryHook(s)
		if d.write = d.read; separate {
			d.write = d.log.WithQueryHook(s)
		}
		keyed := draft("u5", "t")
		keyed.Replaces = "k12"
		for _, step := range []struct {
			name  string
			do    func(ctx context.Context) error
			sorts bool // it may sort the rows it found, though not all rows it could read
		}{
			{"counts", func(ctx context.Context) error { return second(d.Count(ctx, "u5")) }, false},
			{"a page without muted kinds", func(ctx context.Context) error { return second(d.List(ctx, bridge.Query{User: "u5"})) }, false},
			{"unread", func(ctx context.Context) error { return second(d.List(ctx, bridge.Query{User: "u5", Unread: true})) }, false},
			{"kinds", func(ctx context.Context) error {
				return second(d.List(ctx, bridge.Query{User: "u5", Kinds: []bridge.Kind{"ads", "message"}, Hidden: true}))
			}, false},
			{"unread of a kind, before a seq", func(ctx context.Context) error {
				return second(d.List(ctx, bridge.Query{User: "u5", Kinds: []bridge.Kind{"message"}, Unread: true, Before: 15}))
			}, false},
			{"what a device is due", func(ctx context.Context) error { return second(d.After(ctx, "u5", 3, 32)) }, false},
			{"changes since a rev", func(ctx context.Context) error { return second(d.Changes(ctx, "u5", 25)) }, false},
			{"changes from the start", func(ctx context.Context) error { return second(d.Changes(ctx, "u5", 0)) }, false},
			{"mark one as unread", func(ctx context.Context) error { return second(d.Unread(ctx, "u5", ids(11))) }, false},
			{"explain", func(ctx context.Context) error { return second(d.Explain(ctx, ids(11))) }, true},
			{"explain an expired one", func(ctx context.Context) error { return second(d.Explain(ctx, ids(2))) }, true},
			{"explain a tombstone", func(ctx context.Context) error { return second(d.Explain(ctx, gone)) }, true},
			{"deliveries", func(ctx context.Context) error {
				return second(d.Deliveries(ctx, bridge.Notification{ID: 1, User: "u5", Seq: 11}))
			}, true},
			{"withdraw by key", func(ctx context.Context) error { return second(d.Withdraw(ctx, "u5", "k14")) }, false},
			{"supersede", func(ctx context.Context) error {
				return second(d.Append(ctx, bridge.Command{Drafts: []bridge.Draft{keyed}}))
			}, true},
			{"mute a kind", func(ctx context.Context) error {
				return set(ctx, d, "u6", bridge.Settings{ReviewEnabled: true, Kinds: map[bridge.Kind]bool{"message": false}})
			}, true},
			{"delete the read ones", func(ctx context.Context) error { return second(d.DeleteRead(ctx, "u8")) }, true},
			{"remove expired notifications", func(ctx context.Context) error { return third(d.ExpireNotifications(ctx, 100)) }, true},
			{"expire past sessions", func(ctx context.Context) error { return second(d.ExpirePastSessions(ctx, 10)) }, false},
			{"expire tombstones", func(ctx context.Context) error { return second(d.ExpireTombstones(ctx, 10)) }, false},
			{"end a device", func(ctx context.Context) error { return d.RemoveDevice(ctx, dev("u5", "c1")) }, false},
			{"erase", func(ctx context.Context) error { return second(d.Erase(ctx, "u7")) }, true},
		} {
			queries := s.statements(t, step.do)
			if len(queries) == 0 && !(step.name == "supersede" && d.dialect == Postgres) { // a function: see TestFunctionsReadIndexRanges
				t.Errorf("%s runs no statement", step.name)
			}
			for _, q := range queries {
				plan := explain(t, d, q)
				if stateBig.MatchString(plan) {
					t.Errorf("%s scans a table:\n%s\n%s", step.name, q, plan)
				}
				if !step.sorts && sorted.MatchString(plan) {
					t.Errorf("%s sorts:\n%s\n%s", step.name, q, plan)
				}
			}
		}
		if d.dialect == SQLite { // the triggers of a session that ends
			for _, q := range []string{
				"DELETE FROM falcon_past_sessions WHERE user_id = 'u5' AND generation <= (SELECT o.generation FROM falcon_past_sessions o WHERE o.user_id = 'u5' ORDER BY o.generation DESC LIMIT 1 OFFSET 64)",
				"DELETE FROM falcon_histories WHERE user_id = 'u5' AND client_id = 'c1'",
			} {
				if plan := explain(t, d, q); stateBig.MatchString(plan) || sorted.MatchString(plan) {
					t.Errorf("a trigger scans or sorts:\n%s\n%s", q, plan)
				}
			}
		}
	})
}
