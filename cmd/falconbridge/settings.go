package main

// settings are the flags of the server as given: text, not yet checked, so that
// every bad one can be named at once. Each is read from FALCON_<FLAG>, too; a
// flag beats the environment. A secret may stand in a file instead.
type settings struct {
	HTTPAddr  string `name:"http-addr" group:"listen" default:":8080" placeholder:"ADDR" help:"REST, pages and MQTT over WebSocket (GET /mqtt). Default ${default}."`
	MQTTAddr  string `name:"mqtt-addr" group:"listen" default:":1883" placeholder:"ADDR" help:"MQTT over TCP; off closes it. Default ${default}."`
	MQTTSAddr string `name:"mqtts-addr" group:"listen" default:"off" placeholder:"ADDR" help:"MQTT over TLS. Default ${default}."`
	AdminAddr string `name:"admin-addr" group:"listen" default:"127.0.0.1:9091" placeholder:"ADDR" help:"/metrics, /debug/pprof/, /healthz, /readyz; off closes it. Default ${default}."`
	TLSCert   string `name:"tls-cert" group:"listen" placeholder:"FILE" help:"PEM certificate chain; turns HTTP into HTTPS. A changed file is served within 30 s."`
	TLSKey    string `name:"tls-key" group:"listen" placeholder:"FILE" help:"PEM private key of --tls-cert."`

	TLSClientCA    string `name:"tls-client-ca" group:"listen" placeholder:"FILE" help:"PEM certificates; --mqtts-addr then takes only devices with a certificate of theirs."`
	TrustedProxies string `name:"trusted-proxies" group:"listen" placeholder:"LIST" help:"Addresses and prefixes, comma-separated, whose PROXY protocol header (MQTT) and X-Forwarded-For (HTTP) are believed."`

	DataDir         string `name:"data-dir" group:"store" default:"./data" placeholder:"DIR" help:"SQLite file and development key. Default ${default}."`
	DatabaseURL     string `name:"database-url" group:"store" env:"FALCON_DATABASE_URL,DATABASE_URL" placeholder:"URL" help:"postgres://… for production. Default: SQLite in the data dir."`
	DatabaseURLFile string `name:"database-url-file" group:"store" env:"FALCON_DATABASE_URL_FILE,DATABASE_URL_FILE" placeholder:"FILE" help:"File that holds --database-url."`
	AutoMigrate     toggle `name:"auto-migrate" group:"store" default:"true" help:"Apply pending schema migrations at start; with =false pending ones stop the start."`
	Bus             string `name:"bus" group:"store" default:"auto" placeholder:"URL" help:"How nodes wake each other: auto, or redis(s)://…. Default ${default}."`
	BusFile         string `name:"bus-file" group:"store" placeholder:"FILE" help:"File that holds --bus."`
	RelayURL        string `name:"relay-url" group:"store" placeholder:"URL" help:"mqtt(s)://user:pass@host:port of an MQTT 5 broker to publish to as well."`
	RelayURLFile    string `name:"relay-url-file" group:"store" placeholder:"FILE" help:"File that holds --relay-url."`

	DBMaxConnections string `name:"db-max-connections" group:"store" default:"20" placeholder:"N" help:"Postgres connections of this process, all pools together; calls wait for one within their deadline. Default ${default}."`

	JWTSecret         string `name:"jwt-secret" group:"keys" placeholder:"TEXT" help:"HS256/384/512 secret, at least 32 bytes."`
	JWTSecretFile     string `name:"jwt-secret-file" group:"keys" placeholder:"FILE" help:"File with one secret a line, or one binary secret: the first signs, all verify; base64:… and hex:… are read. Read again on SIGHUP and within 30 s of a change."`
	JWTPublicKeyFile  string `name:"jwt-public-key-file" group:"keys" placeholder:"FILE" help:"PEM public keys for RS/PS/ES/EdDSA. Read again on SIGHUP and within 30 s of a change."`
	JWTPrivateKeyFile string `name:"jwt-private-key-file" group:"keys" placeholder:"FILE" help:"PEM private key, only to sign tokens with on the command line."`
	JWTJWKSURL        string `name:"jwt-jwks-url" group:"keys" placeholder:"URL" help:"Key set; https, or http on loopback."`
	JWTIssuer         string `name:"jwt-issuer" group:"keys" placeholder:"TEXT" help:"Required value of iss."`
	JWTAudience       string `name:"jwt-audience" group:"keys" placeholder:"TEXT" help:"Required value in aud; with --jwt-jwks-url it must be given. any accepts every one."`
	JWTAudienceClaim  string `name:"jwt-audience-claim" group:"keys" default:"aud" placeholder:"CLAIM" help:"Claim that counts where a token has no aud, e.g. client_id for AWS Cognito. Default ${default}."`
	JWTUserClaim      string `name:"jwt-user-claim" group:"keys" default:"sub" placeholder:"CLAIM" help:"Claim that is the user id. Default ${default}."`
	JWTScopeClaim     string `name:"jwt-scope-claim" group:"keys" default:"scope" placeholder:"CLAIM" help:"Claim that holds the scopes, e.g. scp, permissions, realm_access.roles. Default ${default}."`
	JWTScopeMap       string `name:"jwt-scope-map" group:"keys" placeholder:"LIST" help:"Scopes of roles, e.g. editor=notifications:write,boss=admin."`
	JWTAdminWhen      string `name:"jwt-admin-when" group:"keys" placeholder:"CLAIM=VALUE" help:"Claim that means scope admin, e.g. profile.role_id=1."`
	MaxTokenLife      string `name:"max-token-life" group:"keys" default:"0" placeholder:"TIME" help:"Longest time until exp; a token that lives longer is refused. 0 is no limit. Default ${default}."`

	CORSOrigins string `name:"cors-origins" group:"limits" placeholder:"LIST" help:"Allowed browser origins, comma-separated, for REST and WebSocket, such as https://app.example, https://*.app.example or capacitor://localhost. Default: the same origin only."`
	TopicPrefix string `name:"topic-prefix" group:"limits" placeholder:"TEXT" help:"Put before every topic, e.g. staging/."`

	MaxConnections        string `name:"max-connections" group:"limits" default:"100000" placeholder:"N" help:"Devices connected at once. Default ${default}."`
	MaxConnectionsPerUser string `name:"max-connections-per-user" group:"limits" default:"16" placeholder:"N" help:"Of one user. Default ${default}."`
	MaxConnectionsPerIP   string `name:"max-connections-per-ip" group:"limits" default:"off" placeholder:"N" help:"From one address; off lifts the limit. Default ${default}."`
	ConnectRatePerIP      string `name:"connect-rate-per-ip" group:"limits" default:"50/s" placeholder:"RATE" help:"MQTT logins from one address; off lifts the limit. Default ${default}."`
	ConnectRatePerUser    string `name:"connect-rate-per-user" group:"limits" placeholder:"RATE" help:"MQTT logins of one user; off lifts the limit. Default: that of --connect-rate-per-ip."`
	PacketRate            string `name:"packet-rate" group:"limits" default:"100/s" placeholder:"RATE" help:"MQTT packets of one connection, averaged over 10 s; off lifts the limit. Default ${default}."`
	RequestRatePerUser    string `name:"request-rate-per-user" group:"limits" default:"50/s" placeholder:"RATE" help:"REST calls of one user without scope notifications:write; off lifts the limit. Default ${default}."`
	RequestRatePerIP      string `name:"request-rate-per-ip" group:"limits" placeholder:"RATE" help:"The same from one address; off lifts the limit. Default: 40 times --request-rate-per-user."`

	SessionTTL   string `name:"session-ttl" group:"other" default:"168h" placeholder:"TIME" help:"How long an absent persistent device keeps its place. Default ${default}."`
	Retention    string `name:"retention" group:"other" default:"0" placeholder:"TIME" help:"Age after which notifications are deleted, e.g. 90d; 0 keeps them. Default ${default}."`
	StartTimeout string `name:"start-timeout" group:"other" default:"30s" placeholder:"TIME" help:"How long to wait for the database at the start. Default ${default}."`
	DrainDelay   string `name:"drain-delay" group:"other" default:"0s" placeholder:"TIME" help:"Between not ready and the end of listening, for load balancers. Default ${default}."`
	DrainTime    string `name:"drain-time" group:"other" default:"10s" placeholder:"TIME" help:"At most over which devices are disconnected at the end, and how long requests in flight are waited for. Default ${default}."`
	Locale       string `name:"locale" group:"other" default:"es" placeholder:"CODE" help:"Language of built-in texts: es, en. Default ${default}."`
	LogLevel     string `name:"log-level" group:"other" default:"info" placeholder:"LEVEL" help:"debug, info, warn, error. Default ${default}."`
	LogFormat    string `name:"log-format" group:"other" default:"text" placeholder:"FORMAT" help:"text, or json for machines. Default ${default}."`

	// typed holds the flags that were typed, not taken from the environment.
	typed map[string]bool
}
