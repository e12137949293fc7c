package app

import (
	"bytes"
	"log/slog"
	"net"
	"net/url"
	"strings"

	"github.com/falconalert/falconbridge/internal/config"
)

// spareFiles is how many files the program opens in addition to connections of devices:
// the database, the bus, files, HTTP.
const spareFiles = 256

// warn logs settings that work but may not be meant.
func warn(c *config.Config, log *slog.Logger) {
	for _, name := range c.Exposed() {
		log.Warn("a secret stands on the command line, where every user of the machine can read it; put it into a file or the environment",
			"setting", name, "file", name+"-file")
	}
	if c.Origins.Any() {
		log.Warn("pages of every origin may call, because of --cors-origins=*")
	}
	if c.Proxies.TrustsAll() {
		log.Warn("every client may say where it comes from, because of --trusted-proxies")
	}
	warnKeys(c.Keys, log)
	if host, _, err := net.SplitHostPort(c.Admin); err == nil && !config.IsLoopback(host) {
		log.Warn("metrics and profiles are open to whoever reaches --admin-addr", "addr", c.Admin)
	}
	if risk := databaseRisk(c.DatabaseURL); !c.SQLite && risk != "" {
		log.Warn(risk, "setting", "database-url")
	}
	if plaintext(c) {
		log.Warn("devices may still send their tokens unencrypted, to --mqtt-addr; write --mqtt-addr=off, or a loopback address", "addr", c.MQTT)
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

// warnKeys logs settings of token verification that may not be meant.
func warnKeys(k config.Keys, log *slog.Logger) {
	if k.AnyAudience {
		log.Warn("tokens that were issued for other applications get in, because of --jwt-audience=any")
	}
	for _, secret := range k.Secrets {
		if k.SecretFile == "" && (bytes.HasPrefix(secret, []byte("base64:")) || bytes.HasPrefix(secret, []byte("hex:"))) {
			log.Warn("the secret is taken as it is written, base64: or hex: included; write it into a --jwt-secret-file to have it decoded", "setting", "jwt-secret")
		}
		if config.IsText(secret) && len(bytes.TrimSpace(secret)) < len(secret) {
			log.Warn("a secret begins or ends with a blank, which is part of it", "setting", "jwt-secret")
		}
	}
}

// plaintext reports whether MQTT without TLS is open to other machines although MQTT
// over TLS is offered. Without the latter a proxy may do TLS, which is not seen here.
func plaintext(c *config.Config) bool {
	host, _, err := net.SplitHostPort(c.MQTT)
	return c.MQTTS != "" && err == nil && !config.IsLoopback(host)
}

// databaseRisk returns what an attacker on the way to a Postgres could do; "" where it is
// on this machine, or its certificate is verified.
func databaseRisk(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	q := u.Query()
	host, mode := u.Hostname(), q.Get("sslmode")
	if h := q.Get("host"); h != "" {
		if host = h; mode == "" {
			mode = "disable" // as package db takes it
		}
	}
	switch {
	case host == "" || strings.HasPrefix(host, "/") || config.IsLoopback(host):
		return ""
	case mode == "verify-full" || mode == "verify-ca":
		return ""
	case mode == "disable":
		return "the way to the database is not encrypted; write sslmode=verify-full, and sslrootcert=FILE for an authority of your own"
	}
	return "the database's certificate is not verified; write sslmode=verify-full, and sslrootcert=FILE for an authority of your own"
}
