package config

import (
	"slices"
	"strconv"
	"strings"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/push"
)

// Setting is one row of the table.
type Setting struct {
	Flag    string   // the flag, without dashes
	Env     []string // environment variables, of which the first that is set counts; nil means FALCON_<FLAG>
	Group   Group    // the heading in the help and in the documentation
	Form    string   // the placeholder for a value in the help, such as ADDR
	Default string   // "" means unset
	Unset   string   // how the documentation describes an unset value; "" means none
	Key     bool     // the value verifies tokens; the server is in development mode if no such setting is given
	InFile  bool     // the value is a secret, which may be in a file named by --<flag>-file
	FileOf  string   // the flag whose secret is in this file; such rows are made from rows with InFile
	Toggle  bool     // the flag may be given without a value, which means true
	Words   []string // values for shell completion

	Help string // one or two sentences for --help, in Markdown
	More string // what the documentation adds, in Markdown

	Read   func(text string) error  // parses the value; its error must not contain the value
	Remedy string                   // what to do about an error of Read or Check that is not a Fault
	Check  func() error             // checks the value against others, after all are parsed; may be nil
	Mask   func(text string) string // hides the secret in a value; nil: there is none
	Show   func() string            // the effective value for `config`; nil: the value as given
}

// In reports whether the setting belongs to a scope. The file of a secret belongs to the same
// scopes as the secret.
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
	Times     Group = "Times, language and logs"
)

// Groups are all groups in order.
var Groups = []Group{Listeners, Storage, KeysGroup, Limits, Absent, Times}

// fileSuffix is the end of the flag for the file of a secret.
const fileSuffix = "-file"

// Settings returns the table.
func Settings() []Setting { return new(Config).table() }

// All returns the scope of the server, which is every setting.
func All() (scope []string) {
	for _, s := range Settings() {
		scope = append(scope, s.Flag)
	}
	return scope
}

// The scopes of commands: the flags of the settings that a command uses. They may be joined.
var (
	LogScope      = []string{"log-level", "log-format"}
	SQLiteScope   = slices.Concat([]string{"data-dir", "database-url"}, LogScope) // of commands that open the SQLite file
	DatabaseScope = slices.Concat([]string{"db-max-connections", "start-timeout"}, SQLiteScope)
	// SigningScope is what a token that the command line signs depends on.
	SigningScope = []string{"data-dir", "jwt-secret", "jwt-secret-file", "jwt-public-key-file", "jwt-private-key-file", "jwt-jwks-url",
		"jwt-issuer", "jwt-audience", "jwt-user-claim", "jwt-scope-claim", "max-token-life", "topic-prefix"}
	// LocalHTTPScope and LocalMQTTScope are where the server on this machine listens, for clients.
	LocalHTTPScope = []string{"http-addr", "tls-cert", "tls-key"}
	LocalMQTTScope = slices.Concat(LocalHTTPScope, []string{"mqtt-addr", "mqtts-addr"})
)

// table returns all settings, whose values are stored in c. It adds a row for the file of each
// secret.
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

// rows is the table. To add a setting, add a field to Config, a row that stores the value in it,
// and code that uses the field; then run go test ./internal/config -update, which writes
// docs/configuration.md. CONTRIBUTING.md has the steps.
func (c *Config) rows() []Setting {
	return []Setting{
		{Flag: "http-addr", Group: Listeners, Form: "ADDR", Default: ":8080",
			Help: "Address of REST, the web pages and MQTT over WebSocket (`/mqtt`), on one port.",
			Read: into(&c.HTTP, parseAddr), Remedy: addrRemedy, Check: c.checkHTTP, Show: shown(&c.HTTP)},
		{Flag: "mqtt-addr", Group: Listeners, Form: "ADDR", Default: ":1883",
			Help: "Address of MQTT over TCP; `off` disables it.",
			More: "MQTT over WebSocket stays available.",
			Read: into(&c.MQTT, parseAddr), Remedy: addrRemedy, Check: c.checkMQTT, Show: shown(&c.MQTT)},
		{Flag: "mqtts-addr", Group: Listeners, Form: "ADDR", Default: Off,
			Help: "Address of MQTT over TLS; requires `--tls-cert`.",
			More: "If all devices use TLS, set `--mqtt-addr off`; otherwise the program warns about the plaintext listener.",
			Read: into(&c.MQTTS, parseAddr), Remedy: addrRemedy, Check: c.checkMQTTS, Show: shown(&c.MQTTS)},
		{Flag: "admin-addr", Group: Listeners, Form: "ADDR", Default: "127.0.0.1:9091",
			Help: "Address of `/metrics`, `/debug/pprof/`, `/healthz` and `/readyz`; `off` disables it.",
			More: "Metrics and profiles are not served on any other address. On loopback, requests must name an IP address or `localhost` as the host.",
			Read: into(&c.Admin, parseAddr), Remedy: addrRemedy, Check: c.checkAdmin, Show: shown(&c.Admin)},
		{Flag: "tls-cert", Group: Listeners, Form: "FILE",
			Help: "PEM certificate chain; `--http-addr` then serves HTTPS. A changed file is used within 30 s.",
			More: "HTTPS responses carry HSTS: browsers use only HTTPS on this host for a year.",
			Read: into(&c.TLSCert, text), Check: c.checkCertificate},
		{Flag: "tls-key", Group: Listeners, Form: "FILE",
			Help: "PEM private key of `--tls-cert`.",
			Read: into(&c.TLSKey, text), Check: c.checkCertificateKey},
		{Flag: "tls-client-ca", Group: Listeners, Form: "FILE",
			Help: "PEM certificates of authorities; `--mqtts-addr` then accepts only devices with a certificate signed by one of them.",
			More: "A device without one is refused before it sends its token. A changed file is used within 30 s. HTTPS, and therefore MQTT over WebSocket, does not ask for a certificate, because browsers have none; neither does `--mqtt-addr`. " +
				"To require one from every device, set `--mqtt-addr off` and block `/mqtt` at the load balancer.",
			Read: into(&c.TLSClientCA, text), Remedy: "name a PEM file with the certificates that sign the devices'", Check: c.checkClientCA},
		{Flag: "trusted-proxies", Group: Listeners, Form: "LIST",
			Help: "Comma-separated addresses and prefixes of proxies whose PROXY protocol header (MQTT) and X-Forwarded-For (HTTP) are trusted.",
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
			Help: "Postgres connections of this process, all pools together; calls wait for a free one within their deadline.",
			More: "At least 4. If calls wait long, a line is logged, at most every 10 s. A lower limit of the role, the database or the server takes precedence.",
			Read: into(&c.DBMaxConnections, parsePool), Remedy: "write a number, 4 or more"},
		{Flag: "auto-migrate", Group: Storage, Default: "true", Toggle: true,
			Help: "Apply pending schema migrations at startup; with `=false` the server refuses to start while any are pending.",
			More: "`falconbridge migrate up` applies them.",
			Read: into(&c.AutoMigrate, parseToggle), Remedy: "write true or false"},
		{Flag: "bus", Group: Storage, Form: "URL", Default: BusAuto, InFile: true, Words: []string{BusAuto, "redis://"},
			Help: "How nodes wake each other: `auto`, or `redis(s)://…`.",
			More: "`auto` uses LISTEN/NOTIFY on Postgres; SQLite has a single node and needs no bus. For Redis write `redis://:password@host:6379/0`, or `rediss://` for TLS. Several nodes require Postgres.",
			Read: into(&c.Bus, parseBus), Remedy: "write auto, or redis://:password@host:6379/0 (rediss:// for TLS)", Check: c.checkBus, Mask: MaskURL},
		{Flag: "relay-url", Group: Storage, Form: "URL", InFile: true,
			Help: "MQTT 5 broker to which every notification is also published, `mqtt(s)://user:pass@host:port`.",
			More: "See [relay.md](relay.md).",
			Read: into(&c.RelayURL, parseRelay), Remedy: "write mqtt://user:pass@host:1883 or mqtts://…, with special characters percent-encoded", Mask: MaskURL},

		{Flag: "vapid-key-file", Group: Absent, Form: "FILE", Unset: "no Web Push",
			Help: "PEM file with a P-256 private key, the same on all nodes; enables Web Push, together with `--vapid-contact`.",
			More: "See [push.md](push.md). The file is read only at startup. After a change of key every browser has to subscribe again.",
			Read: c.readVapid, Remedy: "make one with: openssl ecparam -genkey -name prime256v1 -noout", Check: c.checkVapid},
		{Flag: "vapid-contact", Group: Absent, Form: "URL",
			Help: "`mailto:` or `https:` URL at which push services can reach the operator.",
			Read: intoGiven(&c.VapidContact, parseContact), Remedy: "write mailto:ops@example.com", Check: c.checkVapidContact},
		{Flag: "push-after", Group: Absent, Form: "TIME", Default: "15s",
			Help: "Time after the commit at which a registered device that has not acknowledged the notification gets a push.",
			Read: into(&c.PushAfter, parsePushAfter), Remedy: "write 15s, from 1s to 24h"},
		{Flag: "push-base-url", Group: Absent, Form: "URL", Unset: "relative to the page",
			Help: "URL of the inbox, which a click on a push opens. A notification's `url` is resolved against it, in pushes and on the inbox page.",
			Read: intoGiven(&c.PushBase, parseWebURL), Remedy: "write https://app.example.com/inbox/"},
		{Flag: "push-hosts", Group: Absent, Form: "LIST", Unset: "every globally routable address",
			Help: "Comma-separated list of the only push services that may be called, `host[:port]`; they may be internal.",
			Read: intoGiven(&c.PushHosts, push.ParseHosts), Remedy: "write a list like fcm.googleapis.com,updates.push.services.mozilla.com"},
		{Flag: "webhook-url", Group: Absent, Form: "URL", Unset: "no webhooks",
			Help: "URL to which late notifications are posted; requires `--webhook-secret-file` and `--webhook-when`.",
			More: "See [push.md](push.md).",
			Read: intoGiven(&c.WebhookURL, parseWebhookURL), Remedy: "write https://app.example.com/hooks/late", Check: c.checkWebhook, Mask: MaskURL},
		{Flag: "webhook-secret-file", Group: Absent, Form: "FILE",
			Help: "File with the secrets that sign webhooks, one `whsec_…` per line; each webhook is signed with all of them.",
			More: "The file is read again on SIGHUP and within 30 s of a change.",
			Read: c.readWebhookSecrets, Remedy: `write whsec_ and the output of: openssl rand -base64 32`},
		{Flag: "webhook-when", Group: Absent, Form: "LIST",
			Help: "When a notification counts as late, e.g. `unacknowledged 10m, unread 1h`.",
			Read: intoGiven(&c.WebhookRules, parseRules), Remedy: `write "unacknowledged 10m, unread 1h"`},

		{Flag: "jwt-secret", Group: KeysGroup, Key: true, Form: "TEXT",
			Help: "HS256/384/512 secret, at least 32 bytes.",
			More: "It is used as it is written, without decoding.",
			Read: c.readSecret, Remedy: secretRemedy, Mask: maskText, Show: c.showSecret},
		{Flag: "jwt-secret-file", Group: KeysGroup, Key: true, Form: "FILE",
			Help: "File with one secret per line, or a single binary secret. The first signs, all verify; `base64:…` and `hex:…` are decoded. Read again on SIGHUP and within 30 s of a change.",
			More: "See [below](#key-files).",
			Read: c.readSecretFile, Remedy: "write the secret into it, or several, one per line; " + secretRemedy},
		{Flag: "jwt-public-key-file", Group: KeysGroup, Key: true, Form: "FILE",
			Help: "PEM public keys for RS/PS/ES/EdDSA. Read again on SIGHUP and within 30 s of a change.",
			More: "A file may contain several keys, and certificates. RSA keys need at least 2048 bits.",
			Read: c.Keys.readPublic, Remedy: "name a PEM file with public keys"},
		{Flag: "jwt-private-key-file", Group: KeysGroup, Form: "FILE",
			Help: "PEM private key, used only to sign tokens on the command line.",
			More: "The commands are `token`, `send`, `tail` and `bench`.",
			Read: c.Keys.readPrivate, Remedy: "name a PEM file with the private key"},
		{Flag: "jwt-jwks-url", Group: KeysGroup, Key: true, Form: "URL",
			Help: "URL of the key set; `https`, or `http` on loopback.",
			More: "It is fetched every 5 minutes, on SIGHUP, and when a token has an unknown `kid`, but then at most every 10 s. If a key is removed from the set, its connections end with the next fetch.",
			Read: c.Keys.readJWKS, Remedy: "write https://issuer.example/.well-known/jwks.json", Mask: MaskURL},
		{Flag: "jwt-issuer", Group: KeysGroup, Form: "TEXT",
			Help: "Required value of `iss`.",
			Read: into(&c.Keys.Issuer, text)},
		{Flag: "jwt-audience", Group: KeysGroup, Form: "TEXT", Words: []string{AnyAudience},
			Help: "Required value in `aud`; mandatory with `--jwt-jwks-url`. `any` accepts every audience.",
			More: "An issuer signs tokens for all its applications with the same keys, so that without an audience the tokens of other applications would be accepted. The server warns about `any` at startup, and never writes it into a token.",
			Read: c.Keys.readAudience, Check: c.Keys.checkAudience},
		{Flag: "jwt-audience-claim", Group: KeysGroup, Form: "CLAIM", Default: "aud",
			Help: "Claim that is checked instead if a token has no `aud`, e.g. `client_id` for AWS Cognito.",
			More: "A token with a different `aud` is refused whatever this claim contains.",
			Read: into(&c.Keys.AudienceClaim, claimOtherThan("aud")), Remedy: claimRemedy, Check: c.Keys.checkAudienceClaim},
		{Flag: "jwt-user-claim", Group: KeysGroup, Form: "CLAIM", Default: "sub",
			Help: "Claim that contains the user id.",
			More: "A token without it is refused; there is no fallback to `sub`.",
			Read: into(&c.Keys.UserClaim, claimOtherThan("sub")), Remedy: claimRemedy},
		{Flag: "jwt-scope-claim", Group: KeysGroup, Form: "CLAIM", Default: "scope",
			Help: "Claim that contains the scopes, e.g. `scp`, `permissions`, `realm_access.roles`.",
			More: "The value is a string or an array. The claim `scope` is then ignored.",
			Read: into(&c.Keys.ScopeClaim, claimOtherThan("scope")), Remedy: claimRemedy},
		{Flag: "jwt-scope-map", Group: KeysGroup, Form: "LIST",
			Help: "Maps roles to scopes, e.g. `editor=notifications:write,boss=admin`.",
			More: "A role may be listed several times. A role that is not listed is ignored, unless it is the name of a scope.",
			Read: into(&c.Keys.ScopeMap, parseScopeMap), Remedy: "write it like editor=notifications:write,boss=admin"},
		{Flag: "jwt-admin-when", Group: KeysGroup, Form: "CLAIM=VALUE",
			Help: "Claim and value that grant scope `admin`, e.g. `profile.role_id=1`.",
			Read: into(&c.Keys.AdminWhen, parseAdminWhen), Remedy: "write it like profile.role_id=1"},
		{Flag: "max-token-life", Group: KeysGroup, Form: "TIME", Default: "0",
			Help: "Longest time until `exp`; a token that is valid for longer is refused. `0` means no limit.",
			More: "30 s are added for clocks that differ. The same limit applies from `iat` to `exp`. Revocations are deleted after that time. A stolen token works until it expires or is revoked.",
			Read: into(&c.Keys.MaxLife, ParseTime), Remedy: "write 1h or 30d, or 0 for no limit"},

		{Flag: "cors-origins", Group: Limits, Form: "LIST", Unset: "the same origin only",
			Help: "Comma-separated browser origins that may use REST and WebSocket, such as `https://app.example`, `https://*.app.example` or `capacitor://localhost`.",
			More: "Any scheme is allowed, and so are international names and default ports. `https://*.app.example` allows every subdomain, `*` every origin.",
			Read: into(&c.Origins, parseOrigins), Remedy: "or write * for every origin"},
		{Flag: "topic-prefix", Group: Limits, Form: "TEXT",
			Help: "Prefix of every topic, e.g. `staging/`.",
			Read: into(&c.Topics.Prefix, parsePrefix), Remedy: "write something like staging/"},
		{Flag: "max-connections", Group: Limits, Form: "N", Default: "100000",
			Help: "Devices that may be connected to this node at the same time.",
			More: "Beyond it: CONNACK 0x89.",
			Read: into(&c.MaxConnections, parseCount), Remedy: "write a number like 100000"},
		{Flag: "max-connections-per-user", Group: Limits, Form: "N", Default: strconv.Itoa(bridge.DefaultConnectionsPerUser),
			Help: "Devices of one user that may be connected to this node at the same time.",
			More: "Each node counts alone, so three nodes allow " + strconv.Itoa(3*bridge.DefaultConnectionsPerUser) + ". Beyond it: CONNACK 0x97. " +
				"A device that reconnects is not counted twice while its earlier connection ends. Past four times as many connections, those included, " +
				"logins are refused with the same code, so that clients that reconnect in a loop cannot pile up.",
			Read: into(&c.MaxConnectionsPerUser, parseCount), Remedy: "write a number like " + strconv.Itoa(bridge.DefaultConnectionsPerUser)},
		{Flag: "max-connections-per-ip", Group: Limits, Form: "N", Default: Off,
			Help: "Devices that may be connected from one address (IPv6: one /64); `off` removes the limit.",
			More: "Beyond it: CONNACK 0x97. An office or mobile carrier may have thousands of devices behind one address.",
			Read: into(&c.MaxConnectionsPerIP, countOrOff), Remedy: "write a number like 1000, or off"},
		{Flag: "connect-rate-per-ip", Group: Limits, Form: "RATE", Default: "50/s",
			Help: "MQTT logins from one address (IPv6: one /64); `off` removes the limit.",
			More: "Beyond it: CONNACK 0x9F.",
			Read: into(&c.ConnectRatePerIP, parseRate), Remedy: rateRemedy},
		{Flag: "connect-rate-per-user", Group: Limits, Form: "RATE", Unset: "value of `--connect-rate-per-ip`",
			Help: "MQTT logins of one user; `off` removes the limit.",
			More: "Only valid tokens count. Beyond it: CONNACK 0x9F.",
			Read: func(t string) error {
				c.ConnectRatePerUser = c.ConnectRatePerIP
				return intoGiven(&c.ConnectRatePerUser, parseRate)(t)
			}, Remedy: rateRemedy, Show: c.showRate("connect-rate-per-user", &c.ConnectRatePerUser)},
		{Flag: "packet-rate", Group: Limits, Form: "RATE", Default: "100/s",
			Help: "MQTT packets from one connection, averaged over 10 s; `off` removes the limit.",
			More: "WebSocket pings, pongs and empty frames count as packets; acknowledgements of messages it was sent do not. Beyond it: DISCONNECT 0x96.",
			Read: into(&c.PacketRate, parseRate), Remedy: rateRemedy},
		{Flag: "request-rate-per-user", Group: Limits, Form: "RATE", Default: "50/s",
			Help: "REST calls of one user without scope `notifications:write`; `off` removes the limit.",
			More: "Beyond it: 429 with `Retry-After`.",
			Read: into(&c.RequestRatePerUser, parseRate), Remedy: rateRemedy},
		{Flag: "request-rate-per-ip", Group: Limits, Form: "RATE", Unset: "40 times `--request-rate-per-user`",
			Help: "REST calls from one address; `off` removes the limit.",
			More: "Requests with refused tokens, pages and documents count too. `/healthz` and `/readyz` have a separate limit of the same size, so that a flood does not make a node look dead.",
			Read: func(t string) error {
				c.RequestRatePerIP = requestsPerIP * c.RequestRatePerUser
				return intoGiven(&c.RequestRatePerIP, parseRate)(t)
			}, Remedy: rateRemedy, Show: c.showRate("request-rate-per-ip", &c.RequestRatePerIP)},

		{Flag: "session-ttl", Group: Times, Form: "TIME", Default: "168h",
			Help: "Longest time for which the session of a disconnected device is kept.",
			Read: into(&c.SessionTTL, parseLife), Remedy: timeRemedy},
		{Flag: "retention", Group: Times, Form: "TIME", Default: "0",
			Help: "Age after which notifications are deleted, e.g. `90d`; `0` keeps them.",
			Read: into(&c.Retention, ParseTime), Remedy: timeRemedy},
		{Flag: "audit-retention", Group: Times, Form: "TIME", Default: "8760h",
			Help: "Age after which entries of the audit log are deleted; `0` keeps them.",
			More: "What it contains: [operations.md](operations.md#who-did-what).",
			Read: into(&c.AuditRetention, ParseTime), Remedy: timeRemedy},
		{Flag: "start-timeout", Group: Times, Form: "TIME", Default: "30s",
			Help: "How long to wait for the database at startup.",
			Read: into(&c.StartTimeout, ParseTime), Remedy: timeRemedy},
		{Flag: "drain-delay", Group: Times, Form: "TIME", Default: "0s",
			Help: "At shutdown, time from *not ready* until the listeners close, so that load balancers notice.",
			Read: into(&c.DrainDelay, ParseTime), Remedy: timeRemedy},
		{Flag: "drain-time", Group: Times, Form: "TIME", Default: "10s",
			Help: "At shutdown and after a restore, longest time over which devices are disconnected. At shutdown, requests in flight also have this long to finish.",
			More: "Devices are disconnected at most 20 ms apart. The process exits at most `--drain-delay` + `--drain-time` + 5 s after the signal.",
			Read: into(&c.DrainTime, ParseTime), Remedy: timeRemedy},
		{Flag: "report-replaces", Group: Times, Default: "true", Toggle: true,
			Help: "A report's status notification replaces the report's earlier ones, so that the user sees only the latest.",
			More: "Its `replaces` is `report-<id>`. With `=false` all of them are kept.",
			Read: into(&c.ReportReplaces, parseToggle), Remedy: "write true or false"},
		{Flag: "locale", Group: Times, Form: "CODE", Default: string(bridge.Spanish), Words: locales("", ""),
			Help: "Language of built-in texts: " + strings.Join(locales("`", "`"), ", ") + ".",
			More: "It applies to the texts of notifications. Responses, including errors, use the language of the request's `Accept-Language`, and this one by default.",
			Read: into(&c.Locale, parseLocale), Remedy: "write " + strings.Join(locales("", ""), " or ")},
		{Flag: "otel-endpoint", Env: []string{"FALCON_OTEL_ENDPOINT", tracesEndpoint, "OTEL_EXPORTER_OTLP_ENDPOINT"}, Group: Times, Form: "URL", Default: Off,
			Help: "Collector to which traces are sent, OTLP over HTTP, such as `http://collector:4318`.",
			More: "The path `/v1/traces` is appended, except to `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`. The standard `OTEL_*` variables control the rest: see [operations.md](operations.md#traces).",
			Read: c.readOTel, Remedy: "write http://collector:4318 or https://…, or off; credentials go into OTEL_EXPORTER_OTLP_HEADERS", Mask: MaskURL},
		{Flag: "log-level", Group: Times, Form: "LEVEL", Default: "info", Words: []string{"debug", "info", "warn", "error"},
			Help: "Lowest level that is logged: `debug`, `info`, `warn`, `error`.",
			Read: into(&c.LogLevel, parseLevel), Remedy: "write debug, info, warn or error"},
		{Flag: "log-format", Group: Times, Form: "FORMAT", Default: "text", Words: []string{"text", "json"},
			Help: "Format of the log: `text`, or `json` for machines.",
			Read: into(&c.LogJSON, parseLogFormat), Remedy: "write text or json"},
	}
}

// requestsPerIP is how many times the rate of one user an address may use by default. A
// household, an office or a carrier's gateway has several users behind one address.
const requestsPerIP = 40

// into returns a Read that parses the value and stores it in dst.
func into[T any](dst *T, parse func(string) (T, error)) func(string) error {
	return func(text string) (err error) {
		*dst, err = parse(text)
		return err
	}
}

// intoGiven is like into, but leaves dst as it is if the value is unset.
func intoGiven[T any](dst *T, parse func(string) (T, error)) func(string) error {
	return func(text string) error {
		if text == "" {
			return nil
		}
		return into(dst, parse)(text)
	}
}
