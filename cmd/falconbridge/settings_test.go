package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/falconalert/falconbridge/internal/config"
	"github.com/falconalert/falconbridge/internal/testserver"
)

const testSecret = "0123456789abcdef0123456789abcdef"

// invoke runs the program in this process, in an environment of its own.
func invoke(t *testing.T, env map[string]string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		if strings.HasPrefix(name, config.EnvPrefix) || strings.HasPrefix(name, "DATABASE_URL") {
			t.Setenv(name, "")
		}
	}
	for name, value := range env {
		t.Setenv(name, value)
	}
	var out, errs bytes.Buffer
	code = run(args, &out, &errs)
	return code, out.String(), errs.String()
}

// file writes a file of the test.
func file(t *testing.T, content string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestAnInvalidSettingIsNamedInOneLine(t *testing.T) {
	pem := testserver.Certificate(t)
	for name, tt := range map[string]struct {
		args   []string
		want   string // the setting and part of its problem
		remedy string
	}{
		"a secret that is too short":         {[]string{"--jwt-secret=short"}, "--jwt-secret (FALCON_JWT_SECRET): 5 bytes", "openssl rand"},
		"a short secret in a file":           {[]string{"--jwt-secret-file", file(t, "short\n")}, "--jwt-secret-file (FALCON_JWT_SECRET_FILE): 5 bytes", "openssl rand"},
		"a secret file that does not exist":  {[]string{"--jwt-secret-file=/nowhere"}, "--jwt-secret-file (FALCON_JWT_SECRET_FILE): the file does not exist", "name a file"},
		"an empty secret file":               {[]string{"--jwt-secret-file", file(t, "\n")}, "--jwt-secret-file (FALCON_JWT_SECRET_FILE): the file is empty", "write the secret"},
		"a public key that is invalid":       {[]string{"--jwt-public-key-file", file(t, "hello")}, "--jwt-public-key-file", "public keys"},
		"a key set over plain http":          {[]string{"--jwt-jwks-url=http://example.com/jwks"}, "--jwt-jwks-url", "https://"},
		"an admin rule without a value":      {[]string{"--jwt-admin-when=profile.role_id"}, "--jwt-admin-when", "profile.role_id=1"},
		"an address without a port":          {[]string{"--http-addr=localhost"}, "--http-addr (FALCON_HTTP_ADDR): is not an address", "host:port"},
		"a port that is too high":            {[]string{"--mqtt-addr=:70000"}, "--mqtt-addr", "host:port"},
		"no HTTP at all":                     {[]string{"--http-addr=off"}, "--http-addr (FALCON_HTTP_ADDR): cannot be off", "host:port"},
		"two listeners on one port":          {[]string{"--http-addr=:1883"}, "--mqtt-addr (FALCON_MQTT_ADDR): is the port of --http-addr", "another port"},
		"MQTT over TLS, no certificate":      {[]string{"--mqtts-addr=:8883"}, "--mqtts-addr (FALCON_MQTTS_ADDR): needs a certificate", "--tls-cert"},
		"a certificate without its key":      {[]string{"--tls-cert", pem.Cert}, "--tls-cert (FALCON_TLS_CERT): is given without --tls-key", "both"},
		"a certificate that is invalid":      {[]string{"--tls-cert", file(t, "x"), "--tls-key", pem.Key}, "--tls-cert", "PEM"},
		"a database of another make":         {[]string{"--database-url=mysql://u:p@h/d"}, "--database-url (FALCON_DATABASE_URL): is not of Postgres", "postgres://"},
		"a database URL that is invalid":     {[]string{"--database-url=postgres://u:p%zz@h/d"}, "--database-url (FALCON_DATABASE_URL): is not a URL of Postgres", "percent-encoded"},
		"a parameter that cannot be used":    {[]string{"--database-url=postgres://u:p@h/d?load_balance_hosts=random"}, "--database-url (FALCON_DATABASE_URL): its parameter load_balance_hosts cannot be used", "tried in order"},
		"a standby as target":                {[]string{"--database-url=postgres://u:p@h/d?target_session_attrs=standby"}, "--database-url (FALCON_DATABASE_URL): target_session_attrs=standby cannot be used", "primary"},
		"an sslmode that is invalid":         {[]string{"--database-url=postgres://u:p@h/d?sslmode=often"}, "--database-url (FALCON_DATABASE_URL): failed to configure TLS (sslmode is invalid)", "docs/configuration.md"},
		"too few connections":                {[]string{"--db-max-connections=3"}, "--db-max-connections (FALCON_DB_MAX_CONNECTIONS): is too few", "write 4 or more"},
		"connections that are not a number":  {[]string{"--db-max-connections=many"}, "--db-max-connections (FALCON_DB_MAX_CONNECTIONS): is not a whole number", "4 or more"},
		"SQLite and a bus of many nodes":     {[]string{"--bus=redis://127.0.0.1:6379"}, "--bus (FALCON_BUS): several nodes cannot share SQLite", "--database-url"},
		"a key set without an audience":      {[]string{"--jwt-jwks-url=https://issuer.example/keys"}, "--jwt-audience (FALCON_JWT_AUDIENCE): is required together with --jwt-jwks-url", "or any"},
		"an audience's claim without one":    {[]string{"--jwt-secret", testSecret, "--jwt-audience-claim=client_id"}, "--jwt-audience-claim (FALCON_JWT_AUDIENCE_CLAIM): has no effect without --jwt-audience", "both"},
		"an audience's claim, any audience":  {[]string{"--jwt-secret", testSecret, "--jwt-audience=any", "--jwt-audience-claim=client_id"}, "--jwt-audience-claim", "both"},
		"a user claim with a hole":           {[]string{"--jwt-secret", testSecret, "--jwt-user-claim=a..b"}, "--jwt-user-claim (FALCON_JWT_USER_CLAIM): is not a claim", "realm_access.roles"},
		"a scope claim that is empty":        {[]string{"--jwt-secret", testSecret, "--jwt-scope-claim=."}, "--jwt-scope-claim (FALCON_JWT_SCOPE_CLAIM): is not a claim", "scp"},
		"a role that maps to nothing":        {[]string{"--jwt-secret", testSecret, "--jwt-scope-map=editor=write"}, "--jwt-scope-map (FALCON_JWT_SCOPE_MAP): \"write\" is no scope", "boss=admin"},
		"a token life without a unit":        {[]string{"--jwt-secret", testSecret, "--max-token-life=3600"}, "--max-token-life (FALCON_MAX_TOKEN_LIFE): is not a time", "1h"},
		"a secret with a BOM":                {[]string{"--jwt-secret-file", file(t, "\xef\xbb\xbf"+testSecret)}, "--jwt-secret-file (FALCON_JWT_SECRET_FILE): begins with a byte order mark", "openssl"},
		"a secret in UTF-16":                 {[]string{"--jwt-secret-file", file(t, "\xff\xfea\x00b\x00c\x00d\x00e\x00f\x00g\x00h\x00a\x00b\x00c\x00d\x00e\x00f\x00g\x00h\x00")}, "--jwt-secret-file (FALCON_JWT_SECRET_FILE): begins with a byte order mark", "openssl"},
		"a URL with a BOM":                   {[]string{"--bus-file", file(t, "\xef\xbb\xbfredis://r")}, "--bus-file (FALCON_BUS_FILE): begins with a byte order mark", "UTF-8"},
		"a certificate with a BOM":           {[]string{"--tls-cert", file(t, "\xef\xbb\xbf-----BEGIN CERTIFICATE-----"), "--tls-key", pem.Key}, "--tls-cert (FALCON_TLS_CERT): begins with a byte order mark", "PEM"},
		"a public key with a BOM":            {[]string{"--jwt-public-key-file", file(t, "\xef\xbb\xbf-----BEGIN PUBLIC KEY-----")}, "--jwt-public-key-file (FALCON_JWT_PUBLIC_KEY_FILE): begins with a byte order mark", "PEM"},
		"a private key with a BOM":           {[]string{"--jwt-private-key-file", file(t, "\xef\xbb\xbf-----BEGIN PRIVATE KEY-----")}, "--jwt-private-key-file (FALCON_JWT_PRIVATE_KEY_FILE): begins with a byte order mark", "PEM"},
		"devices' certificates with a BOM":   {[]string{"--mqtts-addr=:8883", "--tls-cert", pem.Cert, "--tls-key", pem.Key, "--tls-client-ca", file(t, "\xef\xbb\xbf-----BEGIN CERTIFICATE-----")}, "--tls-client-ca (FALCON_TLS_CLIENT_CA): begins with a byte order mark", "PEM"},
		"a short secret among several":       {[]string{"--jwt-secret-file", file(t, testSecret+"\n\nshort\n")}, "--jwt-secret-file (FALCON_JWT_SECRET_FILE): line 3: 5 bytes", "one per line"},
		"an unknown bus":                     {[]string{"--bus=kafka://k"}, "--bus (FALCON_BUS): is not a known bus", "redis://"},
		"a relay that speaks HTTP":           {[]string{"--relay-url=http://b:1883"}, "--relay-url", "mqtt://"},
		"an origin with a path":              {[]string{"--cors-origins=https://a.example/x"}, "--cors-origins", "scheme://host"},
		"a wildcard in the topic prefix":     {[]string{"--topic-prefix=a/+/"}, "--topic-prefix", "staging/"},
		"no connections":                     {[]string{"--max-connections=0"}, "--max-connections ", "number"},
		"a rate in fortnights":               {[]string{"--connect-rate-per-ip=5/fortnight"}, "--connect-rate-per-ip", "50/s"},
		"a proxy that is a name":             {[]string{"--trusted-proxies=10.0.0.0/8,balancer"}, "--trusted-proxies (FALCON_TRUSTED_PROXIES): \"balancer\" is not", "10.0.0.0/8"},
		"devices' certificates without TLS":  {[]string{"--tls-client-ca", pem.Cert}, "--tls-client-ca (FALCON_TLS_CLIENT_CA): is for MQTT over TLS", "--mqtts-addr"},
		"devices' certificates that are no":  {[]string{"--mqtts-addr=:8883", "--tls-cert", pem.Cert, "--tls-key", pem.Key, "--tls-client-ca", file(t, "x")}, "--tls-client-ca (FALCON_TLS_CLIENT_CA): contains no certificate", "PEM"},
		"no connections of an address":       {[]string{"--max-connections-per-ip=0"}, "--max-connections-per-ip ", "off"},
		"a rate of logins that is invalid":   {[]string{"--connect-rate-per-user=often"}, "--connect-rate-per-user", "50/s"},
		"a rate of packets that is invalid":  {[]string{"--packet-rate=-1/s"}, "--packet-rate", "50/s"},
		"a rate of requests that is invalid": {[]string{"--request-rate-per-ip=0/s"}, "--request-rate-per-ip", "50/s"},
		"a time without a unit":              {[]string{"--session-ttl=12"}, "--session-ttl (FALCON_SESSION_TTL): is not a time", "12h"},
		"a negative retention":               {[]string{"--retention=-1h"}, "--retention", "7d"},
		"a language without texts":           {[]string{"--locale=fr"}, "--locale", "en or es"},
		"an unknown log level":               {[]string{"--log-level=loud"}, "--log-level", "debug, info, warn or error"},
		"an unknown log format":              {[]string{"--log-format=xml"}, "--log-format", "text or json"},
		"neither true nor false":             {[]string{"--auto-migrate=perhaps"}, "--auto-migrate", "true or false"},
		"a secret and its file, both typed":  {[]string{"--jwt-secret", testSecret, "--jwt-secret-file", file(t, testSecret)}, "--jwt-secret (FALCON_JWT_SECRET): is given together with --jwt-secret-file", "give only one of them"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, command := range []string{"serve", "config"} {
				code, _, errs := invoke(t, map[string]string{"FALCON_DATA_DIR": t.TempDir()}, append([]string{command}, tt.args...)...)
				if code != 1 || !strings.HasPrefix(errs, "falconbridge: "+tt.want) || !strings.Contains(errs, tt.remedy) {
					t.Errorf("%s: exit %d, %q; want 1 and a line with %q and %q", command, code, errs, tt.want, tt.remedy)
				}
				if strings.Count(errs, "\n") != 1 {
					t.Errorf("%s: wants one line, got %q", command, errs)
				}
			}
		})
	}
}

func TestConfigShowsEffectiveSettings(t *testing.T) {
	for name, tt := range map[string]struct {
		env  map[string]string
		args []string
		want []string // name and value
	}{
		"nothing given: development mode on loopback": {nil, nil,
			[]string{"mode development", "http-addr 127.0.0.1:8080", "mqtt-addr 127.0.0.1:1883", "mqtts-addr off", "bus auto"}},
		"development mode takes no other address": {nil, []string{"--http-addr=0.0.0.0:80", "--admin-addr=[::]:1"},
			[]string{"http-addr 127.0.0.1:80", "admin-addr 127.0.0.1:1"}},
		"with a key it binds as configured": {map[string]string{"FALCON_JWT_SECRET": testSecret}, nil,
			[]string{"mode production", "http-addr :8080", "jwt-secret ********"}},
		"a flag beats the environment": {map[string]string{"FALCON_LOCALE": "en"}, []string{"--locale=es"}, []string{"locale es"}},
		"the environment beats the default": {map[string]string{"FALCON_LOCALE": "en", "FALCON_CONNECT_RATE_PER_IP": "9/m"}, nil,
			[]string{"locale en", "connect-rate-per-ip 9/m"}},
		"limits follow those they are made of": {nil, []string{"--connect-rate-per-ip=9/m", "--request-rate-per-user=5"},
			[]string{"connect-rate-per-user 0.15/s", "request-rate-per-ip 200/s", "max-connections-per-ip off", "packet-rate 100/s"}},
		"or are lifted with them": {nil, []string{"--connect-rate-per-ip=off", "--request-rate-per-user=off"},
			[]string{"connect-rate-per-user off", "request-rate-per-ip off"}},
		"or are given": {nil, []string{"--connect-rate-per-user=1/h", "--request-rate-per-ip=9/s", "--trusted-proxies=10.0.0.0/8"},
			[]string{"connect-rate-per-user 1/h", "request-rate-per-ip 9/s", "trusted-proxies 10.0.0.0/8"}},
		"DATABASE_URL is read, too": {map[string]string{"DATABASE_URL": "postgres://u:geheim@h/d"}, nil,
			[]string{"database-url postgres://u:********@h/d"}},
		"FALCON_DATABASE_URL beats DATABASE_URL": {map[string]string{"DATABASE_URL": "postgres://a/1", "FALCON_DATABASE_URL": "postgres://b/2"}, nil,
			[]string{"database-url postgres://b/2"}},
		"a typed secret beats a file of the environment": {map[string]string{"FALCON_BUS_FILE": "/nowhere", "DATABASE_URL": "postgres://b/2"},
			[]string{"--bus=redis://:geheim@r:6379/0"}, []string{"bus redis://:********@r:6379/0"}},
		"a secret from a file": {map[string]string{"FALCON_DATABASE_URL_FILE": file(t, " postgres://u:geheim@h/d?sslpassword=geheim \n")}, nil,
			[]string{"database-url postgres://u:********@h/d?sslpassword=********"}},
		"empty variables are not set": {map[string]string{"FALCON_LOCALE": "", "FALCON_HTTP_ADDR": "", "DATABASE_URL": ""}, nil,
			[]string{"locale es", "http-addr 127.0.0.1:8080", "database-url SQLite in"}},
		"several hosts are shown": {map[string]string{"DATABASE_URL": "postgres://u:geheim@a,b:5433/d?p%61ssword=geheim&search_path=x"}, []string{"--db-max-connections=8"},
			[]string{"database-url postgres://u:********@a,b:5433/d?p%61ssword=********&search_path=x", "db-max-connections 8"}},
		"a socket is shown": {map[string]string{"DATABASE_URL": "postgres:///d?host=/run/pg&user=u&password=geheim"}, nil,
			[]string{"database-url postgres:///d?host=/run/pg&user=u&password=********"}},
		"a relay's password is masked": {nil, []string{"--relay-url=mqtts://me:geheim@b:8883"}, []string{"relay-url mqtts://me:********@b:8883"}},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, errs := invoke(t, tt.env, append([]string{"config"}, tt.args...)...)
			if code != 0 || errs != "" {
				t.Fatalf("exit %d: %s", code, errs)
			}
			text := squeeze(out)
			for _, want := range tt.want {
				if !strings.Contains(text, "\n"+want) {
					t.Errorf("want %q in:%s", want, text)
				}
			}
			if strings.Contains(text, "geheim") || strings.Contains(text, testSecret) {
				t.Errorf("a secret is shown:%s", text)
			}
		})
	}
}

// squeeze replaces each run of blanks with one.
func squeeze(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = strings.Join(strings.Fields(l), " ")
	}
	return "\n" + strings.Join(lines, "\n")
}

func TestConfigNamesEveryBadSettingAndUnknownVariable(t *testing.T) {
	code, _, errs := invoke(t, map[string]string{"FALCON_HTTP_ADR": ":1"}, "config", "--locale=fr", "--retention=x", "--jwt-secret=geheim")
	if code != 1 {
		t.Errorf("exit %d, want 1", code)
	}
	for _, want := range []string{"--locale", "--retention", "--jwt-secret", "FALCON_HTTP_ADR is not a known setting"} {
		if !strings.Contains(errs, want) {
			t.Errorf("want %s in %q", want, errs)
		}
	}
	if strings.Contains(errs, "geheim") {
		t.Errorf("a secret is shown: %q", errs)
	}
}

func TestABadKeyNeverLeadsToDevelopmentMode(t *testing.T) {
	for _, arg := range []string{"--jwt-secret=x", "--jwt-secret-file=/nowhere", "--jwt-public-key-file=/nowhere", "--jwt-jwks-url=x"} {
		_, out, _ := invoke(t, nil, "config", arg)
		if !strings.Contains(squeeze(out), "\nmode production") {
			t.Errorf("%s: %s", arg, out)
		}
	}
}
