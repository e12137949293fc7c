package postgres_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/uptrace/bun/driver/pgdriver"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/bus/bustest"
	"github.com/falconalert/falconbridge/bridge/bus/postgres"
	"github.com/falconalert/falconbridge/internal/testserver"
)

// through returns the URL with another host and port.
func through(t testing.TB, raw, addr string) string {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	u.Host = addr
	return u.String()
}

func host(t testing.TB, raw string) string {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

func join(t testing.TB, url, node string) *postgres.Bus {
	t.Helper()
	b, err := postgres.New(postgres.Options{URL: url, Node: node, Probe: 250 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// notify sends payload as an application's transaction would.
func notify(t testing.TB, url, payload string) {
	t.Helper()
	db := sql.OpenDB(pgdriver.NewConnector(pgdriver.WithDSN(url)))
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), "SELECT pg_notify('falcon_hint', $1)", payload); err != nil {
		t.Log(err) // the server refuses bytes that are not text
	}
}

// appended returns what falcon_notify sends, and what falcon_append sent in the previous release.
func appended(node string, u bridge.UserID, seq bridge.Seq) string {
	b, err := json.Marshal(map[string]any{"n": node, "u": [][]any{{string(u), seq}}})
	if err != nil {
		panic(err)
	}
	return string(b)
}

func TestContract(t *testing.T) {
	server := testserver.NewPostgres(t)
	bustest.Run(t, func(t *testing.T) bustest.Fixture {
		p := bustest.NewProxy(t, fmt.Sprintf("127.0.0.1:%d", server.Port))
		return bustest.Fixture{
			Join:    func(node string) bridge.Bus { return join(t, through(t, server.URL, p.Addr), node) },
			Garbage: func(junk string) { notify(t, server.URL, junk) },
			Server:  server,
			Proxy:   p,
		}
	})
}
