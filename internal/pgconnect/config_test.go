package pgconnect

import (
	"strconv"
	"strings"
	"testing"
)

// The forms of connection strings that psql accepts, and how it reads them.
func TestConnectionStringsAreReadAsPsqlReadsThem(t *testing.T) {
	for name, tt := range map[string]struct {
		url, hosts, user, database string
		settings                   string
	}{
		"host and port":          {"postgres://falcon:p@db:5433/x", "db:5433", "falcon", "x", ""},
		"the other scheme":       {"postgresql://falcon@db/x", "db:5432", "falcon", "x", ""},
		"a socket":               {"postgres://falcon@/x?host=/run/pg&port=5433", "/run/pg:5433", "falcon", "x", ""},
		"a socket in the host":   {"postgres://falcon@%2Frun%2Fpg/x", "/run/pg:5432", "falcon", "x", ""},
		"user as a parameter":    {"postgres://db/x?user=falcon&password=p", "db:5432", "falcon", "x", ""},
		"two hosts":              {"postgres://falcon@a,b:5433/x", "a:5432 b:5433", "falcon", "x", ""},
		"an IPv6 host":           {"postgres://falcon@[::1]:5433/x", "::1:5433", "falcon", "x", ""},
		"keepalives":             {"postgres://falcon@db/x?keepalives=1&keepalives_idle=30&keepalives_interval=5&keepalives_count=3", "db:5432", "falcon", "x", ""},
		"a hosting provider's":   {"postgres://falcon@db/x?channel_binding=prefer&pgbouncer=true&connection_limit=1&supa=base", "db:5432", "falcon", "x", ""},
		"Prisma's schema":        {"postgres://falcon@db/x?schema=staging", "db:5432", "falcon", "x", "search_path=staging"},
		"settings of the server": {"postgres://falcon@db/x?search_path=staging&work_mem=8MB", "db:5432", "falcon", "x", "search_path=staging work_mem=8MB"},
		"libpq's own":            {"postgres://falcon@db/x?gssencmode=prefer&sslcompression=0&tcp_user_timeout=9&target_session_attrs=any&load_balance_hosts=disable", "db:5432", "falcon", "x", ""},
	} {
		c, err := Parse(tt.url)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var hosts, settings []string
		for _, h := range c.allHosts() {
			addr := h.Host + ":" + strconv.Itoa(int(h.Port))
			if len(hosts) == 0 || hosts[len(hosts)-1] != addr {
				hosts = append(hosts, addr)
			}
		}
		for _, s := range c.settings {
			settings = append(settings, s.Name+"="+s.Value)
		}
		if got := strings.Join(hosts, " "); got != tt.hosts || c.login.User != tt.user || c.login.Database != tt.database || strings.Join(settings, " ") != tt.settings {
			t.Errorf("%s: hosts %s, user %s, database %s, settings %v", name, got, c.login.User, c.login.Database, settings)
		}
		for p := range c.login.RuntimeParams {
			t.Errorf("%s: %s is sent in the startup message", name, p)
		}
	}
}

func TestUnsupportedParametersAreRefusedByNameWithoutThePassword(t *testing.T) {
	for query, want := range map[string]string{
		"load_balance_hosts=random":      "load_balance_hosts",
		"sslcrl=/x":                      "sslcrl",
		"requirepeer=postgres":           "requirepeer",
		"replication=database":           "replication",
		"gssencmode=require":             "gssencmode",
		"client_encoding=LATIN1":         "client_encoding",
		"target_session_attrs=standby":   "target_session_attrs",
		"target_session_attrs=read-only": "target_session_attrs",
		"target_session_attrs=sometimes": "target_session_attrs",
		"sslmode=often":                  "sslmode",
		"sslrootcert=/nowhere":           "nowhere",
		"channel_binding=maybe":          "channel_binding",
		"connect_timeout=soon":           "connect_timeout",
		"keepalives_idle=soon":           "keepalives_idle",
		"keepalives_often=1":             "keepalives_often",
		"hostaddr=elsewhere":             "hostaddr",
		"ssl=maybe":                      "ssl",
		"ssl_min_protocol_version=3":     "ssl_min_protocol_version",
		"a%27b=1":                        "a'b",
	} {
		_, err := Parse("postgres://falcon:geheim@db/x?" + query)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want it to name %s", query, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "geheim") {
			t.Errorf("%s: the error contains the password: %v", query, err)
		}
	}
	for _, url := range []string{"postgres://u:geheim@h:port/x", "postgres://u:gehe%zzim@h/x", "mysql://u:geheim@h/x", "postgres://u:geheim/im@h/x", "postgres://u:geheim@[::1/x"} {
		if _, err := Parse(url); err == nil || strings.Contains(err.Error(), "gehe") {
			t.Errorf("%s: %v", url, err)
		}
	}
}

// The server warns about a connection without TLS if it leaves the machine.
func TestOnlySocketsAndLoopbackAreLocal(t *testing.T) {
	for url, want := range map[string]bool{
		"postgres://u@127.0.0.1/d": true, "postgres://u@localhost/d": true, "postgres://u@[::1]/d": true, "postgres:///d?host=/run/pg&user=u": true,
		"postgres://u@db/d": false, "postgres://u@10.0.0.1/d": false, "postgres://u@localhost,db/d": false,
	} {
		c, err := Parse(url)
		if err != nil || c.Local() != want {
			t.Errorf("%s: local %v, %v", url, !want, err)
		}
	}
}
