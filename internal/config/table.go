package config

import (
	"slices"
	"strings"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/push"
)

// Setting is one row of the table.
type Setting struct {
	Flag    string   // its name, without dashes
	Env     []string // environment variables; the first that is set counts. FALCON_<FLAG> where the row names none
	Group   Group    // its heading in the help and in the documentation
	Form    string   // what a value is called in the help, such as ADDR
	Default string   // "" is unset
	Unset   string   // what an unset one means; "" is none
	InFile  bool     // a secret, which may stand in the file that --<flag>-file names
	FileOf  string   // the flag whose secret is in this file; such rows are made from InFile
	Toggle  bool     // the flag may stand without a value, which means true
	Words   []string // values that the shell completes

	Help string // one or two sentences for --help, in Markdown
	More string // what the documentation adds, in Markdown

	Read   func(text string) error  // parses the value; an error says what is wrong, without the value
	Remedy string                   // what to do about an error of Read or Check, unless that is a Fault
	Check  func() error             // judges the value with the others, once all are read; nil: nothing to judge
	Mask   func(text string) string // hides the secret in a value; nil: there is none
	Show   func() string            // the effective value for `config`; nil: the value as given
}

// In reports whether the setting belongs to a scope. The file of a secret belongs
// where the secret does.
func (s Setting) In(scope []string) bool {
	return slices.Contains(scope, s.Flag) || slices.Contains(scope, s.FileOf)
}

// Group is a heading of the settings.
type Group string

// The groups, in the order of the help and of the documentation.
const (
	Listeners Group = "Listeners"
	Storage   Group = "Storage and other nodes"
	KeysGroup Group = "Keys"
	Limits    Group = "Names and limits"
	Absent    Group = "When no device answers"
	Times     Group = "Times and words"
)

// Groups are all of them.
var Groups = []Group{Listeners, Storage, KeysGroup, Limits, Absent, Times}

// fileSuffix ends the flag of a file that holds a secret.
const fileSuffix = "-file"

// Settings returns the table.
func Settings() []Setting { return new(Config).table() }

// All is the scope of the server: every setting.
func All() (scope []string) {
	for _, s := range Settings() {
		scope = append(scope, s.Flag)
	}
	return scope
}

// Scopes of the commands, to be joined.
var (
	Log      = []string{"log-level", "log-format"}
	SQLite   = slices.Concat([]string{"data-dir", "database-url"}, Log)
	Database = slices.Concat([]string{"db-max-connections", "start-timeout"}, SQLite)
	// Signing is what a token depends on that the command line signs.
	Signing = []string{"data-dir", "jwt-secret", "jwt-secret-file", "jwt-public-key-file", "jwt-private-key-file", "jwt-jwks-url",
		"jwt-issuer", "jwt-audience", "jwt-user-claim", "jwt-scope-claim", "max-token-life", "topic-prefix"}
	// LocalHTTP and LocalMQTT are how a client finds the server on this machine.
	LocalHTTP = []string{"http-addr", "tls-cert", "tls-key"}
	LocalMQTT = slices.Concat(LocalHTTP, []string{"mqtt-addr", "mqtts-addr"})
)

// table is all settings, and what their values go to in c.
func (c *Config) table() []Setting {
	var rows []Setting
	for _, s := range c.rows() {
		if s.Env == nil {
			s.Env = []string{Env(s.Flag)}
		}
		rows = append(rows, s)
		if !s.InFile {
			continue
		}
		file := Setting{Flag: s.Flag + fileSuffix, FileOf: s.Flag, Group: s.Group, Form: "FILE", Help: "File that contains `--" + s.Flag + "`."}
		for _, e := range s.Env {
			file.Env = append(file.Env, e+"_FILE")
		}
		rows = append(rows, file)
	}
	return rows
}

const (
	addrRemedy  = "write host:port, :port or off"
	timeRemedy  = "write 30s, 12h or 7d"
	rateRemedy  = "write 50/s, 600/m or off"
	claimRemedy = `write a name like scp, or a path like realm_access.roles; a dot inside a name is written \.`
)

// rows is the table. To add a setting, add a row with the field of Config that its
// value goes to, and use that field.
func (c *Config) rows() []Setting {
	return []Setting{
		{Flag: "http-addr", Group: Listeners, Form: "ADDR", Default: ":8080",
			Help: "REST, pages, and MQTT over WebSocket at `/mqtt`, on one port.",
			Read: into(&c.HTTP, parseAddr), Remedy: addrRemedy, Check: c.checkHTTP, Show: shown(&c.HTTP)},
		{Flag: "mqtt-addr", Group: Listeners, Form: "ADDR", Default: ":1883",
			Help: "MQTT over TCP; `off` closes it.",
			More: "WebSocket stays open.",
			Read: into(&c.MQTT, parseAddr), Remedy: addrRemedy, Check: c.checkMQTT, Show: shown(&c.MQTT)},
		{Flag: "mqtts-addr", Group: Listeners, Form: "ADDR", Default: Off,
			Help: "MQTT over TLS; needs `--tls-cert`.",
			More: "Where all devices use it, write `--mqtt-addr off`: the program warns of a plaintext listener next to it.",
			Read: into(&c.MQTTS, parseAddr), Remedy: addrRemedy, Check: c.checkMQTTS, Show: shown(&c.MQTTS)},
		{Flag: "admin-addr", Group: Listeners, Form: "ADDR", Default: "127.0.0.1:9091",
			Help: "`/metrics`, `/debug/pprof/`, `/healthz`, `/readyz`; `off` closes it.",
			More: "Metrics and profiles are served nowhere else. On loopback it answers only to an IP address or `localhost` as the host.",
			Read: into(&c.Admin, parseAddr), Remedy: addrRemedy, Check: c.checkAdmin, Show: shown(&c.Admin)},
		{Flag: "tls-cert", Group: Listeners, Form: "FILE",
			Help: "PEM certificate chain; turns HTTP into HTTPS. A changed file is served within 30 s.",
			More: "HTTPS comes with HSTS: browsers keep to HTTPS on this host for a year.",
			Read: into(&c.TLSCert, text), Check: c.checkCertificate},
		{Flag: "tls-key", Group: Listeners, Form: "FILE",
			Help: "PEM private key of `--tls-cert`.",
			Read: into(&c.TLSKey, text), Check: c.checkCertificateKey},
		{Flag: "tls-client-ca", Group: Listeners, Form: "FILE",
			Help: "PEM certificates of authorities; `--mqtts-addr` then accepts only devices whose certificate one of them signed.",
			More: "A device without one never gets as far as to show its token. Changed files count within 30 s. HTTPS, and so MQTT over WebSocket, asks for no certificate, because browsers have none; nor does `--mqtt-addr`. " +
				"To let no device in without one, write `--mqtt-addr off` and close `/mqtt` at the balancer.",
			Read: into(&c.TLSClientCA, text), Remedy: "name a PEM file with the certificates that sign the devices'", Check: c.checkClientCA},
		{Flag: "trusted-proxies", Group: Listeners, Form: "LIST",
			Help: "Addresses and prefixes, comma-separated, whose PROXY protocol header (MQTT) and X-Forwarded-For (HTTP) are believed.",
			More: "See [below](#behind-a-balancer).",
			Read: into(&c.Proxies, parseProxies), Remedy: "write a list like 10.0.0.0/8,192.0.2.7"},

		{Flag: "data-dir", Group: Storage, Form: "DIR", Default: "./data",
			Help: "Directory of the SQLite file and the development key.",
			Read: into(&c.DataDir, notEmpty), Remedy: "name a directory"},
		{Flag: "database-url", Env: []string{"FALCON_DATABASE_URL", "DATABASE_URL"}, Group: Storage, Form: "URL", InFile: true, Unset: "SQLite in the data directory",
			Help: "`postgres://user:password@host:5432/name` for production.",
			More: "See [below](#connecting-to-postgres).",
			Read: c.readDatabase, Mask: MaskURL},
		{Flag: "db-max-connections", Group: Storage, Form: "N", Default: "20",
			Help: "Postgres connections of this process, all pools together; calls wait for one within their deadline.",
			More: "At least 4. Where calls wait long, the log says so at most once in 10 s. A lower limit of the role, the database or the server counts instead.",
			Read: into(&c.DBMaxConnections, parsePool), Remedy: "write a number, 4 or more"},
		{Flag: "auto-migrate", Group: Storage, Default: "true", Toggle: true,
			Help: "Apply pending schema migrations at the start; with `=false` pending ones stop it.",
			More: "`falconbridge migrate up` then applies them.",
			Read: into(&c.AutoMigrate, parseToggle), Remedy: "write true or false"},
		{Flag: "bus", Group: Storage, Form: "URL", Default: BusAuto, InFile: true, Words: []string{BusAuto, "redis://"},
			Help: "How nodes wake each other: `auto`, or `redis(s)://…`.",
			More: "With `auto` it is in the process on SQLite, and LISTEN/NOTIFY on Postgres. A Redis is `redis://:password@host:6379/0`, or `rediss://` for TLS. Several nodes need Postgres.",
			Read: into(&c.Bus, parseBus), Remedy: "write auto, or redis://:password@host:6379/0 (rediss:// for TLS)", Check: c.checkBus, Mask: MaskURL},
		{Flag: "relay-url", Group: Storage, Form: "URL", InFile: true,
			Help: "`mqtt(s)://user:pass@host:port` of an MQTT 5 broker to publish to as well.",
			More: "See [relay.md](relay.md).",
			Read: into(&c.RelayURL, parseRelay), Remedy: "write mqtt://user:pass@host:1883 or mqtts://…, special characters percent-encoded", Mask: MaskURL},

		{Flag: "vapid-key-file", Group: Absent, Form: "FILE", Unset: "no Web Push",
			Help: "PEM file of a P-256 private key, the same on all nodes; turns Web Push on, with `--vapid-contact`.",
			More: "See [push.md](push.md). It is read at the start only: with another key every browser has to subscribe again.",
			Read: c.readVapid, Remedy: "make one with: openssl ecparam -genkey -name prime256v1 -noout", Check: c.checkVapid},
		{Flag: "vapid-contact", Group: Absent, Form: "URL",
			Help: "`mailto:` or `https:` URL at which push services reach the operator.",
			Read: intoGiven(&c.VapidContact, parseContact), Remedy: "write mailto:ops@example.com", Check: c.checkVapidContact},
		{Flag: "push-after", Group: Absent, Form: "TIME", Default: "15s",
			Help: "How long after the commit a registered device that has not acknowledged gets a push.",
			Read: into(&c.PushAfter, parsePushAfter), Remedy: "write 15s, from 1s to 24h"},
		{Flag: "push-base-url", Group: Absent, Form: "URL", Unset: "relative to the page",
			Help: "Address of the inbox, which a press on a push opens; a notification's `url` is resolved against it, in pushes and on the inbox page.",
			Read: intoGiven(&c.PushBase, parseWebURL), Remedy: "write https://app.example.com/inbox/"},
		{Flag: "push-hosts", Group: Absent, Form: "LIST", Unset: "every globally routable address",
			Help: "Push services that may be called, `host[:port]`, comma-separated: the whole allow-list, internal addresses included.",
			Read: intoGiven(&c.PushHosts, push.ParseHosts), Remedy: "write a list like fcm.googleapis.com,updates.push.services.mozilla.com"},
		{Flag: "webhook-url", Group: Absent, Form: "URL", Unset: "no webhooks",
			Help: "Where to post notifications that are late, with `--webhook-secret-file` and `--webhook-when`.",
			More: "See [push.md](push.md).",
			Read: intoGiven(&c.WebhookURL, parseWebhookURL), Remedy: "write https://app.example.com/hooks/late", Check: c.checkWebhook, Mask: MaskURL},
		{Flag: "webhook-secret-file", Group: Absent, Form: "FILE",
			Help: "File of secrets that sign webhooks, one `whsec_…` a line; all sign.",
			More: "Read again on SIGHUP and within 30 s of a change.",
			Read: c.readWebhookSecrets, Remedy: `write whsec_ and the output of: openssl rand -base64 32`},
		{Flag: "webhook-when", Group: Absent, Form: "LIST",
			Help: "When a notification is late, such as `unacknowledged 10m, unread 1h`.",
			Read: intoGiven(&c.WebhookRules, parseRules), Remedy: `write "unacknowledged 10m, unread 1h"`},

		{Flag: "jwt-secret", Group: KeysGroup, Form: "TEXT",
			Help: "HS256/384/512 secret, at least 32 bytes.",
			More: "It is taken as it is written.",
			Read: c.readSecret, Remedy: secretRemedy, Mask: maskText, Show: c.showSecret},
		{Flag: "jwt-secret-file", Group: KeysGroup, Form: "FILE",
			Help: "File with one secret a line, or one binary secret: the first signs, all verify; `base64:…` and `hex:…` are read. Read again on SIGHUP and within 30 s of a change.",
			More: "See [below](#key-files).",
			Read: c.readSecretFile, Remedy: "write the secret into it, one a line where there are several; " + secretRemedy},
		{Flag: "jwt-public-key-file", Group: KeysGroup, Form: "FILE",
			Help: "PEM public keys for RS/PS/ES/EdDSA. Read again on SIGHUP and within 30 s of a change.",
			More: "Certificates are read, too; RSA keys need 2048 bits. A file may contain several.",
			Read: c.Keys.readPublic, Remedy: "name a PEM file with public keys"},
		{Flag: "jwt-private-key-file", Group: KeysGroup, Form: "FILE",
			Help: "PEM private key, only to sign tokens with on the command line.",
			More: "That is for `token`, `send`, `tail` and `bench`.",
			Read: c.Keys.readPrivate, Remedy: "name a PEM file with the private key"},
		{Flag: "jwt-jwks-url", Group: KeysGroup, Form: "URL",
			Help: "Key set; `https`, or `http` on loopback.",
			More: "Fetched every 5 minutes, on SIGHUP, and early for a `kid` that is not in it, at most every 10 s. Connections whose key left the set end with the next fetch.",
			Read: c.Keys.readJWKS, Remedy: "write https://issuer.example/.well-known/jwks.json", Mask: MaskURL},
		{Flag: "jwt-issuer", Group: KeysGroup, Form: "TEXT",
			Help: "Required value of `iss`.",
			Read: into(&c.Keys.Issuer, text)},
		{Flag: "jwt-audience", Group: KeysGroup, Form: "TEXT", Words: []string{AnyAudience},
			Help: "Required value in `aud`; with `--jwt-jwks-url` it must be given. `any` accepts every one.",
			More: "An issuer signs tokens for all its applications with the same keys, so without an audience those of the others would be accepted. The start warns of `any`, which is never written into a token.",
			Read: c.Keys.readAudience, Check: c.Keys.checkAudience},
		{Flag: "jwt-audience-claim", Group: KeysGroup, Form: "CLAIM", Default: "aud",
			Help: "Claim that counts where a token has no `aud`, e.g. `client_id` for AWS Cognito.",
			More: "A token with another `aud` is refused whatever this claim contains.",
			Read: into(&c.Keys.AudienceClaim, claimOtherThan("aud")), Remedy: claimRemedy, Check: c.Keys.checkAudienceClaim},
		{Flag: "jwt-user-claim", Group: KeysGroup, Form: "CLAIM", Default: "sub",
			Help: "Claim that is the user id.",
			More: "A token without it is refused; `sub` is no fallback.",
			Read: into(&c.Keys.UserClaim, claimOtherThan("sub")), Remedy: claimRemedy},
		{Flag: "jwt-scope-claim", Group: KeysGroup, Form: "CLAIM", Default: "scope",
			Help: "Claim that contains the scopes, e.g. `scp`, `permissions`, `realm_access.roles`.",
			More: "They are a string or an array. The claim `scope` then means nothing.",
			Read: into(&c.Keys.ScopeClaim, claimOtherThan("scope")), Remedy: claimRemedy},
		{Flag: "jwt-scope-map", Group: KeysGroup, Form: "LIST",
			Help: "Scopes of roles, e.g. `editor=notifications:write,boss=admin`.",
			More: "A role may be listed several times. One that is not listed means nothing, unless it is the name of a scope.",
			Read: into(&c.Keys.ScopeMap, parseScopeMap), Remedy: "write it like editor=notifications:write,boss=admin"},
		{Flag: "jwt-admin-when", Group: KeysGroup, Form: "CLAIM=VALUE",
			Help: "Claim and value that mean scope `admin`, e.g. `profile.role_id=1`.",
			Read: into(&c.Keys.AdminWhen, parseAdminWhen), Remedy: "write it like profile.role_id=1"},
		{Flag: "max-token-life", Group: KeysGroup, Form: "TIME", Default: "0",
			Help: "Longest time until `exp`; a token that lives longer is refused. `0` is no limit.",
			More: "30 s are allowed for clocks that differ, and `exp` may not be further from `iat` either. Revocations are forgotten after that time. A stolen token is good until it ends or is revoked.",
			Read: into(&c.Keys.MaxLife, ParseTime), Remedy: "write 1h or 30d, or 0 for no limit"},

		{Flag: "cors-origins", Group: Limits, Form: "LIST", Unset: "the same origin only",
			Help: "Allowed browser origins, comma-separated, for REST and WebSocket, such as `https://app.example`, `https://*.app.example` or `capacitor://localhost`.",
			More: "Any scheme may be used. International names and default ports may be written. `https://*.app.example` allows every subdomain, `*` every origin.",
			Read: into(&c.Origins, parseOrigins), Remedy: "or write * for every origin"},
		{Flag: "topic-prefix", Group: Limits, Form: "TEXT",
			Help: "Put before every topic, e.g. `staging/`.",
			Read: into(&c.Topics.Prefix, parsePrefix), Remedy: "write something like staging/"},
		{Flag: "max-connections", Group: Limits, Form: "N", Default: "100000",
			Help: "Devices connected to this node at once.",
			More: "Past it: CONNACK 0x89.",
			Read: into(&c.MaxConnections, parseCount), Remedy: "write a number like 100000"},
		{Flag: "max-connections-per-user", Group: Limits, Form: "N", Default: "16",
			Help: "Devices of one user, connected to this node at once.",
			More: "On three nodes up to 48. Past it: CONNACK 0x97.",
			Read: into(&c.MaxConnectionsPerUser, parseCount), Remedy: "write a number like 16"},
		{Flag: "max-connections-per-ip", Group: Limits, Form: "N", Default: Off,
			Help: "Devices connected from one address (of IPv6: one /64); `off` lifts the limit.",
			More: "Past it: CONNACK 0x97. Offices and mobile carriers put thousands behind one.",
			Read: into(&c.MaxConnectionsPerIP, countOrOff), Remedy: "write a number like 1000, or off"},
		{Flag: "connect-rate-per-ip", Group: Limits, Form: "RATE", Default: "50/s",
			Help: "MQTT logins from one address (of IPv6: one /64); `off` lifts the limit.",
			More: "Past it: CONNACK 0x9F.",
			Read: into(&c.ConnectRatePerIP, parseRate), Remedy: rateRemedy},
		{Flag: "connect-rate-per-user", Group: Limits, Form: "RATE", Unset: "that of `--connect-rate-per-ip`",
			Help: "MQTT logins of one user; `off` lifts the limit.",
			More: "Only valid tokens count. Past it: CONNACK 0x9F.",
			Read: func(t string) error {
				c.ConnectRatePerUser = c.ConnectRatePerIP
				return intoGiven(&c.ConnectRatePerUser, parseRate)(t)
			}, Remedy: rateRemedy, Show: c.showRate("connect-rate-per-user", &c.ConnectRatePerUser)},
		{Flag: "packet-rate", Group: Limits, Form: "RATE", Default: "100/s",
			Help: "MQTT packets of one connection, averaged over 10 s; `off` lifts the limit.",
			More: "WebSocket pings, pongs and empty frames count as packets; acknowledgements of what it was sent are free. Past it: DISCONNECT 0x96.",
			Read: into(&c.PacketRate, parseRate), Remedy: rateRemedy},
		{Flag: "request-rate-per-user", Group: Limits, Form: "RATE", Default: "50/s",
			Help: "REST calls of one user without scope `notifications:write`; `off` lifts the limit.",
			More: "Past it: 429 with `Retry-After`.",
			Read: into(&c.RequestRatePerUser, parseRate), Remedy: rateRemedy},
		{Flag: "request-rate-per-ip", Group: Limits, Form: "RATE", Unset: "40 times `--request-rate-per-user`",
			Help: "The same from one address; `off` lifts the limit.",
			More: "Refused tokens, pages and documents count, too; as much again for `/healthz` and `/readyz`, so that a flood does not make a node look dead.",
			Read: func(t string) error {
				c.RequestRatePerIP = requestsPerIP * c.RequestRatePerUser
				return intoGiven(&c.RequestRatePerIP, parseRate)(t)
			}, Remedy: rateRemedy, Show: c.showRate("request-rate-per-ip", &c.RequestRatePerIP)},

		{Flag: "session-ttl", Group: Times, Form: "TIME", Default: "168h",
			Help: "How long the session of an absent persistent device is kept, at most.",
			Read: into(&c.SessionTTL, parseLife), Remedy: timeRemedy},
		{Flag: "retention", Group: Times, Form: "TIME", Default: "0",
			Help: "Age after which notifications are deleted, e.g. `90d`; `0` keeps them.",
			Read: into(&c.Retention, ParseTime), Remedy: timeRemedy},
		{Flag: "audit-retention", Group: Times, Form: "TIME", Default: "8760h",
			Help: "Age after which entries of the audit log are deleted; `0` keeps them.",
			More: "What stands in it: [operations.md](operations.md#who-did-what).",
			Read: into(&c.AuditRetention, ParseTime), Remedy: timeRemedy},
		{Flag: "start-timeout", Group: Times, Form: "TIME", Default: "30s",
			Help: "How long to wait for the database at the start.",
			Read: into(&c.StartTimeout, ParseTime), Remedy: timeRemedy},
		{Flag: "drain-delay", Group: Times, Form: "TIME", Default: "0s",
			Help: "At the end: from *not ready* to the end of listening, for load balancers.",
			Read: into(&c.DrainDelay, ParseTime), Remedy: timeRemedy},
		{Flag: "drain-time", Group: Times, Form: "TIME", Default: "10s",
			Help: "At the end, and after a restore: the longest over which devices are disconnected; at the end also the wait for requests in flight.",
			More: "Devices are disconnected 20 ms apart or closer. The exit comes at most `--drain-delay` + `--drain-time` + 5 s after the signal.",
			Read: into(&c.DrainTime, ParseTime), Remedy: timeRemedy},
		{Flag: "report-replaces", Group: Times, Default: "true", Toggle: true,
			Help: "A report's status notification replaces the report's earlier ones, so that a user sees the latest only.",
			More: "Its `replaces` is `report-<id>`. With `=false` they stay side by side.",
			Read: into(&c.ReportReplaces, parseToggle), Remedy: "write true or false"},
		{Flag: "locale", Group: Times, Form: "CODE", Default: string(bridge.Spanish), Words: locales("", ""),
			Help: "Language of built-in texts: " + strings.Join(locales("`", "`"), ", ") + ".",
			More: "What notifications say is in it; responses, errors included, are in the language that a request's `Accept-Language` asks for, otherwise in it.",
			Read: into(&c.Locale, parseLocale), Remedy: "write " + strings.Join(locales("", ""), " or ")},
		{Flag: "otel-endpoint", Env: []string{"FALCON_OTEL_ENDPOINT", tracesEndpoint, "OTEL_EXPORTER_OTLP_ENDPOINT"}, Group: Times, Form: "URL", Default: Off,
			Help: "Where to send traces, OTLP over HTTP, such as `http://collector:4318`.",
			More: "The path `/v1/traces` is added to it, but not to `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`. The standard `OTEL_*` variables set the rest: see [operations.md](operations.md#traces).",
			Read: c.readOTel, Remedy: "write http://collector:4318 or https://…, or off; credentials go into OTEL_EXPORTER_OTLP_HEADERS", Mask: MaskURL},
		{Flag: "log-level", Group: Times, Form: "LEVEL", Default: "info", Words: []string{"debug", "info", "warn", "error"},
			Help: "`debug`, `info`, `warn`, `error`.",
			Read: into(&c.LogLevel, parseLevel), Remedy: "write debug, info, warn or error"},
		{Flag: "log-format", Group: Times, Form: "FORMAT", Default: "text", Words: []string{"text", "json"},
			Help: "`text`, or `json` for machines.",
			Read: into(&c.LogJSON, parseLogFormat), Remedy: "write text or json"},
	}
}

// requestsPerIP is how many users' worth of requests one address may make unless
// set otherwise: a household, an office, a carrier's gateway.
const requestsPerIP = 40

// into makes a Read that parses a value into dst.
func into[T any](dst *T, parse func(string) (T, error)) func(string) error {
	return func(text string) (err error) {
		*dst, err = parse(text)
		return err
	}
}

// intoGiven is into for a value that may be unset, which leaves dst as it is.
func intoGiven[T any](dst *T, parse func(string) (T, error)) func(string) error {
	return func(text string) error {
		if text == "" {
			return nil
		}
		return into(dst, parse)(text)
	}
}
