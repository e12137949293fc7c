package pgconnect_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/uptrace/bun/driver/pgdriver"

	"github.com/falconalert/falconbridge/internal/pgconnect"
	"github.com/falconalert/falconbridge/internal/testserver"
)

// connect queries one value from the server at url, through pgdriver.
func connect(t *testing.T, url, query string) (value string, err error) {
	t.Helper()
	c, err := pgconnect.Parse(url)
	if err != nil {
		t.Fatalf("%s: %v", url, err)
	}
	db := sql.OpenDB(c.Connector(pgconnect.Options{}))
	defer db.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	err = db.QueryRowContext(ctx, query).Scan(&value)
	return value, err
}

// expectValue fails the test unless query returns want at url.
func expectValue(t *testing.T, what, url, query, want string) {
	t.Helper()
	if got, err := connect(t, url, query); err != nil || got != want {
		t.Errorf("%s: %q, %v; want %q", what, got, err, want)
	}
}

// expectRefused fails the test unless the login at url is refused for a reason that waiting does
// not change, and the error contains word.
func expectRefused(t *testing.T, what, url, word string) {
	t.Helper()
	_, err := connect(t, url, "SELECT ''")
	var e *pgconnect.Error
	if !errors.As(err, &e) || e.State == "" && !e.Untrusted() || !strings.Contains(err.Error()+e.Message, word) {
		t.Errorf("%s: %v; want it refused with %q", what, err, word)
	}
	if err != nil && (strings.Contains(err.Error(), "falcon") || strings.Contains(err.Error(), "geheim")) {
		t.Errorf("%s: the error names user or password: %v", what, err)
	}
}

func exec(t *testing.T, url string, queries ...string) {
	t.Helper()
	db := sql.OpenDB(pgdriver.NewConnector(pgdriver.WithDSN(url)))
	defer db.Close()
	for _, q := range queries {
		if _, err := db.ExecContext(t.Context(), q); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
}

const encrypted = "SELECT ssl::text FROM pg_stat_ssl WHERE pid = pg_backend_pid()"

func TestWithoutTLSOnTheServerPreferFallsBackAndRequireDoesNot(t *testing.T) {
	s := testserver.NewPostgres(t)
	url := fmt.Sprintf("postgres://falcon:geheim@127.0.0.1:%d/falcon", s.Port)
	for _, mode := range []string{"", "?sslmode=prefer", "?sslmode=allow", "?sslmode=disable"} {
		expectValue(t, "plain"+mode, url+mode, encrypted, "false")
	}
	for _, mode := range []string{"require", "verify-full"} {
		expectRefused(t, mode, url+"?sslmode="+mode, "refused TLS")
	}
	expectRefused(t, "channel binding without TLS", url+"?sslmode=disable&channel_binding=require", "channel binding")
}

func TestEverySSLModeDoesWhatLibpqSays(t *testing.T) {
	s := testserver.NewPostgres(t)
	files := s.Secure(t)
	exec(t, s.URL, "CREATE ROLE only_tls LOGIN", "CREATE ROLE only_plain LOGIN", "CREATE ROLE localhost LOGIN",
		"CREATE ROLE scram LOGIN PASSWORD 'geheim'")
	s.Reconfigure(t, "hostssl all localhost all cert\nhost all scram all scram-sha-256\nhostssl all only_tls all trust\nhostnossl all only_plain all trust\nhost all falcon all trust\n")
	url := func(user, host, query string) string {
		return fmt.Sprintf("postgres://%s@%s:%d/falcon?%s", user, host, s.Port, query)
	}
	own := "&sslrootcert=" + files.Cert
	expectValue(t, "prefer uses TLS", url("falcon", "127.0.0.1", ""), encrypted, "true")
	expectValue(t, "allow uses plain text", url("falcon", "127.0.0.1", "sslmode=allow"), encrypted, "false")
	expectValue(t, "allow falls back to TLS", url("only_tls", "127.0.0.1", "sslmode=allow"), encrypted, "true")
	expectValue(t, "prefer falls back to plain text", url("only_plain", "127.0.0.1", "sslmode=prefer"), encrypted, "false")
	expectValue(t, "require checks no certificate", url("falcon", "127.0.0.1", "sslmode=require"), encrypted, "true")
	expectValue(t, "verify-ca", url("falcon", "127.0.0.1", "sslmode=verify-ca"+own), encrypted, "true")
	expectValue(t, "verify-full", url("falcon", "localhost", "sslmode=verify-full"+own), encrypted, "true")
	expectValue(t, "a client certificate", url("localhost", "localhost", "sslmode=verify-full&sslcert="+files.Cert+"&sslkey="+files.Key+own), encrypted, "true")
	expectValue(t, "channel binding", url("scram:geheim", "localhost", "sslmode=require&channel_binding=require"), encrypted, "true")
	expectValue(t, "hostaddr", url("falcon", "localhost", "sslmode=verify-full&hostaddr=127.0.0.1"+own), encrypted, "true")

	other := "&sslrootcert=" + testserver.Certificate(t).Cert
	expectRefused(t, "another authority", url("falcon", "localhost", "sslmode=verify-ca"+other), "x509")
	expectRefused(t, "require with an authority verifies", url("falcon", "localhost", "sslmode=require"+other), "x509")
	expectRefused(t, "another name", url("falcon", "ip6-localhost", "sslmode=verify-full&hostaddr=127.0.0.1"+own), "x509")
	expectRefused(t, "no client certificate", url("localhost", "localhost", "sslmode=require"), "certificate")
	expectRefused(t, "a TLS version that is too old", url("falcon", "localhost", "sslmode=require&ssl_max_protocol_version=TLSv1"), "tls")
}

// The server prepares a password by RFC 4013 (SASLprep) before it stores it, so a client that does
// not prepare the password in the same way is refused.
func TestAPasswordThatSASLprepChangesWorks(t *testing.T) {
	s := testserver.NewPostgres(t)
	exec(t, s.URL, "CREATE ROLE scram LOGIN PASSWORD U&'I\\00ADX \\FB01'")
	exec(t, s.URL, "CREATE ROLE plain LOGIN PASSWORD U&'I\\00ADX \\FB01'")
	s.Reconfigure(t, "host all scram all scram-sha-256\nhost all plain all password\nhost all falcon all trust\n")
	server := fmt.Sprintf("@127.0.0.1:%d/falcon", s.Port)
	expectValue(t, "as it was set", "postgres://scram:I%C2%ADX%20%EF%AC%81"+server, "SELECT 'in'", "in")
	expectValue(t, "as it is stored", "postgres://scram:IX%20fi"+server, "SELECT 'in'", "in")
	expectValue(t, "sent as it is", "postgres://plain:I%C2%ADX%20%EF%AC%81"+server, "SELECT 'in'", "in")
	expectRefused(t, "another one", "postgres://scram:IX"+server, "SQLSTATE 28P01")
}

func TestASocketIsNamedByParameters(t *testing.T) {
	s := testserver.NewPostgres(t)
	s.Reconfigure(t, "local all all trust\nhost all falcon all trust\n")
	url := fmt.Sprintf("postgres:///falcon?host=%s&port=%d&user=falcon&application_name=mine", s.Dir(), s.Port)
	expectValue(t, "a socket", url, "SELECT coalesce(host(client_addr), 'socket') || ' ' || application_name FROM pg_stat_activity WHERE pid = pg_backend_pid()", "socket mine")
}

func TestHostsAreTriedInOrderUntilThePrimary(t *testing.T) {
	primary, standby := testserver.NewPostgres(t), testserver.NewPostgres(t)
	standby.Demote(t)
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts connections and sends nothing
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { silent.Close() })
	hosts := func(ports ...int) string {
		var list []string
		for _, p := range ports {
			list = append(list, fmt.Sprintf("127.0.0.1:%d", p))
		}
		return "postgres://falcon@" + strings.Join(list, ",") + "/falcon"
	}
	const port = "SELECT current_setting('port')"
	want := fmt.Sprint(primary.Port)
	expectValue(t, "after a closed port", hosts(1, primary.Port), port, want)
	expectValue(t, "after a server that does not respond", hosts(silent.Addr().(*net.TCPAddr).Port, primary.Port), port, want)
	for _, attrs := range []string{"", "?target_session_attrs=any", "?target_session_attrs=primary", "?target_session_attrs=read-write"} {
		expectValue(t, "after a standby"+attrs, hosts(standby.Port, primary.Port)+attrs, port, want)
	}
	// A role that is read-only by default does not make its server a standby.
	exec(t, primary.URL, "ALTER ROLE falcon SET default_transaction_read_only = on")
	expectValue(t, "a read-only role", hosts(standby.Port, primary.Port), port, want)
}

func TestServerSettingsAndOptionsOfTheURLApply(t *testing.T) {
	url := testserver.Postgres(t)
	expectValue(t, "options", url+"&options=-c%20work_mem%3D9MB", "SELECT current_setting('work_mem')", "9MB")
	expectValue(t, "a setting", url+"&work_mem=9MB", "SELECT current_setting('work_mem')", "9MB")
	expectValue(t, "a list", url+"&search_path=a,%20%22B%22", "SELECT array_to_string(current_schemas(true), ' ') || current_setting('search_path')", `pg_cataloga, "B"`)
	expectValue(t, "a setting that has a default", url+"&synchronous_commit=off", "SELECT current_setting('synchronous_commit')", "off")
	expectRefused(t, "an unknown setting", url+"&often=1", "often")
	expectRefused(t, "an invalid value", url+"&work_mem=much", "work_mem")
	expectRefused(t, "SQL in a value", url+"&often=%27%29%3B%20DROP%20TABLE%20x%3B--%5C", "often")
}

func TestAConnectionThatIsRefusedIsClosed(t *testing.T) {
	s := testserver.NewPostgres(t)
	for range 20 {
		if _, err := connect(t, s.URL+"&often=1", "SELECT ''"); err == nil {
			t.Fatal("an unknown setting was accepted")
		}
	}
	testserver.Eventually(t, 5*time.Second, func() error {
		n, err := connect(t, s.URL, "SELECT count(*)::text FROM pg_stat_activity WHERE backend_type = 'client backend'")
		if err != nil || n != "1" {
			return fmt.Errorf("%s connections are open, %w", n, err)
		}
		return nil
	})
}
