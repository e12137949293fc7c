package db

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/testserver"
	"github.com/uptrace/bun"
)

// A query hook, such as bundebug or bunotel, sees every statement of every call with its
// arguments.
func TestAHookSeesTheStatementsOfEveryCall(t *testing.T) {
	for name, url := range map[string]string{"SQLite": filepath.Join(t.TempDir(), "falcon.db"), "Postgres": testserver.Postgres(t)} {
		t.Run(name, func(t *testing.T) {
			s := &spy{}
			d := openTest(t, Options{URL: url, Hooks: []bun.QueryHook{s}})
			s.mu.Lock()
			up := strings.Join(s.queries, "\n")
			s.mu.Unlock()
			if !strings.Contains(up, "CREATE TABLE falcon_inboxes") {
				t.Error("the hook did not see the migrations")
			}
			ctx := testContext(t)
			n := seed(t, d, "u", 3)
			_, err := d.AddReport(ctx, bridge.NewReport{Title: "T", User: "u", Status: bridge.Pending})
			must(t, err)
			session, err := d.Open(ctx, bridge.OpenSession{Device: dev("u", "c"), Expiry: time.Hour})
			must(t, err)
			now, err := d.Now(ctx)
			must(t, err)
			past := []ImportedNotification{{ID: 1, Draft: draft("u", "past"), CreatedAt: time.Now()}}
			third := func(_, _ any, err error) error { return err }
			fourth := func(_, _, _ any, err error) error { return err }
			for call, tt := range map[string]struct {
				do   func(ctx context.Context) error
				sees string // in one of the statements
			}{
				"Append":      {func(ctx context.Context) error { return second(d.Append(ctx, one("u", "it's"))) }, "it''s"},
				"After":       {func(ctx context.Context) error { return second(d.After(ctx, "u", 1, 10)) }, "falcon_notifications"},
				"Head":        {func(ctx context.Context) error { return second(d.Head(ctx, "u")) }, "falcon_inboxes"},
				"Skip":        {func(ctx context.Context) error { return second(d.Skip(ctx, "u", 0, 2)) }, "OFFSET 2"},
				"Starts":      {func(ctx context.Context) error { return second(d.Starts(ctx, []bridge.UserID{"u"}, nil, 2)) }, "'u'"},
				"List":        {func(ctx context.Context) error { return second(d.List(ctx, bridge.Query{User: "u"})) }, "falcon_inboxes"},
				"Count":       {func(ctx context.Context) error { return second(d.Count(ctx, "u")) }, "falcon_inboxes"},
				"Find":        {func(ctx context.Context) error { return second(d.Find(ctx, n[0].ID)) }, "falcon_notifications"},
				"Read":        {func(ctx context.Context) error { return second(d.Read(ctx, "u", n[0].ID)) }, "read_at"},
				"ReadUpTo":    {func(ctx context.Context) error { return third(d.ReadUpTo(ctx, "u", 2)) }, "UPDATE"},
				"Delete":      {func(ctx context.Context) error { return d.Delete(ctx, "u", n[2].ID) }, "DELETE"},
				"Settings":    {func(ctx context.Context) error { return second(d.Settings(ctx, "u")) }, "review_enabled"},
				"SetSettings": {func(ctx context.Context) error { return set(ctx, d, "new", muted) }, "'new'"},
				"Since":       {func(ctx context.Context) error { return fourth(d.Since(ctx, now, 5)) }, "falcon_notifications"},
				"Changed":     {func(ctx context.Context) error { return fourth(d.Changed(ctx, now, 5)) }, "id"},
				"Retained":    {func(ctx context.Context) error { return second(d.Retained(ctx, "", 5)) }, "falcon_inboxes"},
				"ListReports": {func(ctx context.Context) error { return third(d.ListReports(ctx, bridge.ReportQuery{})) }, "falcon_reports"},
				"Subscribe": {func(ctx context.Context) error {
					return third(d.Subscribe(ctx, dev("u", "c"), session.Generation, bridge.Subscription{}, nil))
				}, "'c'"},
				"Unsubscribe": {func(ctx context.Context) error { return d.Unsubscribe(ctx, dev("u", "c"), session.Generation) }, "falcon_sessions"},
				"Advance": {func(ctx context.Context) error {
					return d.Advance(ctx, []bridge.Advance{{Device: dev("u", "c"), Generation: session.Generation, Acked: 1}})
				}, "'"},
				"Deliveries": {func(ctx context.Context) error { return second(d.Deliveries(ctx, n[1])) }, "falcon_sessions"},
				"Explain":    {func(ctx context.Context) error { return second(d.Explain(ctx, n[1].ID)) }, "falcon_late"},
				"Register": {func(ctx context.Context) error {
					return d.Register(ctx, "node1", []bridge.Connection{{Device: dev("u", "c"), Generation: session.Generation}}, nil)
				}, "node1"},
				"Connections":         {func(ctx context.Context) error { return third(d.Connections(ctx, bridge.ConnectionQuery{})) }, "falcon_connections"},
				"Sessions":            {func(ctx context.Context) error { return third(d.Sessions(ctx, bridge.SessionQuery{})) }, "falcon_sessions"},
				"Beat":                {func(ctx context.Context) error { return d.Beat(ctx, "node1", bridge.Figures{}) }, "falcon_nodes"},
				"Poll":                {func(ctx context.Context) error { return third(d.Poll(ctx, "node1", time.Time{})) }, "falcon_orders"},
				"Revocations":         {func(ctx context.Context) error { return second(d.Revocations(ctx, bridge.Revocation{}, 5)) }, "falcon_revocations"},
				"Revoked":             {func(ctx context.Context) error { return second(d.Revoked(ctx, bridge.Claims{ID: "token2"})) }, "token2"},
				"ExpireRevocations":   {func(ctx context.Context) error { return second(d.ExpireRevocations(ctx, time.Hour, 5)) }, "falcon_revocations"},
				"End":                 {func(ctx context.Context) error { return d.End(ctx, bridge.Order{User: "u"}) }, "falcon_orders"},
				"Revoke":              {func(ctx context.Context) error { return d.Revoke(ctx, bridge.Revocation{ID: "token1"}) }, "token1"},
				"Nodes":               {func(ctx context.Context) error { return second(d.Nodes(ctx)) }, "falcon_nodes"},
				"LeaseRelay":          {func(ctx context.Context) error { return third(d.LeaseRelay(ctx, "node1", time.Second)) }, "falcon_relay"},
				"SaveRelay":           {func(ctx context.Context) error { return second(d.SaveRelay(ctx, "node1", "state1", time.Second)) }, "state1"},
				"Touched":             {func(ctx context.Context) error { return third(d.Touched(ctx, now, 5)) }, "falcon_touched"},
				"ImportNotifications": {func(ctx context.Context) error { return second(d.ImportNotifications(ctx, past)) }, "'past'"},
				"ExpireSessions":      {func(ctx context.Context) error { return second(d.ExpireSessions(ctx, 5)) }, "falcon_sessions"},
				"Record":              {func(ctx context.Context) error { return d.Record(ctx, bridge.AuditEntry{Sub: "auditor"}) }, "'auditor'"},
				"Entries":             {func(ctx context.Context) error { return third(d.Entries(ctx, 0, 5)) }, "falcon_audit"},
				"ExpireAudit":         {func(ctx context.Context) error { return second(d.ExpireAudit(ctx, time.Hour, 5)) }, "falcon_audit"},
				"ExpireKeys":          {func(ctx context.Context) error { return second(d.ExpireKeys(ctx, 5)) }, "falcon_keys"},
				"Retain":              {func(ctx context.Context) error { return second(d.Retain(ctx, time.UnixMilli(1), 5)) }, "falcon_notifications"},
				"Erase":               {func(ctx context.Context) error { return second(d.Erase(ctx, "nobody")) }, "'nobody'"},
				"Leave":               {func(ctx context.Context) error { return d.Leave(ctx, "node2") }, "node2"},
			} {
				if queries := s.statements(t, tt.do); !strings.Contains(strings.Join(queries, "\n"), tt.sees) {
					t.Errorf("%s: no statement with %q in %q", call, tt.sees, queries)
				}
			}
		})
	}
}

// Hooks do not see a statement that goes directly to database/sql or that is prepared, so
// the package has none.
func TestNoStatementBypassesTheHooks(t *testing.T) {
	files, err := filepath.Glob("*.go")
	must(t, err)
	bypass := regexp.MustCompile(`\.DB\.(Query|Exec|Prepare|Begin|Conn)|\.Prepare(Context)?\(|\*sql\.(Stmt|Tx|Conn)\b`)
	for _, f := range files {
		text, err := os.ReadFile(f)
		must(t, err)
		if at := bypass.Find(text); at != nil && !strings.HasSuffix(f, "_test.go") {
			t.Errorf("%s has %q", f, at)
		}
	}
}
