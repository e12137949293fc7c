package app

import (
	"bytes"
	"log/slog"
	"net"
	"net/url"
	"strings"

	"github.com/falconalert/falconbridge/internal/config"
)

// spareFiles is how many files and sockets the program may need in addition to the
// connections of devices: for the database, the bus, files and HTTP.
const spareFiles = 256

// warn logs settings that work but may not be what the operator meant.
func warn(c *config.Config, log *slog.Logger) {
	for _, name := range c.Exposed() {
		log.Warn("a secret is on the command line, where every user of the machine can read it; put it into a file or the environment",
			"setting", name, "file", name+"-file")
	}
	if c.Origins.Any() {
		log.Warn("pages of any origin may call this server, because of --cors-origins=*")
	}
	if c.Proxies.TrustsAll() {
		log.Warn("every client may claim any address as its own, because of --trusted-proxies")
	}
	warnKeys(c.Keys, log)
	if host, _, err := net.SplitHostPort(c.Admin); err == nil && !config.IsLoopback(host) {
		log.Warn("metrics and profiles are open to anyone who can reach --admin-addr", "addr", c.Admin)
	}
	if risk := databaseRisk(c.DatabaseURL); !c.SQLite && risk != "" {
		log.Warn(risk, "setting", "database-url")
	}
	if plaintext(c) {
		log.Warn("devices may still send their tokens unencrypted to --mqtt-addr; set it to off or to a loopback address", "addr", c.MQTT)
	}
	switch {
	case c.TLSClientCA != "" && c.MQTT != "":
		log.Warn("devices without a certificate still get in at --mqtt-addr and over WebSocket: --tls-client-ca guards --mqtts-addr only")
	case c.TLSClientCA != "":
		log.Warn("devices without a certificate still get in over WebSocket: --tls-client-ca guards --mqtts-addr only")
	}
	if most := openFiles(); !c.Keys.Development && most < uint64(c.MaxConnections)+spareFiles {
		log.Warn("the limit of open files is below --max-connections; raise it with ulimit -n", "limit", most, "max-connections", c.MaxConnections)
	}
	if c.Keys.Development {
		log.Warn("development mode: no --jwt-* key is configured; every listener is on loopback only")
	}
}

// warnKeys logs settings of token verification that may not be what the operator meant.
func warnKeys(k config.Keys, log *slog.Logger) {
	if k.AnyAudience {
		log.Warn("tokens that were issued for other applications are accepted, because of --jwt-audience=any")
	}
	for _, secret := range k.Secrets {
		if k.SecretFile == "" && (bytes.HasPrefix(secret, []byte("base64:")) || bytes.HasPrefix(secret, []byte("hex:"))) {
			log.Warn("the secret is used as it is, including base64: or hex:; put it into a --jwt-secret-file to have it decoded", "setting", "jwt-secret")
		}
		if config.IsText(secret) && len(bytes.TrimSpace(secret)) < len(secret) {
			log.Warn("a secret begins or ends with white space, which is part of it", "setting", "jwt-secret")
		}
	}
}

// plaintext reports whether MQTT without TLS is open to other machines although MQTT over TLS
// is offered. If it is not offered, a proxy may terminate TLS, which cannot be seen here.
func plaintext(c *config.Config) bool {
	host, _, err := net.SplitHostPort(c.MQTT)
	return c.MQTTS != "" && err == nil && !config.IsLoopback(host)
}

// databaseRisk describes what makes the connection to Postgres unsafe, and the remedy. It
// returns "" if the server is on this machine or its certificate is verified.
func databaseRisk(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	q := u.Query()
	host, mode := u.Hostname(), q.Get("sslmode")
	if h := q.Get("host"); h != "" {
		if host = h; mode == "" {
			mode = "disable" // as package pgconnect reads such a URL
		}
	}
	switch {
	case host == "" || strings.HasPrefix(host, "/") || config.IsLoopback(host):
		return ""
	case mode == "verify-full" || mode == "verify-ca":
		return ""
	case mode == "disable":
		return "the connection to the database is not encrypted; set sslmode=verify-full, and sslrootcert=FILE for an authority of your own"
	}
	return "the database's certificate is not verified; set sslmode=verify-full, and sslrootcert=FILE for an authority of your own"
}
