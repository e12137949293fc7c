package db

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/uptrace/bun"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/testserver"
)

// Whoever runs the trace collector must not see the content of notifications.
func TestSpansContainNeitherArgumentsNorDatabaseErrors(t *testing.T) {
	for name, url := range map[string]string{"SQLite": filepath.Join(t.TempDir(), "falcon.db"), "Postgres": testserver.Postgres(t)} {
		t.Run(name, func(t *testing.T) {
			recorder := tracetest.NewSpanRecorder()
			p := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
			d := openTest(t, Options{URL: url, Hooks: []bun.QueryHook{Traced(p)}})
			if n := len(recorder.Ended()); n > 0 {
				t.Errorf("%d statements outside of any call were recorded, the first is %v", n, recorder.Ended()[0].Attributes())
			}
			command := one("secret-user", "secret title")
			command.Traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
			command.Drafts[0].Message, command.Drafts[0].Data, command.Drafts[0].URL = "secret message", []byte(`{"secret":1}`), "/secret"
			mustAppend(t, d, command)
			ctx, call := p.Tracer("test").Start(testContext(t), "call")
			if _, err := d.List(ctx, bridge.Query{User: "secret-user"}); err != nil {
				t.Fatal(err)
			}
			if _, err := d.read.ExecContext(ctx, "SELECT falcon(?)", "secret"); err == nil {
				t.Fatal("a call of an unknown function succeeded")
			}
			if _, err := d.read.ExecContext(ctx, "SELECT json_extract('{', ?)", "secret"); err == nil {
				t.Fatal("a statement with invalid JSON succeeded")
			}
			call.End()
			byTrace, failed := map[string]int{}, 0
			for _, s := range recorder.Ended() {
				text := fmt.Sprintf("%s %v %v %v", s.Name(), s.Attributes(), s.Events(), s.Status())
				if strings.Contains(text, "secret") {
					t.Errorf("a span contains what was sent: %s", text)
				}
				byTrace[s.SpanContext().TraceID().String()]++
				failed += len(s.Events())
			}
			if byTrace["4bf92f3577b34da6a3ce929d0e0e4736"] == 0 || byTrace[call.SpanContext().TraceID().String()] < 4 || failed != 2 {
				t.Errorf("spans by trace %v, %d of them failed", byTrace, failed)
			}
			before := len(recorder.Ended())
			command.Traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
			mustAppend(t, d, command)
			mustAppend(t, d, one("secret-user", "untraced"))
			if more := len(recorder.Ended()) - before; more > 0 {
				t.Errorf("%d statements of calls that are not sampled were recorded", more)
			}
		})
	}
}

func TestATraceparentIsStoredNowhere(t *testing.T) {
	d := openTest(t, Options{URL: testserver.Postgres(t)})
	command := one("42", "t")
	command.Traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	mustAppend(t, d, command)
	var tables []string
	must(t, d.read.NewRaw("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()").Scan(testContext(t), &tables))
	if len(tables) < 10 {
		t.Fatalf("the tables are %q", tables)
	}
	for _, table := range tables {
		if n := number(t, d, "SELECT count(*) FROM "+table+" AS r WHERE r::text LIKE '%4bf92f3577b34da6%'"); n != 0 {
			t.Errorf("%s contains the trace ID in %d rows", table, n)
		}
	}
}
