package main

import (
	"bytes"
	"log/slog"
	"net"
	"net/url"
	"strings"
)

// spareFiles are what the program opens beside connections of devices: the
// database, the bus, files, HTTP.
const spareFiles = 256

// warn tells of settings that work but may not be meant.
func warn(p *program, c checked, log *slog.Logger) {
	for _, name := range p.unknown {
		log.Warn("the variable is read by no setting; is it misspelled?", "variable", name)
	}
	for _, name := range p.settings.shown() {
		log.Warn("a secret stands on the command line, where every user of the machine can read it; put it into a file or the environment",
			"setting", name, "file", name+"-file")
	}
	if c.origins.Any() {
		log.Warn("pages of every origin may call, because of --cors-origins=*")
	}
	if c.proxies.TrustsAll() {
		log.Warn("every client may say where it comes from, because of --trusted-proxies")
	}
	warnKeys(p.settings, c.keys, log)
	if host, _, err := net.SplitHostPort(c.admin); err == nil && !isLoopback(host) {
		log.Warn("metrics and profiles are open to whoever reaches --admin-addr", "addr", c.admin)
	}
	if risk := databaseRisk(c.databaseURL); !c.sqlite && risk != "" {
		log.Warn(risk, "setting", "database-url")
	}
	if c.plaintext() {
		log.Warn("devices may still send their tokens unencrypted, to --mqtt-addr; write --mqtt-addr=off, or a loopback address", "addr", c.mqtt)
	}
	switch {
	case c.tlsClientCA != "" && c.mqtt != "":
		log.Warn("devices without a certificate still get in at --mqtt-addr and over WebSocket: --tls-client-ca guards --mqtts-addr only")
	case c.tlsClientCA != "":
		log.Warn("devices without a certificate still get in over WebSocket: --tls-client-ca guards --mqtts-addr only")
	}
	if most := openFiles(); !c.keys.development && most < uint64(c.maxConnections)+spareFiles {
		log.Warn("the limit of open files is below --max-connections; raise it with ulimit -n", "limit", most, "max-connections", c.maxConnections)
	}
	if c.keys.development {
		log.Warn("development mode: no --jwt-* key is configured; every listener is on loopback only")
	}
}

// warnKeys names what decides on tokens and may not be meant.
func warnKeys(s *settings, k keySettings, log *slog.Logger) {
	if s.JWTAudience == anyAudience {
		log.Warn("tokens that were issued for other applications get in, because of --jwt-audience=any")
	}
	if k.secretFile == "" && (strings.HasPrefix(s.JWTSecret, "base64:") || strings.HasPrefix(s.JWTSecret, "hex:")) {
		log.Warn("the secret is taken as it is written, base64: or hex: included; write it into a --jwt-secret-file to have it decoded", "setting", "jwt-secret")
	}
	for _, secret := range k.secrets {
		if isText(secret) && len(bytes.TrimSpace(secret)) < len(secret) {
			log.Warn("a secret begins or ends with a blank, which is part of it", "setting", "jwt-secret")
		}
	}
}

// plaintext reports whether MQTT without TLS is open to other machines although MQTT
// over TLS is offered. Without the latter a proxy may do TLS, which is not seen here.
func (c checked) plaintext() bool {
	host, _, err := net.SplitHostPort(c.mqtt)
	return c.mqtts != "" && err == nil && !isLoopback(host)
}

// shown names the flags that were typed and hold a secret.
func (s *settings) shown() (names []string) {
	for _, f := range []struct {
		name   string
		secret bool
	}{
		{"jwt-secret", s.JWTSecret != ""},
		{"database-url", hasSecret(s.DatabaseURL)},
		{"bus", hasSecret(s.Bus)},
		{"relay-url", hasSecret(s.RelayURL)},
	} {
		if f.secret && s.typed[f.name] {
			names = append(names, f.name)
		}
	}
	return names
}

// hasSecret tells whether something of a URL has to be masked.
func hasSecret(raw string) bool { return strings.Contains(maskURL(raw), masked) }

// databaseRisk is what somebody on the way to a Postgres could do; "" where it is
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
	case host == "" || strings.HasPrefix(host, "/") || isLoopback(host):
		return ""
	case mode == "verify-full" || mode == "verify-ca":
		return ""
	case mode == "disable":
		return "the way to the database is not encrypted; write sslmode=verify-full, and sslrootcert=FILE for an authority of your own"
	}
	return "the database's certificate is not verified; write sslmode=verify-full, and sslrootcert=FILE for an authority of your own"
}
