package main

import (
	"cmp"
	"fmt"
	"path/filepath"
	"strings"
	"text/tabwriter"
)

type configCmd struct{}

func (configCmd) Help() string {
	return `Example:

    FALCON_HTTP_ADDR=:9000 falconbridge config`
}

// Run prints what serve would run with.
func (configCmd) Run(p *program) error {
	c, bad := p.settings.check()
	w := tabwriter.NewWriter(p.out, 0, 0, 2, ' ', 0)
	for _, line := range p.settings.effective(c) {
		_, _ = fmt.Fprintf(w, "%s\t%s\n", line[0], line[1])
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, name := range p.unknown {
		_, _ = fmt.Fprintf(p.err, "falconbridge: %s is read by no setting; is it misspelled?\n", name)
	}
	for _, b := range bad {
		_, _ = fmt.Fprintln(p.err, "falconbridge:", b)
	}
	if len(bad) > 0 {
		return errReported
	}
	return nil
}

// effective are the names and values of all settings, secrets masked. Addresses
// and storage are as they come out, the rest as given.
func (s *settings) effective(c checked) [][2]string {
	mode, key := "production", maskText(s.JWTSecret+s.JWTSecretFile)
	if n := len(c.keys.secrets); n > 1 {
		key += fmt.Sprintf(" (%d secrets, the first signs)", n)
	}
	if c.keys.development {
		mode, key = "development", masked+" (made at the start, kept in "+filepath.Join(s.DataDir, keyFile)+")"
	}
	database := maskURL(c.databaseURL)
	if c.databaseURL == "" {
		database = "SQLite in " + s.DataDir
	}
	origins := s.CORSOrigins
	if strings.TrimSpace(origins) == "" {
		origins = "same origin only"
	}
	relay := ""
	if c.relayURL != nil {
		relay = maskURL(c.relayURL.String())
	}
	return [][2]string{
		{"mode", mode},
		{"http-addr", address(c.http, s.HTTPAddr)},
		{"mqtt-addr", address(c.mqtt, s.MQTTAddr)},
		{"mqtts-addr", address(c.mqtts, s.MQTTSAddr)},
		{"admin-addr", address(c.admin, s.AdminAddr)},
		{"tls-cert", s.TLSCert},
		{"tls-key", s.TLSKey},
		{"tls-client-ca", s.TLSClientCA},
		{"trusted-proxies", s.TrustedProxies},
		{"data-dir", s.DataDir},
		{"database-url", database},
		{"db-max-connections", s.DBMaxConnections},
		{"auto-migrate", string(s.AutoMigrate)},
		{"bus", maskURL(c.bus)},
		{"relay-url", relay},
		{"jwt-secret", key},
		{"jwt-public-key-file", s.JWTPublicKeyFile},
		{"jwt-private-key-file", s.JWTPrivateKeyFile},
		{"jwt-jwks-url", maskURL(s.JWTJWKSURL)},
		{"jwt-issuer", s.JWTIssuer},
		{"jwt-audience", s.JWTAudience},
		{"jwt-audience-claim", s.JWTAudienceClaim},
		{"jwt-user-claim", s.JWTUserClaim},
		{"jwt-scope-claim", s.JWTScopeClaim},
		{"jwt-scope-map", s.JWTScopeMap},
		{"jwt-admin-when", s.JWTAdminWhen},
		{"max-token-life", s.MaxTokenLife},
		{"cors-origins", origins},
		{"topic-prefix", s.TopicPrefix},
		{"max-connections", s.MaxConnections},
		{"max-connections-per-user", s.MaxConnectionsPerUser},
		{"max-connections-per-ip", s.MaxConnectionsPerIP},
		{"connect-rate-per-ip", s.ConnectRatePerIP},
		{"connect-rate-per-user", cmp.Or(s.ConnectRatePerUser, showRate(c.connectRatePerUser))},
		{"packet-rate", s.PacketRate},
		{"request-rate-per-user", s.RequestRatePerUser},
		{"request-rate-per-ip", cmp.Or(s.RequestRatePerIP, showRate(c.requestRatePerIP))},
		{"session-ttl", s.SessionTTL},
		{"retention", s.Retention},
		{"start-timeout", s.StartTimeout},
		{"drain-delay", s.DrainDelay},
		{"drain-time", s.DrainTime},
		{"locale", s.Locale},
		{"log-level", s.LogLevel},
		{"log-format", s.LogFormat},
	}
}

// address is a listener's as it comes out, or as given where it is off or bad.
func address(checked, given string) string {
	if checked == "" {
		return given
	}
	return checked
}
